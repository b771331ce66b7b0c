"""Look at a group of servers, let another one lead, make its log shorter, forget who left it for good.

    kvstore group show TARGET             each server: its part, and how far it is in the group's log
    kvstore group handover TARGET         let a follower lead, any or --to HOST:PORT
    kvstore group trim TARGET             have each server compact, and the leader trim the group's log as far as may be
    kvstore group forget TARGET NODE      take a server off the list that left for good: its HOST:PORT
    kvstore group leave DIR               make a directory of a group that of a server by itself, for good

TARGET is HOST:PORT of any server of the group, or of several, with commas. The others are those that it knows. The
user needs +info, +sentinel and +role; for handover +failover, for trim and forget +group. A password and certificates
are given as to kvstore top. Who is alive is not forgotten.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from kvstore.base.address import Address, parse_address
from kvstore.base.errors import KVStoreError
from kvstore.client.raw import resp_request
from kvstore.store.leaving import leave_group
from kvstore.tools.directory import existing
from kvstore.tools.login import add_login, connected, login_of
from kvstore.tools.streams import say
from kvstore.values import TYPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("action", choices=["show", "handover", "trim", "forget", "leave"])
    parser.add_argument("target", metavar="TARGET", help="of the group's servers; leave: DIR")
    parser.add_argument("node", metavar="NODE", nargs="?", type=_address, help="forget: the server that left")
    parser.add_argument("--to", metavar="HOST:PORT", type=_address, help="handover: who is to lead")
    add_login(parser)


def run(arguments: argparse.Namespace) -> int:
    """The tool."""
    if (arguments.action == "forget") != (arguments.node is not None):
        raise KVStoreError("NODE, a server's HOST:PORT, goes with forget, and forget with it")
    if arguments.action == "leave":
        return _leave(arguments.target)
    group = _Group(arguments)
    if arguments.action == "forget":
        return _forget(group, arguments.node)
    if arguments.action == "trim":
        return _trim(group)
    return _show(group) if arguments.action == "show" else _hand_over(group, arguments.to)


#: What `_row` says of the leader.
_LEADS = "leads"


class _Group:
    """The servers, as they can be asked."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._login = login_of(arguments)
        self._prefix = "tls:" if arguments.target.startswith("tls:") else ""
        self.nodes = [parse_address(each) for each in arguments.target.removeprefix("tls:").split(",")]
        self.name = ""

    def ask(self, node: Address, *words: str) -> Any:
        """What a server answers. Raises KVStoreError for an error, OSError if it does not answer."""
        with connected(f"{self._prefix}{node}", self._login) as connection:
            connection.send(resp_request(*words))
            answer = connection.resp()
        if isinstance(answer, str) and answer.startswith("-"):
            raise KVStoreError(f"{node}: {answer[1:]}")
        return answer

    def find_others(self) -> None:
        """Learn from the first that answers who else there is. Raises OSError if none does."""
        failure: OSError = OSError("no server of the group answers")
        for node in self.nodes:
            try:
                info = _fields(self.ask(node, "INFO", "replication"))
                if "group" not in info:
                    raise KVStoreError(f"{node}: this server is in no group")
                self.name = info["group"]
                told = self.ask(node, "SENTINEL", "SENTINELS", self.name)
            except OSError as error:
                failure = error
                continue
            others = {parse_address(_pairs(each)["name"]) for each in told}
            self.nodes = sorted({*others, parse_address(info["group_node"])})
            return
        raise failure


def _show(group: _Group) -> int:
    """Returns 1 if nobody leads."""
    group.find_others()
    rows = [_row(group, node) for node in group.nodes]
    head = max((row[2] for row in rows if row[2] is not None), default=0)
    say(f"group {group.name}")
    for node, part, position in rows:
        behind = "" if position is None else f"entry {position}" + (f", {head - position} behind" * (position < head))
        say(f"  {node!s:<24} {part:<12} {behind}")
    return 0 if any(part == _LEADS for _, part, _ in rows) else 1


def _row(group: _Group, node: Address) -> tuple[Address, str, int | None]:
    try:
        role = group.ask(node, "ROLE")
    except (OSError, KVStoreError) as error:
        return node, _told(error), None
    if role[0] == b"master":
        return node, _LEADS, role[1]
    return node, "follows" if role[3] == b"connected" else "waits", role[4]


def _told(error: Exception) -> str:
    return f"does not answer: {error.strerror or error}" if isinstance(error, OSError) else f"refuses: {error}"


def _leader(group: _Group) -> Address:
    """Raises KVStoreError if nobody leads, of those that say so."""
    group.find_others()
    rows = [_row(group, node) for node in group.nodes]
    for node, part, _ in rows:
        if part == _LEADS:
            return node
    silent = "; ".join(f"{node} {part}" for node, part, position in rows if position is None)
    raise KVStoreError("nobody leads the group" + f": {silent}" * bool(silent))


def _hand_over(group: _Group, to: Address | None) -> int:
    leader = _leader(group)
    group.ask(leader, "FAILOVER", *(["TO", to.host, str(to.port)] if to else []))
    say(f"{leader} hands over to {to or 'another'}")
    return 0


def _forget(group: _Group, node: Address) -> int:
    group.ask(_leader(group), "GROUP", "FORGET", str(node))
    say(f"{node} is taken off the list, within some seconds by all; if it comes back it is on it again")
    return 0


def _trim(group: _Group) -> int:
    """Returns 1 if not every server could be asked: the log is trimmed up to what two of them have."""
    group.find_others()
    failed = 0
    for node in group.nodes:
        try:
            group.ask(node, "GROUP", "TRIM")
        except (OSError, KVStoreError) as error:
            say(f"{node} {_told(error)}")
            failed = 1
    say("the servers compact; within a minute the log begins behind what the checkpoints of two of them have")
    return failed


def _leave(path: str) -> int:
    """Nobody may have it open."""
    disk = existing(path)
    try:
        position = leave_group(disk, TYPES, lambda: time.time_ns() // 1000, os.urandom)
    finally:
        disk.unlock()
    disk.clear()
    say(f"{path}: of no group any more, with what was in its group's log up to entry {position}; start a server with"
        " --data on it, and without --group")  # fmt: skip
    return 0


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in lines}


def _pairs(flat: list[Any]) -> dict[str, str]:
    words = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
