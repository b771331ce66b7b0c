#!/usr/bin/env python3
"""Try everything a kvstore server does with documents, in every way it can succeed and fail: python
scripts/TestBasics.py TARGET.

First the five verbs through the Python client, then what goes over the wire, byte for byte, in each of the three
grammars: JSON lines, words, RESP. One line per check, a summary, exit status 0 if all is as it should be, else 1.

It may run beside other clients, on keys of its own, and while the server is killed and started again. Every check sets
up all that it needs, on fresh keys, so that it can be tried again; and it is tried again when it failed while the
connection was disturbed, because its outcome then says nothing (a repeated remove finds the key gone, a reply is
lost). A check on the number of all keys is also tried again because another client may have changed it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
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

_SHOWN_CHARACTERS = 200


class Wrong(Exception):
    """Something is not as it should be."""


class Check(NamedTuple):
    """One check. `shared`: it looks at what other clients may change."""

    title: str
    function: Callable[[Bench], None]
    shared: bool = False


# What is expected


class Like(NamedTuple):
    """A reply of which not all is known. `what`: in words. `holds`: whether it is one."""

    what: str
    holds: Callable[[Any], bool]


class Json(NamedTuple):
    """Bytes that are this value's JSON, however it is written."""

    value: Any


class Line(NamedTuple):
    """A line that has exactly these characters."""

    text: str


A_TEXT = Like("a text", lambda found: isinstance(found, str) and found != "")
A_COUNT = Like("a number from 1 on", lambda found: type(found) is int and found > 0)
END: Like = Like("the connection's end", lambda found: found is END)


def error(beginning: str = "") -> Like:
    """An error in RESP."""
    return Like(f"-{beginning}...", lambda found: isinstance(found, str) and found.startswith(f"-{beginning}"))


def success(**members: Any) -> dict[str, Any]:
    """The reply of a request that succeeded, as a JSON line; with these members and no more."""
    return {"result": "success"} | members


def failure(**members: Any) -> dict[str, Any]:
    """The reply to what was understood and cannot be done."""
    return {"result": "failure", "error": A_TEXT} | members


def invalid(**members: Any) -> dict[str, Any]:
    """The reply to what is not understood."""
    return {"result": "invalid", "error": A_TEXT} | members


def agrees(found: Any, wanted: Any) -> bool:
    """Whether what was found is what is wanted, types and all: True is not 1, nor is -0.0 0."""
    if isinstance(wanted, Like):
        return wanted.holds(found)
    if isinstance(wanted, Json):
        return isinstance(found, bytes) and agrees(json.loads(found), wanted.value)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(agrees, found, wanted))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return found.keys() == wanted.keys() and all(agrees(found[name], wanted[name]) for name in wanted)
    return repr(found) == repr(wanted)


def hold(found: Any, wanted: Any, asked: Any) -> None:
    """Raises Wrong unless they agree. `asked`: what was answered so."""
    if not agrees(found, wanted):
        raise Wrong(f"{_shown(asked)}: expected {_shown(wanted)}, found {_shown(found)}")


def _shown(value: Any) -> str:
    text = value.what if isinstance(value, Like) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


#: What is asked, and what is wanted in answer: see `Bench.perform`.
Step = tuple[Any, ...]


class Bench:
    """What a check works with: a client, raw connections, keys of its own."""

    def __init__(self, target: str, catalog: str | None) -> None:
        self._target = target
        self._catalog = catalog
        self.client = Client(target, catalog=catalog)
        self._prefix = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._keys: set[str] = set()

    def fill(self, thing: Any) -> Any:
        """The same with a key of this check's own in place of each `<name>`, wherever it stands in it."""
        if isinstance(thing, bytes):
            return re.sub(rb"<(\w+)>", lambda found: self.key(found[1].decode()).encode(), thing)
        if isinstance(thing, str):
            return re.sub(r"<(\w+)>", lambda found: self.key(found[1]), thing)
        if isinstance(thing, dict):
            return {self.fill(name): self.fill(value) for name, value in thing.items()}
        if isinstance(thing, (Json, Line)):
            return type(thing)(self.fill(thing[0]))
        return type(thing)(map(self.fill, thing)) if type(thing) in (list, tuple) else thing

    def key(self, name: str) -> str:
        """A key that nobody else uses; removed after the check."""
        self._keys.add(f"{self._prefix}-{name}")
        return f"{self._prefix}-{name}"

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

    def perform(self, steps: Sequence[Step]) -> None:
        """Ask in each step for its first element, and hold that the others come in answer. Raises Wrong.

        A tuple is a call of the client, which returns what is wanted, or raises an error of just that class. The rest
        is sent on one connection: text and bytes as they are, a dict as a JSON line, a list of words as a request in
        RESP, any other list as all that is in it. A dict is wanted as a JSON line, anything else in RESP.
        """
        with contextlib.ExitStack() as opened:
            raw = None
            for step in map(self.fill, steps):
                if isinstance(step[0], tuple):
                    self.call(*step)
                    continue
                raw = raw or opened.enter_context(self.raw())
                raw.send(_encoded(step[0]))
                for wanted in step[1:]:
                    hold(_read(raw, wanted), wanted, step[0])

    def call(self, asked: tuple[Any, ...], wanted: Any = None) -> None:
        """One call of the client."""
        verb, *arguments = asked
        if verb == "insert" and isinstance(arguments[0], str):
            self._keys.add(arguments[0])
        try:
            found = getattr(self.client, verb)(*arguments)
        except (LookupError, ValueError, RequestRefused) as raised:
            found = type(raised)
        hold(sorted(found) if verb == "query" and isinstance(found, list) else found, wanted, asked)


def _encoded(asked: Any) -> bytes:
    if isinstance(asked, dict):
        return json.dumps(asked).encode() + b"\n"
    if isinstance(asked, list):
        return resp_request(*asked) if isinstance(asked[0], str) else b"".join(map(_encoded, asked))
    return asked if isinstance(asked, bytes) else str(asked).encode()


def _read(raw: RawConnection, wanted: Any) -> Any:
    if wanted is END:
        return END if raw.ended() else "more bytes"
    if isinstance(wanted, Line):
        return Line(raw.line().decode())
    return raw.reply() if isinstance(wanted, dict) else raw.resp()


# The verbs, through the client

DOCUMENTS: list[Any] = [
    {"weight": 100, "name": "fred"}, {"": {"": None}}, {}, [], [1, [2, [3, {}]]], True, False, None,
    "", "text", "\u00fc \u4e2d \U0001f993", 'line\nend "quote" \\ \x00', "\ud800",
    0, -1, 1.5, 0.1, 1e308, 5e-324, -0.0, 2**53 + 1, 2**63, -(2**64), 10**4000,
]  # fmt: skip

ODD_KEYS = [" ", "with space", "\n", "\r\n", "\x00", '"', "'", "{", "*1", "$", "\u00fc", "\U0001f993", "\ud800",
            "x" * 1000]  # fmt: skip

NO_KEYS: list[Any] = [7, 1.5, None, True, [], {}]


_ONE, _TWO = ["<one>", {"<sub>": "fred", "n": 1}], ["<two>", {"<sub>": "fred"}]

#: Values that a query tells apart.
_ATOMS: list[Any] = [1, True, "1", 0, False, "", None, 2**64, 1.5]

#: What does not count as a member that is 1.
_NO_MEMBERS: list[Any] = [
    {"inner": {"<sub>": 1}}, [{"<sub>": 1}], "<sub>", {"<sub>": [1]}, {"<sub>": {"a": 1}}, {"other": 1},
]  # fmt: skip


def _kept(document: Any, key: str = "<key>") -> list[Step]:
    return [(("insert", key, document),), (("lookup", key), document)]


def _query(wanted: Any, subvalue: Any = 1, subkey: Any = "<sub>") -> Step:
    return ("query", subkey, subvalue), wanted


CLIENT: dict[str, list[Step]] = {
    "insert: any JSON value comes back from lookup exactly as it was": [
        step for i, document in enumerate(DOCUMENTS) for step in _kept(document, f"<k{i}>")
    ],
    "insert: a document of a megabyte": _kept({"text": "x" * 1_000_000}),
    "insert: nested 100 deep": _kept(json.loads("[" * 100 + "]" * 100)),
    "insert: takes the place of what was there": _kept({"name": "fred", "weight": 1}) + _kept({"name": "anna"}),
    "insert: any string is a key, and no two are the same": [
        *((("insert", f"<odd>{odd}", i),) for i, odd in enumerate(ODD_KEYS)),
        *((("lookup", f"<odd>{odd}"), i) for i, odd in enumerate(ODD_KEYS)),
    ],
    "insert: a key that is no string is invalid": [(("insert", key, 1), ValueError) for key in NO_KEYS],
    "lookup: a missing key is a failure": [(("lookup", "<key>"), KeyError)],
    "lookup: a key that is no string is invalid": [(("lookup", key), ValueError) for key in NO_KEYS],
    "remove: takes the key away": [(("insert", "<key>", 1),), (("remove", "<key>"),), (("lookup", "<key>"), KeyError)],
    "remove: a missing key is a failure": [(("remove", "<key>"), KeyError)],
    "remove: the second time is a failure, after an insert it is not": [
        (("insert", "<key>", 1),), (("remove", "<key>"),), (("remove", "<key>"), KeyError),
        (("insert", "<key>", 2),), (("remove", "<key>"),),
    ],
    "remove: a key that is no string is invalid": [(("remove", key), ValueError) for key in NO_KEYS],
    "query: gives the keys and documents that match, and no others": [
        *((("insert", *pair),) for pair in (_ONE, _TWO, ["<other>", {"<sub>": "anna"}])),
        _query([_ONE, _TWO], "fred"), _query([], "nobody"), _query([], "fred", "<unused>"),
    ],
    "query: strings, numbers, true, false and null are told apart; 1 equals 1.0": [
        *((("insert", f"<k{i}>", {"<sub>": value}),) for i, value in enumerate(_ATOMS)),
        *(_query([[f"<k{i}>", {"<sub>": value}]], value) for i, value in enumerate(_ATOMS)),
        _query([["<k0>", {"<sub>": 1}]], 1.0), _query([["<k3>", {"<sub>": 0}]], -0.0),
    ],
    "query: only members of the object itself count, and only objects have them": [
        *((("insert", f"<k{i}>", document),) for i, document in enumerate(_NO_MEMBERS)), _query([]),
    ],
    "query: follows replacing and removing": [
        _query([]), (("insert", "<key>", {"<sub>": 1}),), _query([["<key>", {"<sub>": 1}]]),
        (("insert", "<key>", {"<sub>": 2}),), _query([]), _query([["<key>", {"<sub>": 2}]], 2),
        (("insert", "<key>", "no object"),), _query([], 2),
        (("insert", "<key>", {"<sub>": 1}),), (("remove", "<key>"),), _query([]),
    ],
    "query: a value that is not atomic, or a subkey that is no string, is invalid": [
        *(_query(ValueError, value) for value in ([], {}, [1], {"a": 1})), _query(ValueError, 1, 7),
    ],
}  # fmt: skip


def size(bench: Bench) -> None:
    """size: counts new keys, not replaced ones, and not removed ones."""
    before, names = bench.client.size(), ["<a>", "<b>", "<c>", "<d>", "<e>"]
    inserts: list[Step] = [(("insert", name, 1),) for name in [*names, names[0]]]
    bench.perform([*inserts, (("size",), before + 5), (("remove", "<a>"),), (("size",), before + 4)])


# The wire: JSON lines, words, RESP

_INSERT = {"method": "insert", "key": "<key>"}
_LOOKUP = {"method": "lookup", "key": "<key>"}

#: Requests, as JSON lines, that are none.
_NO_REQUESTS: list[Any] = [
    b"{\n", b"{}\n", b"{nonsense\n", b'{"method":"insert"\n', b"{\xff}\n",
    {"method": "destroy"}, {"method": 7}, {"method": None}, {"key": "a"},
    {"method": "insert"}, {"method": "insert", "key": "a"}, {"method": "insert", "value": 1},
    {"method": "insert", "key": 7, "value": 1}, b'{"method":"insert","key":"a","value":NaN}\n',
    {"method": "lookup"}, {"method": "lookup", "key": ["a"]}, {"method": "remove"},
    {"method": "query", "subkey": "a"}, {"method": "query", "subvalue": 1},
    {"method": "query", "subkey": "a", "subvalue": {}},
]  # fmt: skip

_IDS: list[Any] = ["a", "", "\u00fc", 0, 7, -1, 2**70, 1.5, True, None, [1, "a"], {"a": {}}]
_FRED = {"<sub>": "fred", "weight": 100}
_BYTES = (b"", b"1", bytes(range(256)), b"\r\n$-1\r\n", b"x" * 100_000)

WIRE: dict[str, list[Step]] = {
    "JSON: each verb answers with the result and, where there is one, the value": [
        (_INSERT | {"value": {"<sub>": 1}}, Line('{"result":"success"}')),
        (_LOOKUP, success(value={"<sub>": 1})),
        ({"method": "query", "subkey": "<sub>", "subvalue": 1}, success(value=[["<key>", {"<sub>": 1}]])),
        ({"method": "size"}, success(value=A_COUNT)),
        ({"method": "remove", "key": "<key>"}, success()),
    ],
    "JSON: what was understood and cannot be done is a failure with a text": [
        ({"method": method, "key": "<key>"}, failure()) for method in ("lookup", "remove")
    ],
    "JSON: what is not understood is invalid, and the connection goes on": [
        *((request, invalid()) for request in _NO_REQUESTS), (_LOOKUP, failure()),
    ],
    "JSON: an id comes back as it was, with success, failure and invalid; without one there is none": [
        (_LOOKUP, failure()), (("insert", "<there>", 1),),
        *(step for each in _IDS for step in (
            ({"method": "lookup", "key": "<there>", "id": each}, success(value=1, id=each)),
            (_LOOKUP | {"id": each}, failure(id=each)), ({"method": "destroy", "id": each}, invalid(id=each)))),
    ],
    "JSON: a line may end with LF or CRLF, come byte by byte, or together with others; replies keep the order": [
        (_INSERT | {"value": [0]}, success()),
        *((bytes([byte]),) for byte in b'{"method":"size"}\r'), (b"\n", success(value=A_COUNT)),
        ([each for i in range(200) for each in (_INSERT | {"value": i}, _LOOKUP | {"id": i})],
         *(reply for i in range(200) for reply in (success(), success(value=i, id=i)))),
    ],
    "words: each verb answers with a JSON line": [
        ('insert <key> {"<sub>": "fred", "weight": 100}\r\n', success()),
        ("lookup <key>\r\n", success(value=_FRED)),
        ('query <sub> "fred"\r\n', success(value=[["<key>", _FRED]])),
        ("size\r\n", success(value=A_COUNT)),
        ("remove <key>\r\n", success()),
        ("remove <key>\r\nlookup <key>\r\n", failure(), failure()),
    ],
    "words: any case of the verb, any spaces, quoted keys, LF alone": [
        ("  INSERT   \"<key> with 'spaces'\"   [1, 2]  \n", success()),
        ("Lookup \"<key> with 'spaces'\"\n", success(value=[1, 2])),
        (("remove", "<key> with 'spaces'"),),
    ],
    "words: too few, and JSON that is none, are invalid": [
        *((f"{words}\r\n", invalid())
          for words in ("insert", "insert <key>", "insert <key> {bad", "lookup", "remove", "query a")),
        ("lookup <key>\r\n", failure()),
    ],
    "words: nonsense gets an error in RESP, an empty line gets nothing, and the connection goes on": [
        ("nonsense\r\n\r\n \r\n\nabracadabra 1 2\r\n\r\nPING\r\n",
         error("ERR unknown command"), error("ERR unknown command"), "+PONG"),
    ],
    "RESP: each verb, and the same documents as in the other grammars": [
        (["insert", "<key>", '{"<sub>": 1}'], "+OK"), (("lookup", "<key>"), {"<sub>": 1}),
        (["LOOKUP", "<key>"], Json({"<sub>": 1})),
        (["query", "<sub>", "1"], [[b"<key>", Json({"<sub>": 1})]]),
        (["size"], A_COUNT),
        (["remove", "<key>"], "+OK"),
        ([["remove", "<key>"], ["lookup", "<key>"], ["insert", "<key>", "{bad"]], error(), error(), error()),
    ],
    "RESP: SET, GET, DEL and EXISTS keep any bytes": [
        *(([["SET", "<key>", value], ["GET", "<key>"], ["EXISTS", "<key>"]], "+OK", value, 1) for value in _BYTES),
        ([["DEL", "<key>"], ["GET", "<key>"], ["DEL", "<key>"]], 1, None, 0),
    ],
    "RESP: one table: GET shows a document's JSON, lookup refuses a value that is none": [
        (("insert", "<key>", {"a": [1, 2]}),), (["GET", "<key>"], Json({"a": [1, 2]})),
        (["SET", "<key>", "no {json"], "+OK"), (("lookup", "<key>"), RequestRefused),
    ],
    "RESP: errors leave the connection open; a broken frame gets an error and ends it": [
        ([["NONSENSE"], ["GET"], ["PING"]],
         error("ERR unknown command"), error("ERR wrong number of arguments"), "+PONG"),
        (b"*1\r\n:5\r\n", error("ERR Protocol error"), END),
    ],
    "RESP: QUIT answers and ends the connection": [(["QUIT"], "+OK", END)],
    "mixed: the three grammars on one connection, replies in the order of requests": [(
        [each for i in range(50)
         for each in (["SET", "<key>", str(i)], _LOOKUP | {"id": i}, "lookup <key>\r\nGET <key>\r\n")],
        *(reply for i in range(50) for reply in ("+OK", success(value=i, id=i), success(value=i), b"%d" % i)),
    )],
}  # fmt: skip


def help_in_words(bench: Bench) -> None:
    """words: help tells of the five verbs."""
    with bench.raw() as raw:
        raw.send(b"help\r\nPING\r\n")
        told = b"\n".join(iter(raw.line, b"+PONG")).decode()
    hold([verb for verb in ("insert", "lookup", "remove", "size", "query") if verb not in told], [], "help")


def two_clients(bench: Bench) -> None:
    """two clients: half a request of one does not keep the other waiting, and each sees what the other did."""
    whole = _encoded(bench.fill(_LOOKUP))
    with bench.raw() as slow:
        slow.send(whole[:10])
        bench.perform([(_INSERT | {"value": "seen"}, success())])
        slow.send(whole[10:])
        hold(slow.reply(), success(value="seen"), whole)


def _listed() -> list[Check]:
    """All checks: those of the client, then those of the wire; what needs a function stands last in each."""

    def table(checks: dict[str, list[Step]]) -> list[Check]:
        return [Check(title, partial(Bench.perform, steps=steps)) for title, steps in checks.items()]

    def written(*functions: Callable[[Bench], None], shared: bool = False) -> list[Check]:
        return [Check((function.__doc__ or "").rstrip("."), function, shared) for function in functions]

    return [*table(CLIENT), *written(size, shared=True), *table(WIRE), *written(help_in_words, two_clients)]


CHECKS = _listed()

# The program


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
