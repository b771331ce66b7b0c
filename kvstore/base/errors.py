"""The one tree of errors, and whose fault each is.

- `RequestError`: the client's fault (or the disk is full). The request changed nothing; the client gets a reply and
  may go on. It is also a reply value: inside the array that EXEC answers it stands for one failed command.
- `ProtocolError`: the byte stream itself makes no sense. The client gets a reply, then the connection is closed.
  `ForeignProtocol` is one that the log tells of.
- `StorageFault`: the disk failed under the log. Fatal: nothing more is acknowledged (promise 6, fail-stop).
- `StartRefused` and below: the server will not start; the message names the file, the place, the reason and what to
  run next.

Anything else that escapes a command is a bug: a generic reply, a traceback in the log, and the connection is closed.

Texts that more than one place needs stand here once, worded as Redis words them.
"""

from __future__ import annotations

from kvstore.base.limits import MAX_LOGGED_BYTES


class KVStoreError(Exception):
    """The root: every error that kvstore itself raises."""


class RequestError(KVStoreError):
    """A request that cannot be done as asked; nothing changed.

    `text`: the message, one line, without the code. `code`: the first word of the RESP error (ERR, WRONGTYPE, ...).
    """

    #: Whether the code is a client's: there may be any number.
    is_custom = False
    #: Whether it was counted already, as what a script's call answered.
    is_counted = False

    def __init__(self, text: str, code: str = "ERR") -> None:
        super().__init__(text)
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.text else self.code


class InvalidRequest(RequestError):
    """A request that was not understood: unknown command, wrong number or type of arguments.

    JSON: `"result":"invalid"`.
    """


class Failure(RequestError):
    """A request that was understood and could not be done: no such key, wrong type of value.

    JSON: `"result":"failure"`.
    """


class Elsewhere(Failure):
    """A request's keys are not this server's, or not together, in a cluster; `code` tells which. Nothing was begun."""


class StorageFull(Failure):
    """There is no room on the disk for the change that was asked for; nothing changed, reads go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Errors writing to the log: {reason}. Writes are refused until there is room.", "MISCONF")


class ReplyTooLarge(Failure):
    """The reply would be larger than a client may have waiting; nothing of it was sent, and nothing changed."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"the reply is larger than {limit_bytes} bytes, so nothing was done; ask for less in one request, or start"
            " the server with a larger --drop-client-bytes"
        )


class ProtocolError(KVStoreError):
    """The byte stream makes no sense from here on: reply `-ERR Protocol error: TEXT`, then close."""

    def __str__(self) -> str:
        return f"ERR Protocol error: {self.args[0]}"


class ForeignProtocol(ProtocolError):
    """The client speaks another protocol; what it sends may come from somebody who must not get in.

    `name`: of that protocol. `line`: the bytes that gave it away, for the log (shortened).
    """

    def __init__(self, name: str, line: bytes) -> None:
        super().__init__(f"this port does not speak {name}")
        self.name = name
        self.line = line


class StorageFault(KVStoreError):
    """The disk failed under the log or the checkpoint. Fatal: the process must stop, start is recovery."""


class StartRefused(KVStoreError):
    """The server will not start; the text is for the operator and says what to do."""


class DirectoryInUse(StartRefused):
    """Another server holds the lock on the data directory."""


class NothingThere(StartRefused):
    """What is named is no data directory: it is not there, no directory, or holds nothing that kvstore wrote."""


class Unfinished(StartRefused):
    """A backup, restore or import into the directory was interrupted: there is no state in it."""


class Unreachable(StartRefused):
    """A link leads nowhere, as one does to a disk that is not mounted: what it stands for may well exist."""


class NewerVersion(StartRefused):
    """A newer version of kvstore wrote the directory: sound, for all that this one can tell, and not to be touched.

    `file`, `offset`: where that shows. `reason`: what is there that this version does not know.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{file}, byte {offset}: {reason}; a newer version of kvstore may have written it. Nothing was changed, and"
            " nothing is known to be damaged: start that version"
        )
        self.file = file
        self.offset = offset
        self.reason = reason


class DamagedStore(StartRefused):
    """Bytes that were promised durable are damaged or missing.

    `file`: name inside the data directory. `offset`: byte offset of the first bad byte. `reason`: what is wrong with
    it. `advice`: what to run next.
    """

    def __init__(self, file: str, offset: int, reason: str, advice: str) -> None:
        super().__init__(f"{file} is damaged at byte {offset}: {reason}. {advice}")
        self.file = file
        self.offset = offset
        self.reason = reason
        self.advice = advice


WRONG_TYPE = "Operation against a key holding the wrong kind of value"
SYNTAX = "syntax error"
NOT_AN_INTEGER = "value is not an integer or out of range"
NOT_A_FLOAT = "value is not a valid float"
NO_SUCH_KEY = "no such key"
#: Of a group's server that follows: for a write; and what the text for a read begins with.
READ_ONLY = "You can't write against a read only replica."
FOLLOWS = "This server follows"


def wrong_type() -> Failure:
    """The error for a command on a value of another type, as Redis words it."""
    return Failure(WRONG_TYPE, "WRONGTYPE")


def syntax_error() -> InvalidRequest:
    """The error for options that contradict each other or are unknown, as Redis words it."""
    return InvalidRequest(SYNTAX)


def wrong_arity(name: str) -> InvalidRequest:
    """The error for a wrong number of arguments. `name`: the command in lower case, subcommand after a `|`."""
    return InvalidRequest(f"wrong number of arguments for '{name}' command")


def shorten(text: bytes, limit: int = MAX_LOGGED_BYTES) -> str:
    """At most `limit` printable characters of hostile bytes, for an error text or a log line."""
    return text[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")[:limit]


def unknown_command(request: list[bytes]) -> str:
    """The text for a command that there is none of, as Redis words it: with 128 characters of its arguments."""
    shown = ""
    for word in request[1:]:
        if len(shown) >= MAX_LOGGED_BYTES:
            break
        shown += f"'{shorten(word, MAX_LOGGED_BYTES - len(shown))}' "
    return f"unknown command '{shorten(request[0])}', with args beginning with: {shown}"


class WrongSubcommand(InvalidRequest):
    """A subcommand has too many or too few words, where Redis takes that for another one."""

    def __init__(self, container: str, name: str) -> None:
        super().__init__(wrong_subcommand(container, name))
        self.container = container

    def name_as_typed(self, name: bytes) -> None:
        """The text has the subcommand as the client wrote it."""
        self.text = wrong_subcommand(self.container, shorten(name))


def wrong_subcommand(container: str, name: str) -> str:
    """The text for a subcommand with too many or too few words, where Redis takes that for another one."""
    return f"unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
