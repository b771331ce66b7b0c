"""A log event as a line: what people and programs read, and what neither may."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogEvent, Logger, capturedLogs
from twisted.python import log as old_log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvstore.edge.log_line import json_line, text_line

#: Not to be in a line of source, which a traceback shows.
SECRET = "sec" + "ret"


class Rude:
    """Something that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


def _fail(value: str) -> None:
    try:
        {}[value]
    except KeyError as error:
        raise ValueError(f"this is no number: {value}") from error


class LineTests(SynchronousTestCase):
    """Events of both of Twisted's logs."""

    def event(self, level: str = "warn", format: str = "hello {who}", **fields: Any) -> LogEvent:
        """One event."""
        events: list[LogEvent] = []
        getattr(Logger("some.where", observer=events.append), level)(format, **fields)
        return events[0] | {"log_time": 1e9 + 0.25}

    def failure(self, old: bool = False) -> LogEvent:
        """The event of an exception that nobody expected."""
        events: list[LogEvent] = []
        try:
            _fail(SECRET)
        except ValueError:
            if old:
                with capturedLogs() as captured:
                    old_log.err(None, "oh")
                self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
                events.extend(captured)
            else:
                Logger("some.where", observer=events.append).failure("oh")
        return events[0]

    def parsed(self, event: LogEvent, shows_data: bool = False) -> Any:
        """The object of its line."""
        line = json_line(event, shows_data)
        self.assertTrue(line.isascii() and "\n" not in line)
        return json.loads(line)

    def test_text(self) -> None:
        """Time, place, level, message."""
        line = text_line(self.event(who="you"), False)
        self.assertTrue(line.startswith(("2001-09-09T", "2001-09-08T")), line)
        self.assertTrue(line.endswith(" [some.where#warn] hello you"), line)

    def test_json(self) -> None:
        """The same, and its parts."""
        parsed = self.parsed(self.event(who="you", number=1.5, none=None, thing=b"x"))
        self.assertEqual(parsed, {
            "time": "2001-09-09T01:46:40.250000+00:00", "level": "warn", "namespace": "some.where",
            "text": "hello you", "format": "hello {who}",
            "fields": {"who": "you", "number": 1.5, "none": None, "thing": "x"},
        })  # fmt: skip

    def test_one_event_one_line(self) -> None:
        """What somebody is called begins no line, and moves no cursor; what is not Unicode is shown all the same."""
        event = self.event(who="a\n2001-09-09 all is well\x1b[2J\x9b\udcff")
        line = text_line(event, False)
        self.assertIn("hello a\\x0a2001-09-09 all is well\\x1b[2J\\x9b", line)
        self.assertEqual(self.parsed(event)["text"], "hello a\n2001-09-09 all is well\x1b[2J\x9b\udcff")

    def test_traceback(self) -> None:
        """Where it was raised and what kind it is, causes first; what it says only for who wants that."""
        for old in (False, True):
            event = self.failure(old)
            text = text_line(event, False)
            lines = text.split("\n\t")
            self.assertTrue(lines[0].endswith("oh"), lines[0])
            self.assertEqual(lines[1], "Traceback (most recent call last):")
            self.assertIn(", in _fail", text)
            self.assertLess(text.index("KeyError ("), text.index("ValueError ("))
            parsed = self.parsed(event)
            self.assertEqual(parsed["text"], "oh")
            self.assertIn("KeyError", parsed["fields"]["traceback"])
            self.assertNotIn("secret", text + json_line(event, False))
            for line in (text_line(event, True), json_line(event, True)):
                self.assertIn("ValueError: this is no number: secret", line)

    def test_what_the_system_says(self) -> None:
        """Of a file or a socket is no user's data."""
        event = self.event("error", "oh", log_failure=Failure(OSError(28, "No space left on device", "/a")))
        self.assertIn("OSError: [Errno 28] No space left on device: '/a'", text_line(event, False))

    def test_nothing_raises(self) -> None:
        """Whatever the fields are."""
        event = self.event(who=Rude())
        self.assertIn("Rude", text_line(event, False))
        self.assertIn("Rude", json_line(event, False))
