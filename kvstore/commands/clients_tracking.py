"""CLIENT TRACKING and its kin: a client that caches asks to be told what is not true any more. Who is told: `tracking`.

Texts and rules are Valkey's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from kvstore.base.errors import InvalidRequest, shorten, syntax_error
from kvstore.base.reply import OK, Members, Reply
from kvstore.commands.arguments import to_integer
from kvstore.commands.context import Call
from kvstore.commands.registry import command
from kvstore.commands.row import NO_SCRIPT
from kvstore.commands.tracking import Mode

_SWITCHES = (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP")
_DIFFERENTLY = "before disabling tracking for this client, and then re-enabling it with a different mode."


@command(
    "CLIENT|TRACKING", NO_SCRIPT, group="connection",
    options="[REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
)  # fmt: skip
def client_tracking(call: Call, status: bytes, *options: bytes) -> Reply:
    """Ask to be told when a key that was read, or any with a prefix, changes: for a cache in the client.

    Unlike Valkey, with BCAST the keys of each request come together, not those of a turn of the loop; a client that
    another redirects to may be told before the reply to a request of its own; what is remembered has a limit in
    bytes, too, past which the keys that were read first are told. What was read before tracking was turned off may
    be forgotten with that, there it is told of later, if the client tracks again.
    """
    mode = _mode(call, options)
    if status.upper() == b"ON":
        mode = _checked(call.client.tracking, mode)
    elif status.upper() != b"OFF":
        raise syntax_error()
    call.server.tracking.set_mode(call.client, mode if status.upper() == b"ON" else None)
    return OK


def _mode(call: Call, options: Iterable[bytes]) -> Mode:
    """What the options say. Raises InvalidRequest."""
    redirect, prefixes, given, left = 0, list[bytes](), set[bytes](), deque(options)
    while left:
        option = left.popleft().upper()
        if option == b"REDIRECT" and left:
            if redirect:
                raise InvalidRequest("A client can only redirect to a single other client")
            redirect = to_integer(left.popleft())
            if redirect not in call.server.clients:
                raise InvalidRequest("The client ID you want redirect to does not exist")
        elif option == b"PREFIX" and left:
            prefixes.append(left.popleft())
        elif option in _SWITCHES:
            given.add(option)
        else:
            raise syntax_error()
    broadcasts, opts_in, opts_out, no_loop = (switch in given for switch in _SWITCHES)
    return Mode(redirect, broadcasts, tuple(prefixes), opts_in, opts_out, no_loop)


def _checked(before: Mode | None, mode: Mode) -> Mode:
    """The mode of a client that was in the mode `before`. Raises InvalidRequest if that does not go together."""
    if mode.prefixes and not mode.broadcasts:
        raise InvalidRequest("PREFIX option requires BCAST mode to be enabled")
    if before is not None and before.broadcasts != mode.broadcasts:
        raise InvalidRequest(f"You can't switch BCAST mode on/off {_DIFFERENTLY}")
    if mode.broadcasts and (mode.opts_in or mode.opts_out):
        raise InvalidRequest("OPTIN and OPTOUT are not compatible with BCAST")
    if mode.opts_in and mode.opts_out:
        raise InvalidRequest("You can't specify both OPTIN mode and OPTOUT mode")
    if before is not None and ((mode.opts_in and before.opts_out) or (mode.opts_out and before.opts_in)):
        raise InvalidRequest(f"You can't switch OPTIN/OPTOUT mode {_DIFFERENTLY}")
    if not mode.broadcasts:
        return mode
    held = () if before is None else before.prefixes
    _check_prefixes(held, mode.prefixes)
    return mode._replace(prefixes=tuple(dict.fromkeys((*held, *(mode.prefixes or (b"",))))))


def _check_prefixes(held: Sequence[bytes], prefixes: Sequence[bytes]) -> None:
    """Raise InvalidRequest if a prefix begins with another, or with one that the client has."""
    for place, prefix in enumerate(prefixes):
        for which, others in (("an existing", held), ("another provided", prefixes[place + 1 :])):
            for other in others:
                if prefix.startswith(other) or other.startswith(prefix):
                    raise InvalidRequest(
                        f"Prefix '{shorten(prefix)}' overlaps with {which} prefix '{shorten(other)}'."
                        " Prefixes for a single client must not overlap."
                    )


@command("CLIENT|CACHING", NO_SCRIPT, group="connection")
def client_caching(call: Call, mode: bytes) -> Reply:
    """Have the keys that the next request reads remembered, with OPTIN, or not, with OPTOUT."""
    tracking = call.client.tracking
    if tracking is None:
        raise InvalidRequest(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
        )
    word = mode.upper()
    if word not in (b"YES", b"NO"):
        raise syntax_error()
    option, has_it = ("OPTIN", tracking.opts_in) if word == b"YES" else ("OPTOUT", tracking.opts_out)
    if not has_it:
        raise InvalidRequest(f"CLIENT CACHING {word.decode()} is only valid when tracking is enabled in {option} mode.")
    call.server.tracking.set_mode(call.client, tracking._replace(caching=True))
    return OK


@command("CLIENT|GETREDIR", NO_SCRIPT, group="connection")
def client_getredir(call: Call) -> Reply:
    """Tell which client is told in place of this one: 0 if none is, -1 if this one does not track."""
    return -1 if call.client.tracking is None else call.client.tracking.redirect


@command("CLIENT|TRACKINGINFO", NO_SCRIPT, group="connection")
def client_trackinginfo(call: Call) -> Reply:
    """Tell how this client tracks."""
    mode: Mode | None = call.client.tracking
    return {
        "flags": Members(_flags(mode)),
        "redirect": -1 if mode is None else mode.redirect,
        "prefixes": [] if mode is None else sorted(mode.prefixes),
    }


def _flags(mode: Mode | None) -> list[bytes]:
    if mode is None:
        return [b"off"]
    flags = {
        b"on": True,
        b"bcast": mode.broadcasts,
        b"optin": mode.opts_in,
        b"caching-yes": mode.opts_in and mode.caching,
        b"optout": mode.opts_out,
        b"caching-no": mode.opts_out and mode.caching,
        b"noloop": mode.no_loop,
        b"broken_redirect": mode.is_broken,
    }
    return [flag for flag, holds in flags.items() if holds]
