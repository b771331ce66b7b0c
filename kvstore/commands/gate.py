"""The gate: who each client is, whether it may do what it asks for, and what follows when that changes.

| a client | `Client.rights` | its requests |
|---|---|---|
| may do everything | None | are not looked at, and take the quick ways |
| has not said who it is, and has to | NOBODY | NOAUTH, but for those that need no user (AUTH, HELLO, QUIT, RESET) |
| may do some things | those of its user | each is looked at; NOPERM |

Rights are looked at when a request is about to execute or to be queued, for each command of a block when that
executes, for each call of a script, and once more before a request that waited is tried again.

When a user's rights change, so do those of its connected clients, at once: who subscribes to what it may not any more
is disconnected, and so is who is in MONITOR and may not be. The clients of a user that is deleted are disconnected.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.base.errors import Failure
from kvstore.commands.acl_log import AclLog
from kvstore.commands.asked import Asked, Denial, Reason
from kvstore.commands.channels import Channels
from kvstore.commands.client import Client
from kvstore.commands.client_line import client_line
from kvstore.commands.registry import Command, table
from kvstore.commands.rights import Rights
from kvstore.commands.row import NO_AUTH
from kvstore.commands.statistics import Statistics
from kvstore.commands.users import User, Users

#: Of who has not said yet who it is.
NOBODY = Rights(())

#: What is said of each reason; and with the name, to who asks about others (ACL DRYRUN).
_REFUSALS = {
    Reason.DATABASE: "No permissions to access database",
    Reason.KEY: "No permissions to access a key",
    Reason.CHANNEL: "No permissions to access a channel",
}
_TOLD = {
    Reason.DATABASE: b"access database %b",
    Reason.COMMAND: b"run the '%b' command",
    Reason.KEY: b"access the '%b' key",
    Reason.CHANNEL: b"access the '%b' channel",
}
#: What EXEC says of a command that its client may not run any more.
_CHANGED = {
    Reason.DATABASE: "no permission",
    Reason.COMMAND: "no permission to execute the command or subcommand",
    Reason.KEY: "no permission to touch the specified keys",
    Reason.CHANNEL: "no permission to access one of the channels used as arguments",
}


class Gate:
    """See the module; one for each server. `log`: of refusals.

    `clients`: all that are connected. `databases`: how many there are. `now_ms`: the wall clock. `recent_ms`: see
    `Server.recent_ms`.
    """

    def __init__(
        self,
        users: Users,
        log: AclLog,
        clients: dict[int, Client],
        channels: Channels,
        statistics: Statistics,
        databases: int,
        now_ms: Callable[[], int],
        recent_ms: Callable[[], int],
    ) -> None:
        self.users = users
        self.log = log
        self._clients = clients
        self._channels = channels
        self._statistics = statistics
        self._databases = databases
        self._now_ms = now_ms
        self._recent_ms = recent_ms
        self._doomed: list[Client] = []
        users.changed = self._user_changed
        users.deleted = self._user_deleted

    # Who a client is

    def welcome(self, client: Client) -> None:
        """A client has come, or begins anew: it is the default user, if that needs no password."""
        self._become(client, self.users.default, is_authenticated=self.users.default.lets_in_anybody)

    def log_in(self, client: Client, name: bytes, password: bytes, command: bytes) -> None:
        """A client says who it is. `command`: by which. Raises Failure."""
        try:
            user = self.users.authenticate(name, password)
        except Failure:
            self._note("auth", "toplevel", command, name, client)
            raise
        self._become(client, user, is_authenticated=True)

    def _become(self, client: Client, user: User, *, is_authenticated: bool) -> None:
        client.user = user
        client.is_authenticated = is_authenticated
        client.was_authenticated |= is_authenticated
        self._set_rights(client)
        client.peer.changed()

    def restore(self, client: Client, user: User, *, is_authenticated: bool) -> None:
        """A client is who it was."""
        if client.user is not user or client.is_authenticated != is_authenticated:
            self._become(client, user, is_authenticated=is_authenticated)

    def _set_rights(self, client: Client) -> None:
        rights = client.user.rights if client.is_authenticated else NOBODY
        client.rights = None if rights.lets_all else rights
        client.use(self._statistics.plain)

    # Whether it may

    def denial(self, user: User, row: Command, words: list[bytes], database: int) -> Denial | None:
        """What a user lacks for a request, None if it may do it. `words`: the name first."""
        return user.rights.denied(self._asked(row, words, database))

    def check(self, client: Client, row: Command, words: list[bytes], database: int) -> None:
        """Raise Failure if a client, whose `rights` are not None, may not do this."""
        if client.rights is not None and client.rights.let_at_a_glance(row, words):
            return
        check_authenticated(client, row)
        denial = self._noted(client, row, words, database, "toplevel" if client.queued is None else "multi")
        if denial is not None:
            raise Failure(refusal(denial, client.user), "NOPERM")

    def check_again(self, client: Client, row: Command, words: list[bytes], database: int) -> None:
        """The same of a command in a block that executes."""
        check_authenticated(client, row)
        denial = self._noted(client, row, words, database, "multi")
        if denial is not None:
            raise Failure(
                "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command"
                f" is no longer allowed for the following reason: {_CHANGED[denial.reason]}",
                "NOPERM",
            )

    def check_call(self, client: Client, row: Command, words: list[bytes]) -> None:
        """The same of what a script asks for, whose `client` that is."""
        caller = client.asked_by
        assert caller is not None
        check_authenticated(caller, row)
        denial = self._noted(caller, row, words, client.database, "lua")
        if denial is not None:
            raise Failure(f"ACL failure in script: {refusal(denial, caller.user)}")

    def may(self, client: Client, row: Command, words: list[bytes], database: int) -> bool:
        """Whether a client may do this; nobody is told."""
        return client.rights is None or client.rights.denied(self._asked(row, words, database)) is None

    def may_with_all_keys(self, client: Client, row: Command, words: list[bytes], database: int, access: int) -> bool:
        """Whether a client may do this, and what `access` says with any key."""
        asked = self._asked(row, words, database)
        return client.rights is None or client.rights.lets_with_all_keys(asked, access)

    def _asked(self, row: Command, words: list[bytes], database: int) -> Asked:
        return Asked(row, words, database, self._databases)

    def _noted(self, client: Client, row: Command, words: list[bytes], database: int, where: str) -> Denial | None:
        """What a client lacks for a request, which is noted. Of NOBODY only what needs no user comes here."""
        rights = client.rights
        denial = None if rights is None or rights is NOBODY else rights.denied(self._asked(row, words, database))
        if denial is not None:
            self._note(denial.reason.name.lower(), where, denial.name, client.user.name, client)
        return denial

    def _note(self, reason: str, where: str, name: bytes, user: bytes, client: Client) -> None:
        line = client_line(client, self._recent_ms(), self._channels)
        self.log.note(reason, where, name, user, line, self._now_ms())

    # When that changes

    def require_password(self, text: str) -> None:
        """The setting `requirepass` is this now."""
        self.users.set_default_password(text.encode("utf-8", "surrogateescape") or None)

    def choose_channels(self, text: str) -> None:
        """The setting `acl-pubsub-default` is this now."""
        self.users.all_channels = text.lower() == "allchannels"

    def _user_changed(self, user: User) -> None:
        for client in list(self._clients.values()):
            if client.user is user and client.is_authenticated:
                self._set_rights(client)
                self._doom_if_not_allowed(client)
                client.peer.changed()
            elif not client.is_authenticated and self.users.default.lets_in_anybody and client not in self._doomed:
                self.welcome(client)

    def _doom_if_not_allowed(self, client: Client) -> None:
        """Who may not do any more what it goes on doing is to be disconnected."""
        rights = client.rights
        if rights is None:
            return
        names = self._channels.names_of(client)
        may_listen = all(rights.lets_channel(name, is_pattern=is_pattern) for name, is_pattern in names)
        monitor = table.by_name[b"MONITOR"]
        if not may_listen or (client.monitoring and not self.may(client, monitor, [b"MONITOR"], client.database)):
            self._doomed.append(client)

    def _user_deleted(self, user: User) -> None:
        for client in list(self._clients.values()):
            if client.user is user:
                self._become(client, self.users.default, is_authenticated=False)
                self._doomed.append(client)

    def take_doomed(self) -> list[Client]:
        """Who is to be disconnected, by the request that has changed users; each is told once."""
        doomed, self._doomed = self._doomed, []
        return doomed


def check_authenticated(client: Client, row: Command | None) -> None:
    """Raise Failure if a client has to say first who it is. `row`: None if there is no such command."""
    if client.rights is NOBODY and (row is None or not row.flags & NO_AUTH):
        raise Failure("Authentication required.", "NOAUTH")


def refusal(denial: Denial, user: User) -> str:
    """What a client is told that may not do something."""
    return _REFUSALS.get(denial.reason) or told(denial, user).decode("utf-8", "replace")


def told(denial: Denial, user: User) -> bytes:
    """The same with all names, for who asks about a user."""
    return b"User %b has no permissions to %b" % (user.name, _TOLD[denial.reason] % denial.name)
