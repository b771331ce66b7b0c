"""Requests as lines, replies and what they mean, and the pauses: no sockets here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import kvstore
from kvstore.client.exchange import (
    DeadlineExceeded,
    Pauses,
    RequestRefused,
    decode_reply,
    encode_request,
    outcome,
    report_on_stderr,
)
from kvstore.client.progress import Progress
from tests.kit.fake_server import FakeServer

MISSING = {"result": "failure", "error": "no such key"}

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class EncodeTests(SynchronousTestCase):
    """`encode_request`."""

    @given(key=st.text(), value=DOCUMENTS)
    def test_any_document_is_one_line_and_comes_back(self, key: str, value: Any) -> None:
        """Any key and document make one line, whose end is the only line end in it, and mean the same when read."""
        line = encode_request(7, "insert", {"key": key, "value": value})
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.startswith(b"{") and line.endswith(b"}\n"))
        self.assertEqual(json.loads(line), {"id": 7, "method": "insert", "key": key, "value": value})

    def test_lone_surrogates_and_large_integers(self) -> None:
        """What only JSON's escapes can say, and integers past 64 bits, are said exactly."""
        value = ["\ud800", 2**200, -(2**64)]
        self.assertEqual(json.loads(encode_request(1, "insert", {"value": value}))["value"], value)

    def test_what_is_not_json_is_the_callers_fault(self) -> None:
        """NaN, infinities and objects without a JSON form raise instead of becoming something else."""
        for value in (float("nan"), float("inf")):
            self.assertRaises(ValueError, encode_request, 1, "insert", {"value": value})
        for value in (object(), b"bytes", {1, 2}):
            self.assertRaises(TypeError, encode_request, 1, "insert", {"value": value})


class DecodeTests(SynchronousTestCase):
    """`decode_reply`."""

    def test_reply_of_the_request(self) -> None:
        """A reply that carries the request's id is its reply, with either line end."""
        for end in (b"\n", b"\r\n", b""):
            reply = decode_reply(b'{"result":"success","value":3,"id":7}' + end, 7, "size")
            self.assertEqual(reply["value"], 3)

    def test_reply_of_another_request(self) -> None:
        """A reply with another id, or a success without one, is never taken for the request's."""
        for line in (
            b'{"result":"success","id":6}',
            b'{"result":"success"}',
            b'{"result":"failure","error":"x","id":null}',
        ):
            self.assertRaises(ConnectionError, decode_reply, line, 7, "remove")

    def test_true_is_not_one(self) -> None:
        """Nor is its reply that of request 1."""
        self.assertRaises(ConnectionError, decode_reply, b'{"result":"success","id":true}', 1, "remove")

    def test_values_of_the_wrong_kind(self) -> None:
        """What no value of this verb can be reaches nobody; a missing value or text is wrong too."""
        wrong = {
            "size": [b'"abc"', b"true", b"-1", b"1.5", b"null", b"[]", b"NaN"],
            "query": [b"1", b"{}", b"null", b"[1]", b'["ab"]', b'[["a"]]', b'[["a",{},1]]', b"[[1,{}]]", b'[["a",1]]'],
            "lookup": [b"NaN", b"-Infinity", b'{"a":Infinity}'],
        }
        for method, values in wrong.items():
            lines = [b'{"result":"success","id":7,"value":%b}' % value for value in values]
            for line in [*lines, b'{"result":"success","id":7}', b'{"result":"failure","id":7}',
                         b'{"result":"invalid","id":7,"error":null}']:  # fmt: skip
                error = self.assertRaises(ConnectionError, decode_reply, line, 7, method)
                self.assertIn("makes no sense", str(error))

    def test_values_of_the_right_kind(self) -> None:
        """Every value that a verb can have comes through."""
        right = {
            "size": [0, 2**70],
            "query": [[], [["", {}], ["a", {"b": [1]}]]],
            "lookup": [None, 1, "a", [], {"a": None}, 1.5, True],
        }
        for method, values in right.items():
            for value in values:
                line = json.dumps({"result": "success", "id": 7, "value": value}).encode()
                self.assertEqual(outcome(decode_reply(line, 7, method), method, "k", False), value)

    def test_invalid_without_an_id(self) -> None:
        """The server may not have been able to read the id of an invalid request: its reply may lack it."""
        for line in (b'{"result":"invalid","error":"too long"}', b'{"result":"invalid","error":"x","id":null}'):
            self.assertEqual(decode_reply(line, 7, "remove")["result"], "invalid")

    def test_nonsense_is_shown(self) -> None:
        """A line that is no reply raises an error that shows its beginning."""
        for line in (
            b"-ERR max number of clients reached\r\n",
            b"[]",
            b'{"result":"maybe","id":7}',
            b"\xff",
            b"[" * 9999,
        ):
            error = self.assertRaises(ConnectionError, decode_reply, line, 7, "remove")
            self.assertIn(repr(line[:20])[2:-1], str(error))
            self.assertLess(len(str(error)), 500)


class OutcomeTests(SynchronousTestCase):
    """`outcome`: what the caller gets."""

    def test_success_gives_the_value(self) -> None:
        """The value of a success is returned; without one, None."""
        self.assertEqual(outcome({"result": "success", "value": {"a": 1}}, "lookup", "k", False), {"a": 1})
        self.assertIsNone(outcome({"result": "success"}, "insert", "k", False))

    def test_missing_key(self) -> None:
        """A failure for want of the key is a KeyError of that key, for lookup even when repeated."""
        for method, repeated in (("lookup", False), ("lookup", True), ("remove", False)):
            error = self.assertRaises(KeyError, outcome, MISSING, method, "zebra", repeated)
            self.assertEqual(error.args, ("zebra",))

    def test_repeated_remove_of_a_missing_key(self) -> None:
        """A repeated remove that finds no key succeeds: it was most likely its own first attempt."""
        self.assertIsNone(outcome(MISSING, "remove", "zebra", True))

    def test_other_failures_are_no_key_errors(self) -> None:
        """A full disk or a value that is not JSON raises RequestRefused with the server's text, repeated or not."""
        for text in ("MISCONF Errors writing to the log", "WRONGTYPE not a document"):
            for repeated in (False, True):
                reply = {"result": "failure", "error": text}
                error = self.assertRaises(RequestRefused, outcome, reply, "remove", "zebra", repeated)
                self.assertEqual(str(error), text)
        self.assertFalse(issubclass(RequestRefused, LookupError | ValueError))

    def test_invalid_is_a_value_error(self) -> None:
        """An invalid request raises ValueError with the server's text."""
        error = self.assertRaises(ValueError, outcome, {"result": "invalid", "error": "what?"}, "query", None, False)
        self.assertEqual(str(error), "what?")


class DeadlineExceededTests(SynchronousTestCase):
    """`DeadlineExceeded`."""

    def test_pickled(self) -> None:
        """It comes through a pickle whole: a pool of processes raises in one what was raised in another."""
        for may_be_done in (False, True):
            error = DeadlineExceeded("size", 2.5, "box:1", may_be_done)
            other = pickle.loads(pickle.dumps(error))
            self.assertEqual((str(other), other.may_be_done), (str(error), may_be_done))
            self.assertIn("size had no answer from box:1 in 2.5 s", str(other))


class PausesTests(SynchronousTestCase):
    """`Pauses`."""

    def test_they_double_up_to_a_ceiling(self) -> None:
        """One second, then twice as long each time, 16 at most."""
        pauses = Pauses()
        self.assertEqual([pauses.next() for _ in range(7)], [1, 2, 4, 8, 16, 16, 16])

    def test_they_begin_again_after_a_success(self) -> None:
        """After a reset the next pause is the shortest."""
        pauses = Pauses()
        pauses.next()
        pauses.next()
        pauses.reset()
        self.assertEqual(pauses.next(), 1)

    def test_of_several_servers_each_is_tried_first(self) -> None:
        """There is a pause when all have failed."""
        pauses = Pauses(3)
        self.assertEqual([pauses.next() for _ in range(9)], [0, 0, 1, 0, 0, 2, 0, 0, 4])


class ReportTests(SynchronousTestCase):
    """`report_on_stderr`."""

    def test_one_line(self) -> None:
        """A message is one line on stderr that says who speaks."""
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr):
            report_on_stderr("Connection refused")
        self.assertEqual(stderr.getvalue(), "kvstore: Connection refused\n")

    def test_nobody_hears_it(self) -> None:
        """No standard error stream, one that is closed, a descriptor that is, a pipe without a reader, a full disk."""
        closed = io.StringIO()
        closed.close()
        read, write = os.pipe()
        os.close(read)
        gone = os.open(os.devnull, os.O_WRONLY)
        full = os.open("/dev/full", os.O_WRONLY)
        streams = [None, closed, *(os.fdopen(descriptor, "w") for descriptor in (write, gone, full))]
        os.close(gone)
        for stream in streams:
            with contextlib.redirect_stderr(stream):
                report_on_stderr("Connection refused")
                Progress("stage").show(0.5)
                Progress("stage").clear()
        for stream in streams[2:]:
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def test_descriptors_of_closed_streams(self) -> None:
        """No connection takes the place of a closed standard stream: what is written there reaches no server."""
        server = FakeServer()
        self.addCleanup(server.stop)
        program = (
            "from kvstore.client import Client; import os; [os.close(i) for i in range(3)]\n"
            f"client = Client('{server.target}', deadline_seconds=60); client.insert('zebra', 1)\n"
            "for i in range(3):\n"
            "    try: os.write(i, b'x')\n"
            "    except OSError: pass\n"
            "client.insert('zebra', client.lookup('zebra') + 1)"
        )
        root = Path(kvstore.__file__).parent.parent
        self.assertEqual(subprocess.run([sys.executable, "-c", program], cwd=root).returncode, 0)
        self.assertEqual((server.table, server.connections), ({"zebra": 2}, 1))

    def test_closed_in_the_shell(self) -> None:
        """A client in a process that was started with its streams closed repeats its request as any other does."""
        program = (
            "from kvstore.client import Client; import sys; paused = []\n"
            "client = Client('127.0.0.1:1', deadline_seconds=3, sleep=paused.append, clock=lambda: sum(paused))\n"
            "try: client.size()\n"
            "except TimeoutError: sys.exit(len(paused) + 40)"
        )
        root = Path(kvstore.__file__).parent.parent
        for closed in ("2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>&1"):
            command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program]
            self.assertEqual(subprocess.run(command, cwd=root).returncode, 42, closed)
