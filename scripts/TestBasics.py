#!/usr/bin/env python3
"""Try everything a kvstore server does with documents, in every way it can succeed and fail: python
scripts/TestBasics.py TARGET.

First the five verbs through the Python client, then what goes over the wire, byte for byte, in each of the three
grammars: JSON lines, words, RESP. One line per check, a summary, exit status 0 if all is as it should be, else 1.

It may run beside other clients, on keys of its own, and while the server is killed and started again. Every check sets
up all that it needs, on fresh keys, so that it can be tried again; and it is tried again when it failed while the
connection was disturbed, because its outcome then says nothing (a repeated remove finds the key gone, a reply is
lost). A check on the number of all keys is also tried again because another client may have changed it.

The file is long because it is a list; each check is read by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if (ROOT / "kvstore" / "__init__.py").exists():  # in a checkout: the kvstore beside us, not one that is installed
    sys.path.insert(0, str(ROOT))

try:
    from kvstore.client import Client, RequestRefused
    from kvstore.client.raw import RawConnection, resp_request
    from kvstore.client.target import resolve
except ModuleNotFoundError as missing:
    sys.exit(
        f"TestBasics: {missing.name} is missing; run this program in a checkout of kvstore, or with a Python"
        " that has it (pip install twisted-kvstore), or copy the directory kvstore along: its client"
        " needs nothing else"
    )

#: How often a check is tried when something disturbs it.
MOST_ATTEMPTS = 10


class Wrong(Exception):
    """Something is not as it should be."""


class Check(NamedTuple):
    """One check. `shared`: it looks at what other clients may change."""

    title: str
    function: Callable[[Bench], None]
    shared: bool


CHECKS: list[Check] = []


def check(shared: bool = False) -> Callable[[Callable[[Bench], None]], None]:
    """Decorator: add a check. Its docstring is its title."""

    def add(function: Callable[[Bench], None]) -> None:
        CHECKS.append(Check((function.__doc__ or function.__name__).rstrip("."), function, shared))

    return add


class Bench:
    """What a check works with: a client, raw connections, keys of its own, and ways to say what is expected."""

    def __init__(self, target: str, catalog: str | None) -> None:
        self._target = target
        self._catalog = catalog
        self.client = Client(target, catalog=catalog)
        self._prefix = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._keys: list[str] = []

    def key(self, name: str = "") -> str:
        """A key that nobody has used yet; removed after the check."""
        self._keys.append(f"{self._prefix}-{len(self._keys)}{name}")
        return self._keys[-1]

    def raw(self) -> RawConnection:
        """A new connection to speak by hand."""
        return RawConnection(resolve(self._target, self._catalog))

    def clean_up(self) -> None:
        """Remove the keys that were used since the last time. Waits for the server, if it is away."""
        self.client.size()
        for key in self._keys:
            with contextlib.suppress(KeyError):
                self.client.remove(key)
        self._prefix += "."
        self._keys.clear()

    @staticmethod
    def equal(found: Any, expected: Any) -> None:
        """Two values are the same JSON: the type counts too, since True is not 1."""
        if json.dumps(found, sort_keys=True) != json.dumps(expected, sort_keys=True):
            raise Wrong(f"expected {_shown(expected)}, found {_shown(found)}")

    @staticmethod
    def fails(error: type[Exception], function: Callable[..., Any], *arguments: Any) -> None:
        """A call raises just this kind of error."""
        try:
            found = function(*arguments)
        except (LookupError, ValueError, RequestRefused) as raised:
            if type(raised) is not error:
                raise Wrong(f"expected {error.__name__}, found {raised!r}") from None
        else:
            raise Wrong(f"expected {error.__name__}, found {_shown(found)}")

    @staticmethod
    def result(reply: Any, result: str, **members: Any) -> None:
        """A reply line has this result, and these other members and no more; an error has a text."""
        wrong = not isinstance(reply, dict) or reply.get("result") != result
        if not wrong and result != "success":
            wrong = not (isinstance(reply.get("error"), str) and reply["error"])
            members["error"] = reply.get("error")
        if wrong or json.dumps(reply, sort_keys=True) != json.dumps({"result": result} | members, sort_keys=True):
            raise Wrong(f"expected {result} {_shown(members)}, found {_shown(reply)}")

    @staticmethod
    def starts(found: Any, beginning: str) -> None:
        """A RESP status or error begins like this."""
        if not isinstance(found, str) or not found.startswith(beginning):
            raise Wrong(f"expected {beginning}..., found {_shown(found)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def line(**members: Any) -> bytes:
    """A request as a JSON line."""
    return json.dumps(members).encode() + b"\n"


# The verbs, through the client

DOCUMENTS: list[Any] = [
    {"weight": 100, "name": "fred"}, {"": {"": None}}, {}, [], [1, [2, [3, {}]]], True, False, None,
    "", "text", "\u00fc \u4e2d \U0001f993", 'line\nend "quote" \\ \x00', "\ud800",
    0, -1, 1.5, 0.1, 1e308, 5e-324, -0.0, 2**53 + 1, 2**63, -(2**64), 10**4000,
]  # fmt: skip

ODD_KEYS = [
    " ",
    "with space",
    "\n",
    "\r\n",
    "\x00",
    '"',
    "'",
    "{",
    "*1",
    "$",
    "\u00fc",
    "\U0001f993",
    "\ud800",
    "x" * 1000,
]


@check()
def insert_any(bench: Bench) -> None:
    """insert: any JSON value comes back from lookup exactly as it was."""
    for document in DOCUMENTS:
        key = bench.key()
        bench.client.insert(key, document)
        bench.equal(bench.client.lookup(key), document)


@check()
def insert_large(bench: Bench) -> None:
    """insert: a document of a megabyte."""
    key, document = bench.key(), {"text": "x" * 1_000_000}
    bench.client.insert(key, document)
    bench.equal(bench.client.lookup(key), document)


@check()
def insert_deep(bench: Bench) -> None:
    """insert: nested 100 deep."""
    key, document = bench.key(), json.loads("[" * 100 + "]" * 100)
    bench.client.insert(key, document)
    bench.equal(bench.client.lookup(key), document)


@check()
def insert_replaces(bench: Bench) -> None:
    """insert: takes the place of what was there."""
    key = bench.key()
    bench.client.insert(key, {"name": "fred", "weight": 1})
    bench.client.insert(key, {"name": "anna"})
    bench.equal(bench.client.lookup(key), {"name": "anna"})


@check()
def odd_keys(bench: Bench) -> None:
    """insert: any string is a key, and no two are the same."""
    keys = [bench.key(odd) for odd in ODD_KEYS]
    for i, key in enumerate(keys):
        bench.client.insert(key, i)
    for i, key in enumerate(keys):
        bench.equal(bench.client.lookup(key), i)


@check()
def insert_invalid_key(bench: Bench) -> None:
    """insert: a key that is no string is invalid."""
    keys: list[Any] = [7, 1.5, None, True, [], {}]
    for key in keys:
        bench.fails(ValueError, bench.client.insert, key, 1)


@check()
def lookup_missing(bench: Bench) -> None:
    """lookup: a missing key is a failure."""
    bench.fails(KeyError, bench.client.lookup, bench.key())


@check()
def lookup_invalid_key(bench: Bench) -> None:
    """lookup: a key that is no string is invalid."""
    bench.fails(ValueError, bench.client.lookup, 7)


@check()
def remove(bench: Bench) -> None:
    """remove: takes the key away."""
    key = bench.key()
    bench.client.insert(key, 1)
    bench.client.remove(key)
    bench.fails(KeyError, bench.client.lookup, key)


@check()
def remove_missing(bench: Bench) -> None:
    """remove: a missing key is a failure."""
    bench.fails(KeyError, bench.client.remove, bench.key())


@check()
def remove_twice(bench: Bench) -> None:
    """remove: the second time is a failure, after an insert it is not."""
    key = bench.key()
    bench.client.insert(key, 1)
    bench.client.remove(key)
    bench.fails(KeyError, bench.client.remove, key)
    bench.client.insert(key, 2)
    bench.client.remove(key)


@check()
def remove_invalid_key(bench: Bench) -> None:
    """remove: a key that is no string is invalid."""
    bench.fails(ValueError, bench.client.remove, None)


@check(shared=True)
def size(bench: Bench) -> None:
    """size: counts new keys, not replaced ones, and not removed ones."""
    before = bench.client.size()
    keys = [bench.key() for _ in range(5)]
    for key in [*keys, keys[0]]:
        bench.client.insert(key, 1)
    bench.equal(bench.client.size(), before + 5)
    bench.client.remove(keys[0])
    bench.equal(bench.client.size(), before + 4)


def found(bench: Bench, subkey: str, subvalue: Any) -> list[str]:
    """The keys that a query finds, sorted."""
    return sorted(pair[0] for pair in bench.client.query(subkey, subvalue))


@check()
def query(bench: Bench) -> None:
    """query: gives the keys and documents that match, and no others."""
    subkey = bench.key("-subkey")
    one, two, other = bench.key(), bench.key(), bench.key()
    bench.client.insert(one, {subkey: "fred", "n": 1})
    bench.client.insert(two, {subkey: "fred"})
    bench.client.insert(other, {subkey: "anna"})
    pairs = sorted(bench.client.query(subkey, "fred"))
    bench.equal(pairs, sorted([[one, {subkey: "fred", "n": 1}], [two, {subkey: "fred"}]]))
    bench.equal(bench.client.query(subkey, "nobody"), [])
    bench.equal(bench.client.query(bench.key("-unused"), "fred"), [])


@check()
def query_types(bench: Bench) -> None:
    """query: strings, numbers, true, false and null are told apart; 1 equals 1.0."""
    subkey = bench.key("-subkey")
    pairs: list[tuple[Any, str]] = [(v, bench.key()) for v in (1, True, "1", 0, False, "", None, 2**64, 1.5)]
    for value, key in pairs:
        bench.client.insert(key, {subkey: value})
    for value, key in pairs:
        bench.equal(found(bench, subkey, value), [key])
    bench.equal(found(bench, subkey, 1.0), [pairs[0][1]])
    bench.equal(found(bench, subkey, -0.0), [pairs[3][1]])


@check()
def query_depth(bench: Bench) -> None:
    """query: only members of the object itself count, and only objects have them."""
    subkey = bench.key("-subkey")
    for document in ({"inner": {subkey: 1}}, [{subkey: 1}], subkey, {subkey: [1]}, {subkey: {"a": 1}}, {"other": 1}):
        bench.client.insert(bench.key(), document)
    bench.equal(found(bench, subkey, 1), [])


@check()
def query_follows(bench: Bench) -> None:
    """query: follows replacing and removing."""
    subkey, key = bench.key("-subkey"), bench.key()
    bench.equal(found(bench, subkey, 1), [])
    bench.client.insert(key, {subkey: 1})
    bench.equal(found(bench, subkey, 1), [key])
    bench.client.insert(key, {subkey: 2})
    bench.equal([found(bench, subkey, 1), found(bench, subkey, 2)], [[], [key]])
    bench.client.insert(key, "no object")
    bench.equal(found(bench, subkey, 2), [])
    bench.client.insert(key, {subkey: 1})
    bench.client.remove(key)
    bench.equal(found(bench, subkey, 1), [])


@check()
def query_invalid(bench: Bench) -> None:
    """query: a value that is not atomic, or a subkey that is no string, is invalid."""
    for subvalue in ([], {}, [1], {"a": 1}):
        bench.fails(ValueError, bench.client.query, "name", subvalue)
    bench.fails(ValueError, bench.client.query, 7, 1)


# JSON lines, byte for byte


@check()
def json_verbs(bench: Bench) -> None:
    """JSON: each verb answers with the result and, where there is one, the value."""
    key, subkey = bench.key(), bench.key("-subkey")
    with bench.raw() as raw:
        raw.send(line(method="insert", key=key, value={subkey: 1}))
        bench.equal(raw.line().decode(), '{"result":"success"}')
        raw.send(line(method="lookup", key=key))
        bench.result(raw.reply(), "success", value={subkey: 1})
        raw.send(line(method="query", subkey=subkey, subvalue=1))
        bench.result(raw.reply(), "success", value=[[key, {subkey: 1}]])
        raw.send(line(method="size"))
        reply = raw.reply()
        bench.result(reply, "success", value=reply.get("value"))
        if type(reply["value"]) is not int or reply["value"] < 1:
            raise Wrong(f"size gave {reply!r}")
        raw.send(line(method="remove", key=key))
        bench.result(raw.reply(), "success")


@check()
def json_failures(bench: Bench) -> None:
    """JSON: what was understood and cannot be done is a failure with a text."""
    with bench.raw() as raw:
        for method in ("lookup", "remove"):
            raw.send(line(method=method, key=bench.key()))
            bench.result(raw.reply(), "failure")


@check()
def json_invalid(bench: Bench) -> None:
    """JSON: what is not understood is invalid, and the connection goes on."""
    lines = [
        b"{\n", b"{}\n", b"{nonsense\n", b'{"method":"insert"\n', b"{\xff}\n",
        line(method="destroy"), line(method=7), line(method=None), line(key="a"),
        line(method="insert"), line(method="insert", key="a"), line(method="insert", value=1),
        line(method="insert", key=7, value=1), b'{"method":"insert","key":"a","value":NaN}\n',
        line(method="lookup"), line(method="lookup", key=["a"]), line(method="remove"),
        line(method="query", subkey="a"), line(method="query", subvalue=1),
        line(method="query", subkey="a", subvalue={}),
    ]  # fmt: skip
    with bench.raw() as raw:
        for each in lines:
            raw.send(each)
            try:
                bench.result(raw.reply(), "invalid")
            except Wrong as wrong:
                raise Wrong(f"{each!r}: {wrong}") from None
        raw.send(line(method="lookup", key=bench.key()))
        bench.result(raw.reply(), "failure")


@check()
def json_id(bench: Bench) -> None:
    """JSON: an id comes back as it was, with success, failure and invalid; without one there is none."""
    with bench.raw() as raw:
        identities: list[Any] = ["a", "", "\u00fc", 0, 7, -1, 2**70, 1.5, True, None, [1, "a"], {"a": {}}]
        for identity in identities:
            raw.send(line(method="help", id=identity))
            bench.equal(raw.reply().get("id", "missing"), identity)
            raw.send(line(method="lookup", key=bench.key(), id=identity))
            bench.result(raw.reply(), "failure", id=identity)
            raw.send(line(method="destroy", id=identity))
            bench.result(raw.reply(), "invalid", id=identity)


@check()
def json_framing(bench: Bench) -> None:
    """JSON: a line may end with LF or CRLF, come byte by byte, or together with others; replies keep the order."""
    key = bench.key()
    with bench.raw() as raw:
        for byte in line(method="insert", key=key, value=[0]).replace(b"\n", b"\r\n"):
            raw.send(bytes([byte]))
        bench.result(raw.reply(), "success")
        many = [line(method="insert", key=key, value=i) + line(method="lookup", key=key, id=i) for i in range(200)]
        raw.send(b"".join(many))
        for i in range(200):
            bench.result(raw.reply(), "success")
            bench.result(raw.reply(), "success", value=i, id=i)


# Words


@check()
def words_verbs(bench: Bench) -> None:
    """words: each verb answers with a JSON line."""
    key, subkey = bench.key(), bench.key("-subkey")
    with bench.raw() as raw:
        raw.send(f'insert {key} {{"{subkey}": "fred", "weight": 100}}\r\n'.encode())
        bench.result(raw.reply(), "success")
        raw.send(f"lookup {key}\r\n".encode())
        bench.result(raw.reply(), "success", value={subkey: "fred", "weight": 100})
        raw.send(f'query {subkey} "fred"\r\n'.encode())
        bench.result(raw.reply(), "success", value=[[key, {subkey: "fred", "weight": 100}]])
        raw.send(b"size\r\n")
        bench.equal(raw.reply().get("result"), "success")
        raw.send(f"remove {key}\r\n".encode())
        bench.result(raw.reply(), "success")
        raw.send(f"remove {key}\r\nlookup {key}\r\n".encode())
        bench.result(raw.reply(), "failure")
        bench.result(raw.reply(), "failure")


@check()
def words_spelling(bench: Bench) -> None:
    """words: any case of the verb, any spaces, quoted keys, LF alone."""
    key = bench.key(" with 'spaces'")
    with bench.raw() as raw:
        raw.send(f'  INSERT   "{key}"   [1, 2]  \n'.encode())
        bench.result(raw.reply(), "success")
        raw.send(f'Lookup "{key}"\n'.encode())
        bench.result(raw.reply(), "success", value=[1, 2])


@check()
def words_invalid(bench: Bench) -> None:
    """words: too few, and JSON that is none, are invalid."""
    key = bench.key()
    with bench.raw() as raw:
        for each in ("insert", f"insert {key}", f"insert {key} {{bad", "lookup", "remove", "query a"):
            raw.send(f"{each}\r\n".encode())
            bench.result(raw.reply(), "invalid")
        raw.send(f"lookup {key}\r\n".encode())
        bench.result(raw.reply(), "failure")


@check()
def words_nonsense(bench: Bench) -> None:
    """words: nonsense gets an error in RESP, an empty line gets nothing, and the connection goes on."""
    with bench.raw() as raw:
        raw.send(b"nonsense\r\n\r\n \r\n\nabracadabra 1 2\r\n\r\nPING\r\n")
        bench.starts(raw.resp(), "-ERR unknown command")
        bench.starts(raw.resp(), "-ERR unknown command")
        bench.equal(raw.resp(), "+PONG")


@check()
def words_help(bench: Bench) -> None:
    """words: help tells of the five verbs."""
    with bench.raw() as raw:
        raw.send(b"help\r\nPING\r\n")
        told = list(iter(raw.line, b"+PONG"))
        for verb in (b"insert", b"lookup", b"remove", b"size", b"query"):
            if not any(verb in line for line in told):
                raise Wrong(f"help does not tell of {verb.decode()}: {_shown(told[:3])}")


# RESP


@check()
def resp_verbs(bench: Bench) -> None:
    """RESP: each verb, and the same documents as in the other grammars."""
    key, subkey = bench.key(), bench.key("-subkey")
    with bench.raw() as raw:
        raw.send(resp_request("insert", key, json.dumps({subkey: 1})))
        bench.equal(raw.resp(), "+OK")
        bench.equal(bench.client.lookup(key), {subkey: 1})
        raw.send(resp_request("LOOKUP", key))
        bench.equal(json.loads(raw.resp()), {subkey: 1})
        raw.send(resp_request("query", subkey, "1"))
        ((name, document),) = raw.resp()
        bench.equal([name.decode(), json.loads(document)], [key, {subkey: 1}])
        raw.send(resp_request("size"))
        if type(count := raw.resp()) is not int or count < 1:
            raise Wrong(f"size gave {count!r}")
        raw.send(resp_request("remove", key))
        bench.equal(raw.resp(), "+OK")
        raw.send(resp_request("remove", key) + resp_request("lookup", key) + resp_request("insert", key, "{bad"))
        for _ in range(3):
            bench.starts(raw.resp(), "-")


@check()
def resp_strings(bench: Bench) -> None:
    """RESP: SET, GET, DEL and EXISTS keep any bytes."""
    key = bench.key().encode()
    with bench.raw() as raw:
        for value in (b"", b"1", bytes(range(256)), b"\r\n$-1\r\n", b"x" * 100_000):
            raw.send(resp_request("SET", key, value) + resp_request("GET", key) + resp_request("EXISTS", key))
            bench.equal(raw.resp(), "+OK")
            if (got := raw.resp()) != value:
                raise Wrong(f"SET of {_shown(value)} came back as {_shown(got)}")
            bench.equal(raw.resp(), 1)
        raw.send(resp_request("DEL", key) + resp_request("GET", key) + resp_request("DEL", key))
        bench.equal([raw.resp() for _ in range(3)], [1, None, 0])


@check()
def resp_one_table(bench: Bench) -> None:
    """RESP: one table: GET shows a document's JSON, lookup refuses a value that is none."""
    key = bench.key()
    bench.client.insert(key, {"a": [1, 2]})
    with bench.raw() as raw:
        raw.send(resp_request("GET", key))
        bench.equal(json.loads(raw.resp()), {"a": [1, 2]})
        raw.send(resp_request("SET", key, "no {json"))
        bench.equal(raw.resp(), "+OK")
    bench.fails(RequestRefused, bench.client.lookup, key)
    bench.client.remove(key)


@check()
def resp_errors(bench: Bench) -> None:
    """RESP: errors leave the connection open; a broken frame gets an error and ends it."""
    with bench.raw() as raw:
        raw.send(resp_request("NONSENSE") + resp_request("GET") + resp_request("PING"))
        bench.starts(raw.resp(), "-ERR unknown command")
        bench.starts(raw.resp(), "-ERR wrong number of arguments")
        bench.equal(raw.resp(), "+PONG")
        raw.send(b"*1\r\n:5\r\n")
        bench.starts(raw.resp(), "-ERR Protocol error")
        bench.equal(raw.ended(), True)


@check()
def resp_quit(bench: Bench) -> None:
    """RESP: QUIT answers and ends the connection."""
    with bench.raw() as raw:
        raw.send(resp_request("QUIT"))
        bench.equal(raw.resp(), "+OK")
        bench.equal(raw.ended(), True)


# All together


@check()
def mixed(bench: Bench) -> None:
    """mixed: the three grammars on one connection, replies in the order of requests."""
    key = bench.key()
    with bench.raw() as raw:
        for i in range(50):
            raw.send(resp_request("SET", key, str(i)) + line(method="lookup", key=key, id=i))
            raw.send(f"lookup {key}\r\nGET {key}\r\n".encode())
        for i in range(50):
            bench.equal(raw.resp(), "+OK")
            bench.result(raw.reply(), "success", value=i, id=i)
            bench.result(raw.reply(), "success", value=i)
            bench.equal(raw.resp().decode(), str(i))


@check()
def two_clients(bench: Bench) -> None:
    """two clients: half a request of one does not keep the other waiting, and each sees what the other did."""
    key = bench.key()
    whole = line(method="lookup", key=key)
    with bench.raw() as slow, bench.raw() as quick:
        slow.send(whole[:10])
        quick.send(line(method="insert", key=key, value="seen"))
        bench.result(quick.reply(), "success")
        slow.send(whole[10:])
        bench.result(slow.reply(), "success", value="seen")


def try_once(each: Check, bench: Bench) -> tuple[str, bool]:
    """Try a check. Returns what is wrong ("" if nothing), and whether something disturbed the connection meanwhile."""
    retries = bench.client.retries
    try:
        each.function(bench)
    except OSError as error:
        return f"the connection failed: {error}", True
    except Wrong as wrong:
        return str(wrong), bench.client.retries != retries
    except Exception as error:
        return f"unexpected {error!r}", bench.client.retries != retries
    return "", False


def run_check(each: Check, bench: Bench) -> str:
    """Try a check until it is right, or wrong without any excuse. Returns what is wrong, or ""."""
    for _ in range(MOST_ATTEMPTS):
        wrong, disturbed = try_once(each, bench)
        bench.clean_up()
        if not wrong or not (disturbed or each.shared):
            break
    return wrong


def main() -> int:
    """Run all checks. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="TARGET", help="[tls:]HOST:PORT, unix:PATH, or a project's name")
    parser.add_argument(
        "--catalog", metavar="HOST:PORT", help="the catalog (default: $KVSTORE_CATALOG, or the public one)"
    )
    arguments = parser.parse_args()
    try:
        bench = Bench(arguments.target, arguments.catalog)
    except ValueError as error:
        parser.error(str(error))
    wrong_checks = 0
    for each in CHECKS:
        wrong = run_check(each, bench)
        wrong_checks += bool(wrong)
        print(f"{'WRONG' if wrong else 'ok   '} {each.title}" + (f"\n      {wrong}" if wrong else ""), flush=True)
    bench.client.close()
    repeated = f"; requests were repeated {bench.client.retries} times" if bench.client.retries else ""
    print(f"{len(CHECKS)} checks, {wrong_checks} wrong{repeated}")
    return 1 if wrong_checks else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
