"""Why a test of Valkey's cannot pass here: what it needs that kvstore does not have, or does otherwise on purpose.

Each row is looked for in `UNIT::TEST: REASON`, as the results have it; the first that is found counts.
"""

from __future__ import annotations

import re

#: Not run, but counted as failing: what they ask for is not here, and what comes after them fails for what they leave
#: behind.
NOT_RUN = frozenset((
    "MULTI and script timeout", "EXEC and script timeout", "MULTI-EXEC body and script timeout",
    "just EXEC and script timeout", "HRANDFIELD - CASE 4: does not loop forever when valid fields fewer than count",
    "HSET - overwrite expired field without TTL clears expiration", "HINCRBY - on expired field",
    "HINCRBYFLOAT - on expired field", "HDEL - expired field is removed without triggering expiry logic",
    "Server should lazy expire keys", "tot-net-out for replica client", "Client tracking prefixes memory overhead",
    "command stats for MULTI",
    "Timedout read-only scripts can be killed by SCRIPT KILL",
    "Timedout read-only scripts can be killed by SCRIPT KILL even when use pcall",
    "Timedout script does not cause a false dead client", "Timedout script link is still usable after Lua returns",
    "Timedout scripts and unblocked command", "Timedout scripts that modified data can't be killed by SCRIPT KILL",
    "SHUTDOWN NOSAVE can kill a timedout script anyway",
))  # fmt: skip

#: (why, what is looked for)
REASONS = [
    (why, re.compile(pattern))
    for why, pattern in (
        ("Of families that are not there yet: bitmaps, places, HyperLogLogs, LCS, DUMP",
         r"(?i:(unknown )?command '(geo|pf|bit|[gs]etbit|lcs|dump|restore|migrate))"
         r"|- sanitize dump:|n command .dump.,|::(command|errors) stats for |::COMMAND GETKEYS LCS"
         r"|::(MIGRATE|GEORADIUS) command is marked|::COMMANDLOG slow - Redaction is applied to commands e"
         r"|::RESTORE expired keys"),
        ("There are no replicas: a server's changes go to its log alone",
         r"'(repl-ping-replica-period|repl-timeout|replica-read-only|slave-read-only)'"
         r"|read-only slaves|cannot be a replica|breaks off.*key .pid. not known"
         r"|::XREADGROUP ACK would propagate|::tot-net-out for replica client"),
        ("There is no import mode, in which keys do not expire",
         r"'import-mode'|IMPORT-SOURCE"),
        ("The log is not Valkey's: it has other files, and is neither switched off nor loaded into a server that runs",
         r"table\.txn\.manifest|::TTL Persistence in AOF|::MULTI with (BGREWRITEAOF|config set appendonly)"),
        ("A string's encoding follows from its bytes, not from what was done to it",
         r"unit/type/(incr|string)::.*: Expected 'int' to match 'raw'"),
        ("Under thresholds that were changed, an encoding follows from what a value holds, not from what it held",
         r"::List (listpack -> quicklist encoding|encoding conversion when RDB loading)"),
        ("INFO counts as changes the operations of the log, of which a move has two",
         r"::BLPOP/BLMOVE should increase dirty"),
        ("A script that takes too long is stopped and undone; nobody meets one that runs",
         r"script timeout|::(Timedout|SHUTDOWN NOSAVE can kill)|::FUNCTION - test (function|script) kill"),
        ("DEBUG tells nothing of how Valkey holds values, which is not done here",
         r"(?i:'(hashtable-can-abort-shrink|htstats|htstats-key|structsize|sdslen)')|ql_listpack_max"),
        ("What is past its deadline is gone for everybody at once, and is removed in the order of deadlines, not by"
         " whoever comes across it; fields are counted accordingly",
         r"::Server should lazy expire keys|SCAN with expired keys with TYPE|SCAN unknown type"
         r"|::(HRANDFIELD - CASE 4: does not loop|HSET - overwrite expired|HDEL - expired field is removed without)"
         r"|::(HINCRBY|HINCRBYFLOAT) - on expired field|::CLIENT PAUSE WRITE blocks hash field active expiry"
         r"|::Test both active and passive expires|::Test the randomkey command will not"
         r"|::Script delete the expired key"),
        ("There is no cluster",
         r"::CLUSTER RESET can not|::COMMAND LIST FILTERBY PATTERN - list all"),
        ("Accesses are noted under an LRU or LFU policy only",
         r"alter the last access time"),
        ("There is no debugger of scripts",
         r"::Test scripting debug"),
        ("Before there is any data the process takes some 40 MiB, more than the limits of these tests",
         r"unit/maxmemory::eviction due to"),
        ("What the process takes by itself moves by more than the 100 KB that these tests leave",
         r"unit/maxmemory::maxmemory - is the memory limit honoured"),
        ("There are no metrics of the loop",
         r"::stats: (eventloop|instantaneous|debug) metrics"),
        ("What is chosen at the start stays so: where the server listens, when it compacts, ...",
         r"'(save|port|bind|bind-source-addr|io-threads|repl-backlog-size|proc-title-template"
         r"|min-replicas-to-write|replica-serve-stale-data"
         r"|aof-use-rdb-preamble|oom-score-adj|client-query-buffer-limit)'"
         r"|unit/networking::|::CONFIG (save params|REWRITE|sanity|SET rollback on apply)"
         r"|::valkey-server command line arguments|::cannot modify protected|unsigned memory|SIGNED MEMORY"
         r"|without a config"),
        ("A server that loads takes no clients",
         r"during loading|save already in progress"),
        ("The sandbox of scripts is in Lua itself and takes 400 KiB; nothing leads out of it",
         r"::EVAL does not leak in the Lua stack|::FUNCTION - test function flush will re-create"
         r"|::Dynamic reset of lua engine"),
        ("A client has no buffers set aside, and its requests are not counted by themselves",
         r"unit/(querybuf|replybufsize)::|::client input output and command process statistics|::CLIENT (LIST|INFO): "
         r"|::Client tracking prefixes memory overhead"),
        ("Other memory than Valkey's is told of: no hash tables by their databases, nothing freed by threads",
         r"\"(overhead\.)?db\.|::memory: database and pubsub overhead|::lazy free a stream"
         r"|::Memory efficiency with values in range 32"),
        ("There are no dumps: DEBUG RELOAD reads the log, and a compaction is in a process of its own",
         r"::FUNCTION - test debug reload different options|::CLIENT KILL close the client connection during bgsave"),
        ("A command has one name, and users are not said on the command line; DEBUG protects no client",
         r"renamed commands|::ACL command classes aren't affected by command renaming|'PROTECT-CLIENT'"
         r"|::Test loading duplicate users in config on startup"),
        ("An error that a script answers with is an answer: the command has not failed",
         r"::Consistent eval error reporting"),
        ("MONITOR shows refused requests, too",
         r"::MONITOR correctly handles multi-exec"),
        ("A value is never changed where it is",
         r"::INCR can modify objects in-place"),
    )
]  # fmt: skip


def reason_of(unit: str, test: str, reason: str) -> str:
    """Why it cannot pass; empty if it should."""
    text = f"{unit}::{test}: {reason}"
    return next((why for why, pattern in REASONS if pattern.search(text)), "")
