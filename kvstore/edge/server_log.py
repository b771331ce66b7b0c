"""The log of a server process: which lines are written, how, and where to; the observer that twistd is given.

Where to: to `--log-file`, or where twistd would write: its `--logfile`, standard output in the foreground, `twistd.log`
as a daemon. SIGHUP and SIGUSR1 open the file anew under its name, for logrotate and its kin; the file is appended to,
so that `copytruncate` does, too. (Without a file the signals do nothing; SIGHUP ends no server.) A line that cannot be
written, on a full disk say, is left out and counted, see `streams`. Tracebacks are so many a minute of each kind.

Standard output that is the journal's of systemd gets each line with its priority in front, as sd-daemon(3) has it.

twistd's `--logger` and `--syslog` stand for other observers: then this one is not there.

Rejected: twistd's own observer of files, which begins a new one at each megabyte, removes none, and knows one signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from zope.interface import implementer

from kvstore.edge.log_limit import LogLimit
from kvstore.edge.log_line import failure_of, json_line, level_of, text_line
from kvstore.edge.reactor import the_reactor
from kvstore.edge.settings import REDIS_LEVELS, LogFormat
from kvstore.edge.streams import Unblocked, left_out_text

_log = Logger()
_LINES: dict[LogFormat, Callable[[LogEvent, bool], str]] = {"text": text_line, "json": json_line}

#: The levels, by Redis's names.
_LEVELS = {redis: level for level, redis in REDIS_LEVELS.items()} | {"verbose": "info"}

#: syslog(3).
_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}

_SIGNALS = (signal.SIGHUP, signal.SIGUSR1)


@implementer(ILogObserver)
class ServerLog:
    """See the module. `path`: of the file, absolute; None for standard output."""

    def __init__(self, format: LogFormat = "text", level: str = "info", path: str | None = None) -> None:
        self._shows_data = False
        self.path = path
        self._line = _LINES[format]
        self.set_level(level)
        self._stream: Any = None
        self._has_priorities = False
        self._limit = LogLimit(time.monotonic)

    def begin(self) -> ServerLog:
        """Open the file, and obey the signals. To be called once, in the main thread. Returns this object. Raises
        SystemExit with what to say, if the file cannot be opened.
        """
        if self.path is None:
            self._stream = sys.stdout
            self._has_priorities = _is_the_journal(1)
        else:
            try:
                self._stream = Unblocked(_opened(self.path))
            except OSError as error:
                sys.exit(f"kvstore: the log file {self.path!r}: {error.strerror}; choose another with --log-file")
        if self._line is json_line and isinstance(self._stream, Unblocked):
            self._stream.left_out_text = _left_out_json
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        return self

    def set_level(self, name: str) -> None:
        """Leave out what is less important from now on. `name`: a level, or what Redis calls it."""
        self._least = LogLevel.levelWithName(_LEVELS.get(name, name))

    def hide_data(self, yes_or_no: str) -> None:
        """Whether exceptions that nobody expected keep to themselves what they say."""
        self._shows_data = yes_or_no == "no"

    def __call__(self, event: LogEvent) -> None:
        """Write an event. Raises nothing."""
        if self._stream is None or level_of(event) < self._least:
            return
        if failure_of(event) is None:
            self._write("", event=event)
        else:  # Twisted's too: who causes them once can cause them without end
            self._limit(self._write, str(event.get("log_format")), event=event)

    def _write(self, format: str, **fields: LogEvent) -> None:
        event = fields["event"]
        level = level_of(event)
        line = self._line(event, self._shows_data)
        priority = f"<{_PRIORITIES[level.name]}>" if self._has_priorities else ""
        # The journal takes each line for a message.
        print(priority + line.replace("\n", f"\n{priority}"), file=self._stream, flush=True)

    def _signalled(self, number: int, frame: object) -> None:
        # Not here: this may have interrupted a line.
        the_reactor().callFromThread(self.reopen)

    def reopen(self) -> None:
        """Open the file anew under its name; if that fails, go on with the old one and say so."""
        if not isinstance(self._stream, Unblocked) or self.path is None:
            return
        try:
            opened = _opened(self.path)
        except OSError as error:
            _log.error(
                "the log file {path} cannot be opened anew: {reason}; the log goes on in the old one",
                path=self.path, reason=error.strerror,
            )  # fmt: skip
            return
        os.dup2(opened, self._stream.fileno(), inheritable=False)
        os.close(opened)
        _log.info("the log file {path} is opened anew", path=self.path)


def _opened(path: str) -> int:
    """A descriptor of the file at `path`, to append to. Never blocks, though a pipe may be behind the name."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o640)


def _is_the_journal(descriptor: int) -> bool:
    """Whether it is the socket of systemd's journal: see systemd.exec(5), JOURNAL_STREAM."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _left_out_json(count: int) -> str:
    text = left_out_text(count)
    return json_line({"log_time": time.time(), "log_level": LogLevel.warn, "log_namespace": __name__,
                      "log_format": text.replace(str(count), "{count}", 1), "count": count}, False)  # fmt: skip
