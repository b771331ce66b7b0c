"""The server as a whole: CONFIG, INFO, COMMAND, and what is asked of the rooms above."""

from __future__ import annotations

from typing import Any

from kvstore.base.reply import NO_REPLY, Status
from kvstore.commands import table
from kvstore.commands.versions import REDIS_VERSION
from kvstore.wire.resp import encode
from tests.kit.harness import START_MS, CommandTestCase


class ConfigTests(CommandTestCase):
    """CONFIG."""

    def test_arguments(self) -> None:
        """Pairs, and nothing that is no subcommand. (Settings have tests of their own.)"""
        self.script("""
            CONFIG GET port PORT nosuch -> {'port': '6380'}
            CONFIG SET timeout 1 hz 20 -> OK
            CONFIG GET timeout h? -> {'timeout': '1', 'hz': '20'}
            CONFIG SET port 1 maxclients -> !ERR syntax error
            CONFIG SET port -> !ERR wrong number of arguments for 'config|set' command
            CONFIG REWRITE -> !ERR The server is running without a config file
            CONFIG -> !ERR wrong number of arguments for 'config' command
        """)

    def test_rewrite(self) -> None:
        """Where there is a file it is written, or it is told why not."""
        written: list[None] = []

        def full() -> None:
            raise OSError(28, "No space left on device")

        self.rig.server.rewrite_configuration = lambda: written.append(None)
        self.assertEqual((self.do("CONFIG", "REWRITE").text, len(written)), ("OK", 1))
        self.rig.server.rewrite_configuration = full
        self.assertEqual(self.error("CONFIG", "REWRITE"), "ERR Rewriting config file: No space left on device")

    def test_resetstat(self) -> None:
        """CONFIG RESETSTAT sets the counters to zero."""
        server = self.rig.server
        self.do("GET", "a")
        server.errors = server.requests_executed = server.connections_received = server.connections_refused = 5
        tables = self.rig.store.databases
        for table_of_one in tables:
            table_of_one.expired_count = table_of_one.expired_inside = table_of_one.hits = table_of_one.misses = 5
        self.assertEqual(self.do("CONFIG", "RESETSTAT").text, "OK")
        counters = (server.errors, server.requests_executed, server.connections_received, server.connections_refused)
        self.assertEqual(counters, (0, 0, 0, 0))
        counted = {(each.expired_count, each.expired_inside, each.hits, each.misses) for each in tables}
        self.assertEqual(counted, {(0, 0, 0, 0)})
        self.assertEqual(server.statistics[table.by_name[b"GET"]].calls, 0)

    def test_resetstat_keeps_denials(self) -> None:
        """Who was refused what is counted on, as in Valkey."""
        self.rig.server.gate.log.counts["auth"] = 5
        self.do("CONFIG", "RESETSTAT")
        self.assertIn("acl_access_denied_auth:5\r\n", self.do("INFO", "stats"))


class InfoTests(CommandTestCase):
    """INFO."""

    def sections(self, *asked: str) -> dict[str, dict[str, str]]:
        """The sections of an INFO, each with its fields; every line must be one or the other."""
        told: dict[str, dict[str, str]] = {}
        name = ""
        for line in self.do("INFO", *asked).split("\r\n"):
            if line.startswith("# "):
                name = line[2:]
                told[name] = {}
            elif line:
                field, _, value = line.partition(":")
                self.assertNotIn(field, told[name])
                told[name][field] = value
        return told

    def test_default(self) -> None:
        """Without arguments INFO tells the sections that Redis's clients read."""
        self.do("SET", "a", 1, "EX", 10)
        self.do("SET", "b", 1)
        self.do("WATCH", "a")
        self.rig.now_ms += 86_400_000 - 100_000
        self.rig.server.recent_ms += 86_300_000
        told = self.sections()
        self.assertEqual(
            list(told),
            [
                "Server",
                "Clients",
                "Memory",
                "Persistence",
                "Stats",
                "Replication",
                "CPU",
                "Modules",
                "Errorstats",
                "Cluster",
                "Keyspace",
            ],
        )
        self.assertEqual(told["Server"]["redis_version"], REDIS_VERSION)
        self.assertEqual(told["Server"]["uptime_in_seconds"], "86300")
        self.assertEqual(told["Server"]["uptime_in_days"], "0")
        self.assertEqual(told["Server"]["tcp_port"], "6380")
        self.assertEqual(told["Server"]["run_id"], "0" * 40)
        self.assertEqual(told["Clients"]["connected_clients"], "1")
        self.assertEqual(told["Clients"]["watching_clients"], "1")
        self.assertEqual(told["Persistence"]["aof_fsync"], "always")
        self.assertEqual(told["Persistence"]["rdb_last_save_time"], str(START_MS // 1000))
        self.assertEqual(told["Keyspace"], {"db0": "keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=0"})

    def test_fields_that_expire(self) -> None:
        """How many keys have some, and how many fields are gone for that, in all databases."""
        for number in (0, 3):
            self.do("SELECT", number)
            self.do("HSET", "h", "a", 1, "b", 2, "c", 3)
            self.do("HPEXPIRE", "h", 5, "FIELDS", 2, "a", "b")
        told = self.sections("keyspace")["Keyspace"]
        self.assertEqual(set(told.values()), {"keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=1"})
        self.rig.now_ms += 5
        while self.rig.store.tidy():
            pass
        told = self.sections("keyspace", "stats")
        self.assertEqual(set(told["Keyspace"].values()), {"keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=0"})
        self.assertEqual((told["Stats"]["expired_fields"], told["Stats"]["expired_keys"]), ("4", "0"))

    def test_fields_whose_deadline_has_passed(self) -> None:
        """What is given one is gone at once, and counts as expired; of HSETEX what was not there, too."""
        for request, count in (
            ("HPEXPIRE h 0 FIELDS 3 a b none", 2), ("HGETEX h PX 0 FIELDS 3 a none a", 1),
            ("HEXPIREAT h 1 FIELDS 1 b", 1), ("HSETEX h PX 0 FIELDS 2 a 1 none 1", 2),
            ("HSETEX none EX 0 FIELDS 2 a 1 b 1", 2),
        ):  # fmt: skip
            self.do("CONFIG", "RESETSTAT")
            self.do("HSET", "h", "a", 1, "b", 2, "c", 3)
            self.do(*request.split())
            self.assertEqual(self.sections("stats")["Stats"]["expired_fields"], str(count), request)

    def test_uptime_knows_no_wall_clock(self) -> None:
        """Set back by a day, it says how long the server runs all the same."""
        self.rig.server.recent_ms += 5_000
        self.rig.now_ms -= 86_400_000
        self.assertEqual(self.sections("server")["Server"]["uptime_in_seconds"], "5")

    def test_bytes_of_the_network(self) -> None:
        """Bytes count from the last CONFIG RESETSTAT on."""
        self.rig.server.network_bytes = lambda: (1000, 2000)
        self.do("CONFIG", "RESETSTAT")
        self.rig.server.network_bytes = lambda: (1010, 2030)
        told = self.sections("stats")["Stats"]
        self.assertEqual((told["total_net_input_bytes"], told["total_net_output_bytes"]), ("10", "30"))

    def test_choosing(self) -> None:
        """Sections are chosen by name, in any case, once each; `all` has the counts of calls, too."""
        self.assertEqual(list(self.sections("CLIENTS", "clients", "stats", "nosuch")), ["Clients", "Stats"])
        self.assertEqual(self.do("INFO", "nosuch"), "")
        self.do("CONFIG", "RESETSTAT")
        self.do("CLIENT", "ID")
        for asked in ("all", "everything", "commandstats"):
            shown = self.sections(asked)["Commandstats"]["cmdstat_client|id"]
            self.assertRegex(shown, r"^calls=1,usec=\d+,usec_per_call=\d+\.\d\d,rejected_calls=0,failed_calls=0$")
        self.assertNotIn("Commandstats", self.sections("default"))

    def test_other_rooms(self) -> None:
        """Other rooms add fields and sections; a field of theirs replaces one of the same name."""
        self.rig.server.info["persistence"] = lambda: [("log_bytes", 5), ("aof_fsync", "mine")]
        self.rig.server.info["group_commit"] = lambda: [("commits", 3)]
        told = self.sections()
        self.assertEqual(told["Persistence"]["log_bytes"], "5")
        self.assertEqual(told["Persistence"]["aof_fsync"], "mine")
        self.assertEqual(told["Group_commit"], {"commits": "3"})
        self.assertEqual(list(self.sections("group_commit")), ["Group_commit"])


class ServerTests(CommandTestCase):
    """Clock, compaction, MONITOR, SHUTDOWN, ROLE."""

    def test_time_and_lastsave(self) -> None:
        """TIME tells the simulated clock, LASTSAVE when the checkpoint was made."""
        self.rig.now_ms += 123
        self.rig.server.checkpoint_ms = lambda: 5999
        self.script(f"""
            TIME -> [b'{START_MS // 1000}', b'123007']
            LASTSAVE -> 5
            ROLE -> [b'master', 0, []]
        """)

    def test_compaction(self) -> None:
        """BGSAVE and BGREWRITEAOF ask for a compaction, and say so if one is under way."""
        asked: list[bool] = [True, True, True, False, False]
        self.rig.server.compact_now = lambda: asked.pop(0)
        self.script("""
            BGSAVE -> Background saving started
            BGSAVE schedule -> Background saving started
            BGREWRITEAOF -> Background append only file rewriting started
            BGSAVE -> !ERR Background save already in progress
            BGREWRITEAOF -> !ERR Background append only file rewriting already in progress
            BGSAVE FOO -> !ERR syntax error
            BGSAVE SCHEDULE SCHEDULE -> !ERR syntax error
            BGSAVE CANCEL -> !ERR Background saving is currently not in progress or scheduled
            SAVE x -> !ERR wrong number of arguments for 'save' command
        """)

    def test_monitor(self) -> None:
        """MONITOR marks the client."""
        self.assertEqual(self.do("MONITOR").text, "OK")
        self.assertTrue(self.rig.call.client.monitoring)

    def test_shutdown(self) -> None:
        """SHUTDOWN stops the server and answers nothing; options that make no sense are refused."""
        asked: list[str] = []
        self.rig.server.shutdown = lambda: asked.append("stop")
        self.script("""
            SHUTDOWN FOO -> !ERR syntax error
            SHUTDOWN SAVE NOSAVE -> !ERR syntax error
            SHUTDOWN ABORT -> !ERR No shutdown in progress.
        """)
        self.assertEqual(asked, [])
        for options in ([], ["NOSAVE"], ["save", "now", "force"]):
            self.assertIs(self.do("SHUTDOWN", *options), NO_REPLY)
        self.assertEqual(asked, ["stop"] * 3)
        self.assertTrue(self.rig.call.client.closing)
        self.assertEqual(encode(NO_REPLY, 2), b"")


class CommandTests(CommandTestCase):
    """COMMAND. (Arity, flags and places of keys are compared with Valkey's.)"""

    def test_all(self) -> None:
        """COMMAND and COMMAND INFO describe every command, each in ten fields, subcommands within."""
        entries = self.do("COMMAND")
        self.assertEqual([entry[0] for entry in entries], [row.name.lower() for row in table.rows()])
        self.assertEqual({len(entry) for entry in entries}, {10})
        self.assertEqual(self.do("COMMAND", "INFO"), entries)
        self.assertEqual(self.do("COMMAND", "COUNT"), len(entries))
        self.assertEqual(self.do("COMMAND", "LIST"), [row.name.lower() for row in table.all_rows()])

    def test_info(self) -> None:
        """COMMAND INFO gives null for a command that is not there, and takes subcommands."""
        get, nosuch, client_id = self.do("COMMAND", "INFO", "GET", "nosuch", "client|id")
        self.assertEqual(get[:6], ["get", 2, [Status("readonly"), Status("fast")], 1, 1, 1])
        self.assertEqual(get[6], [Status("@string"), Status("@read"), Status("@fast")])
        self.assertIsNone(nosuch)
        self.assertEqual(client_id[:2], ["client|id", 2])
        self.assertEqual(self.do("COMMAND", "INFO", "client|nosuch"), [None])

    def test_key_specifications(self) -> None:
        """The places of keys are given in the newer form, too: the last counted from the first."""
        places = {entry[0]: entry[8] for entry in self.do("COMMAND")}
        self.assertEqual(places["ping"], [])
        self.assertEqual([each["begin_search"]["spec"]["index"] for each in places["copy"]], [1, 2])
        self.assertEqual(places["mset"][0]["find_keys"]["spec"], {"lastkey": -1, "keystep": 2, "limit": 0})

    def test_docs(self) -> None:
        """COMMAND DOCS has for each command what redis-cli shows: summary, since, group, arguments, subcommands."""
        docs = self.do("COMMAND", "DOCS", "set", "nosuch", "client")
        self.assertEqual(list(docs), ["set", "client"])
        self.assertEqual(list(docs["set"]), ["summary", "since", "group", "complexity", "history", "arguments"])
        key, _, condition, *_ = docs["set"]["arguments"]
        self.assertEqual(key, {"name": "key", "type": "key", "display_text": "key", "key_spec_index": 0})
        self.assertEqual(condition["flags"], [Status("optional")])
        self.assertEqual([each["token"] for each in condition["arguments"]], ["NX", "XX", "IFEQ"])
        self.assertEqual(docs["client"]["subcommands"]["client|id"]["group"], "connection")
        self.assertEqual(len(self.do("COMMAND", "DOCS")), len(table.rows()))
        encode(self.do("COMMAND", "DOCS"), 3)
        encode(self.do("COMMAND"), 3)

    def test_list(self) -> None:
        """COMMAND LIST filters by pattern and by category; there are no modules."""
        self.assertEqual(self.do("COMMAND", "LIST", "FILTERBY", "PATTERN", "S*X"), ["setex", "setnx"])
        self.assertEqual(self.do("COMMAND", "LIST", "FILTERBY", "PATTERN", "xinfo|S*"), ["xinfo|stream"])
        self.assertEqual(self.do("command", "list", "filterby", "module", "x"), [])
        transactions: Any = self.do("COMMAND", "LIST", "FILTERBY", "ACLCAT", "transaction")
        self.assertEqual(transactions, ["discard", "exec", "multi", "unwatch", "watch"])
        self.script("""
            COMMAND LIST FILTERBY ACLCAT nosuch -> []
            COMMAND LIST FOO -> !ERR syntax error
            COMMAND LIST FILTERBY FOO x -> !ERR syntax error
            COMMAND LIST FILTERBY PATTERN -> !ERR syntax error
        """)

    def test_keys_and_flags(self) -> None:
        """COMMAND GETKEYSANDFLAGS tells for each key what becomes of it, which may hang on an option."""
        for request, expected in {
            "MSET a 1 b 2": [(b"a", "OW update"), (b"b", "OW update")],
            "LMOVE a b LEFT RIGHT": [(b"a", "RW access delete"), (b"b", "RW insert")],
            "SUNIONSTORE a b c": [(b"a", "OW update"), (b"b", "RO access"), (b"c", "RO access")],
            "EVALSHA x 1 a": [(b"a", "RW access update")],
            "SORT a STORE b": [(b"a", "RO access"), (b"b", "OW update")],
            "SET a 1": [(b"a", "OW update")],
            "SET a GET": [(b"a", "OW update")],
            "SET a 1 get": [(b"a", "RW access update")],
        }.items():
            told = self.do("COMMAND", "GETKEYSANDFLAGS", *request.split())
            self.assertEqual(told, [[key, list(map(Status, flags.split()))] for key, flags in expected])
        self.assertEqual(self.error("COMMAND", "GETKEYSANDFLAGS", "PING"), "ERR The command has no key arguments")

    def test_getkeys(self) -> None:
        """COMMAND GETKEYS picks the keys out of a request, or says why it cannot."""
        self.script("""
            COMMAND GETKEYS MSET a 1 b 2 -> [b'a', b'b']
            COMMAND GETKEYS object encoding a -> [b'a']
            COMMAND GETKEYS EVAL script 0 a -> []
            COMMAND GETKEYS EVAL script x a -> []
            COMMAND GETKEYS NOSUCH a -> !ERR Invalid command specified
            COMMAND GETKEYS PING a -> !ERR The command has no key arguments
            COMMAND GETKEYS GET a b -> !ERR Invalid number of arguments specified for command
            COMMAND GETKEYS -> !ERR wrong number of arguments for 'command|getkeys' command
            COMMAND FOO -> !ERR unknown subcommand 'FOO'. Try COMMAND HELP.
        """)
