"""What options have to do with each other: which do not go together, and which say nothing without another.

Each check raises UsageError: one line, with what was typed and what to give instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping
from itertools import product
from typing import Any, NamedTuple

from twisted.python import usage

from kvstore.edge.exposure import is_tls, open_endpoints, refusal
from kvstore.edge.option_text import MAX_PORT, is_file_of, same_place
from kvstore.edge.tls import authorities_in

#: Options that say nothing without another one, and the advice.
_NEEDS = {
    **dict.fromkeys(
        ("log", "advertise", "node-ca", "lease-ms", "reads", "slots", "node-user", "node-password-file"),
        ("group", "that is of a group; give --group too"),
    ),
    **dict.fromkeys(("owner", "catalog"), ("project", "nothing is announced without --project; give that too")),
}


class Given(NamedTuple):
    """All that was said. `typed`: texts, by option. `value`: what they mean. `configured`: settings of the file of
    --config that are no options, and the names of its `users`.
    """

    typed: Mapping[str, Any]
    value: Mapping[str, Any]
    configured: Mapping[str, str]
    users: Collection[bytes]

    def bad(self, name: str, advice: str) -> usage.UsageError:
        """The error about an option."""
        return usage.UsageError(f"--{name} {self.typed[name]!r}: {advice}")


def check_together(given: Given) -> None:
    """Raise UsageError for the first that does not go together."""
    for check in (
        _check_sizes, _check_places, _check_certificates, _check_reach, _check_strangers, _check_users, _check_needs,
    ):  # fmt: skip
        check(given)


def _check_sizes(given: Given) -> None:
    typed, value = given.typed, given.value
    if value["pause-reading-bytes"] > value["drop-client-bytes"]:
        advice = f"give at most what --drop-client-bytes says, {typed['drop-client-bytes']}"
        raise given.bad("pause-reading-bytes", advice)
    if value["max-input-bytes"] is not None and value["max-input-bytes"] < value["max-request-bytes"]:
        advice = f"give at least what --max-request-bytes says, {typed['max-request-bytes']}"
        raise given.bad("max-input-bytes", advice)
    if value["group-limit"] and value["overlap"] == "always":
        raise usage.UsageError(
            "--group-limit and --overlap always: a commit cannot be closed at its limit while another is on its way;"
            " leave --overlap out"
        )


def _check_places(given: Given) -> None:
    typed, value = given.typed, given.value
    if value["keep-log"] is not None and same_place(value["keep-log"], value["data"]):
        raise given.bad("keep-log", "give another directory than --data")
    for name, file in product(("data", "keep-log"), ("trace", "log-file")):
        if value[file] is not None and value[name] is not None and is_file_of(value[name], value[file]):
            raise given.bad(file, f"this is a file of --{name} {typed[name]!r}; choose another place")


def _check_certificates(given: Given) -> None:
    if given.value["tls-client-ca"] is not None:
        read_option("--tls-client-ca", given.typed["tls-client-ca"], authorities_in)
        if not any(endpoint.startswith("ssl:") for endpoint in given.typed["listen"]):
            raise given.bad("tls-client-ca", "no --listen ssl:... is there to ask for certificates")


def _check_reach(given: Given) -> None:
    """How the other servers of a group reach this one, and it them."""
    typed, value = given.typed, given.value
    over_tls = value["advertise"] is not None and value["advertise"][1]
    if value["node-ca"] is not None:
        read_option("--node-ca", typed["node-ca"], authorities_in)
        if value["group"] is not None and not over_tls:
            raise given.bad("node-ca", "no server is reached over TLS; give --advertise tls:HOST:PORT if all are")
    ports = [endpoint for endpoint in typed["listen"] if not endpoint.startswith("unix:")]
    if value["advertise"] is not None and not over_tls and value["port"] is None and ports and all(map(is_tls, ports)):
        raise given.bad("advertise", "all ports speak TLS; give tls:HOST:PORT")


def _check_strangers(given: Given) -> None:
    """See `exposure`. Whether clients are asked for a password is seen when there are users."""
    typed, value = given.typed, given.value
    may_ask = any((value["password-file"], value["acl-file"], given.configured.get("requirepass"), given.users))
    if typed["insecure"] or may_ask:
        return
    for endpoint in open_endpoints(typed["listen"]):
        raise usage.UsageError(f"--listen {refusal(endpoint)}")
    for endpoint in open_endpoints([value["http"]] if value["http"] else []):
        raise usage.UsageError(f"--http {refusal(endpoint)}")


def _check_users(given: Given) -> None:
    if given.value["acl-file"] is None:
        return
    if given.value["password-file"] is not None:
        advice = "the file of --acl-file says what the default user's password is; give one of them"
        raise given.bad("password-file", advice)
    if given.users:
        raise given.bad("acl-file", "the file of --config tells of users, too; say who there is in one of them")


def _check_needs(given: Given) -> None:
    if given.typed["http-host"] and given.value["http"] is None:
        name = given.typed["http-host"][0]
        raise usage.UsageError(f"--http-host {name!r}: there is no HTTP without --http; give that too")
    for name, (needed, advice) in _NEEDS.items():
        if given.value[name] is not None and given.value[needed] is None:
            raise given.bad(name, advice)


def read_option(source: str, text: str, read: Callable[[str], Any]) -> Any:
    """What a text means. `source`: the option, or whatever it was said by. Raises UsageError."""
    try:
        return read(text)
    except ValueError as error:
        raise usage.UsageError(f"{source} {text!r}: {error}") from None


def check_endpoint(text: str) -> None:
    """Parse an endpoint string without binding anything; a `ssl:` one reads its certificate. Raises ValueError."""
    # Parsing needs a reactor only to hand it on to the endpoint, which is thrown away here: the one that is installed,
    # if there is one. None is installed for it: which that is to be may be the application's to say.
    from twisted.internet.endpoints import serverFromString

    reactor: Any = sys.modules.get("twisted.internet.reactor")
    try:
        port = getattr(serverFromString(reactor, text), "_port", 0)
    except Exception as error:  # plugins parse the texts: they raise what they like
        # On one line, and without the name of the parser's function that Python puts before a missing argument.
        reason = re.sub(r"^\w+\(\) ", "", " ".join(str(error).split())) or type(error).__name__
        raise ValueError(f"this is no server endpoint of Twisted's ({reason}); give one such as tcp:6380") from None
    if not isinstance(port, int) or not 0 <= port <= MAX_PORT:
        raise ValueError(f"the port must be from 0 to {MAX_PORT}")
