"""ACL: users and their rights. What they are: `users`, `selector`; who sees to it that they are kept: `gate`."""

from __future__ import annotations

from typing import Any

from kvstore.base.errors import Failure, InvalidRequest, shorten, wrong_arity, wrong_subcommand
from kvstore.base.reply import OK, Distinct, Reply
from kvstore.commands.acl_file import BadUsers, Kept, text_of
from kvstore.commands.asked import Reason
from kvstore.commands.categories import CATEGORIES, rows_of
from kvstore.commands.clients import end
from kvstore.commands.context import Call
from kvstore.commands.gate import told
from kvstore.commands.registry import ADMIN, IntegerText, command, container, table, to_integer
from kvstore.commands.row import NO_SCRIPT
from kvstore.commands.selector import Selector
from kvstore.commands.users import DEFAULT

#: Bits of a password that ACL GENPASS makes: unless told otherwise, and at most.
_PASSWORD_BITS, _MOST_PASSWORD_BITS = 256, 4096
_BITS_PER_DIGIT = 4

container("ACL", "Say who may connect, and do what.", group="server")


@command("ACL|SETUSER", ADMIN | NO_SCRIPT, group="server")
def acl_setuser(call: Call, username: bytes, *rules: bytes) -> Reply:
    """Change what a user may do, all rules or none; make the user if there is none.

    Unlike Valkey, who may not do any more what it goes on doing is disconnected in MONITOR, too.
    """
    call.server.users.set_user(username, rules)
    end_doomed(call)
    return OK


@command("ACL|DELUSER", ADMIN | NO_SCRIPT, group="server")
def acl_deluser(call: Call, username: bytes, *usernames: bytes) -> Reply:
    """Delete users, and disconnect their clients; returns how many there were."""
    names = (username, *usernames)
    if DEFAULT in names:
        raise InvalidRequest("The 'default' user cannot be removed")
    deleted = sum(map(call.server.users.delete, names))
    end_doomed(call)
    return deleted


def end_doomed(call: Call) -> None:
    """Disconnect the clients that users were changed under, so that they may not stay."""
    for client in call.server.gate.take_doomed():
        end(call, client)


@command("ACL|GETUSER", ADMIN | NO_SCRIPT, group="server")
def acl_getuser(call: Call, username: bytes) -> Reply:
    """Describe a user; null if there is none."""
    user = call.server.users.get(username)
    if user is None:
        return None
    root, *others = user.rights.selectors
    return {
        "flags": Distinct(user.flags),
        "passwords": list(user.passwords),
        **_described(root),
        "selectors": list(map(_described, others)),
    }


def _described(selector: Selector) -> dict[str, Any]:
    return {
        "commands": selector.shown_commands(),
        "keys": selector.shown_keys(),
        "channels": selector.shown_channels(),
        "databases": selector.shown_databases(),
    }


@command("ACL|LIST", ADMIN | NO_SCRIPT, group="server")
def acl_list(call: Call) -> Reply:
    """Describe all users, each in a line as a file of users has it."""
    return [b"user %b %b" % (user.name, user.describe()) for user in call.server.users]


@command("ACL|USERS", ADMIN | NO_SCRIPT, group="server")
def acl_users(call: Call) -> Reply:
    """List the names of all users."""
    return [user.name for user in call.server.users]


@command("ACL|WHOAMI", NO_SCRIPT, group="server")
def acl_whoami(call: Call) -> Reply:
    """Tell the name of the user that one is."""
    return call.client.user.name


@command("ACL|CAT", NO_SCRIPT, group="server", options="[category]")
def acl_cat(call: Call, *category: bytes) -> Reply:
    """List the categories of commands, or the commands of one.

    Unlike Valkey, there is a category of the document verbs.
    """
    if not category:
        return list(CATEGORIES)
    if len(category) > 1:
        raise InvalidRequest(wrong_subcommand("ACL", "CAT"))
    name = category[0].decode("latin-1").lower()
    if name not in CATEGORIES:
        raise InvalidRequest(f"Unknown category '{shorten(category[0])}'")
    return [row.name.lower() for row in rows_of(name)]


@command("ACL|GENPASS", NO_SCRIPT, group="server", options="[bits]")
def acl_genpass(call: Call, *bits: IntegerText) -> Reply:
    """Make a password that nobody can guess."""
    if len(bits) > 1:
        raise InvalidRequest(wrong_subcommand("ACL", "GENPASS"))
    wanted = to_integer(bits[0]) if bits else _PASSWORD_BITS
    if not 0 < wanted <= _MOST_PASSWORD_BITS:
        raise InvalidRequest(
            "ACL GENPASS argument must be the number of bits for the output password, a positive number up to"
            f" {_MOST_PASSWORD_BITS}"
        )
    digits = -(-wanted // _BITS_PER_DIGIT)
    return f"{call.server.secrets.getrandbits(_BITS_PER_DIGIT * digits):0{digits}x}"


@command("ACL|DRYRUN", ADMIN | NO_SCRIPT, group="server")
def acl_dryrun(call: Call, username: bytes, command: bytes, *args: bytes) -> Reply:
    """Tell whether a user may do a request, without doing it."""
    user = call.server.users.get(username)
    if user is None:
        raise Failure(f"User '{shorten(username)}' not found")
    request = [command, *args]
    try:
        row = table.find(request)
    except InvalidRequest:
        raise Failure(f"Command '{shorten(command)}' not found") from None
    if not row.accepts(len(request)):
        raise wrong_arity(row.name.lower())
    denial = call.server.gate.denial(user, row, request, call.client.database)
    if denial is not None and denial.reason is Reason.DATABASE and not denial.place:
        denial = denial._replace(name=command)
    return OK if denial is None else told(denial, user)


@command("ACL|LOG", ADMIN | NO_SCRIPT, group="server", options="[count|RESET]")
def acl_log(call: Call, *count: bytes) -> Reply:
    """List who was refused what, the newest first, ten or so many; or forget all.

    Unlike Valkey, of a name no more than 1024 bytes are kept.
    """
    if len(count) > 1:
        raise InvalidRequest(wrong_subcommand("ACL", "LOG"))
    log = call.server.gate.log
    if count and count[0].upper() == b"RESET":
        log.clear()
        return OK
    return log.newest(max(0, to_integer(count[0])) if count else 10, call.server.now_ms())


@command("ACL|LOAD", ADMIN | NO_SCRIPT, group="server")
def acl_load(call: Call) -> Reply:
    """Take all users from the file of users, or, if there is anything wrong with it, none."""
    file = _file_of(call)
    try:
        call.server.load_users(file)
    except OSError as error:
        raise Failure(f"Error loading ACLs, opening file '{file.path}': {error.strerror}") from None
    except BadUsers as error:
        raise Failure(
            f"{error} WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        ) from None
    end_doomed(call)
    return OK


@command("ACL|SAVE", ADMIN | NO_SCRIPT, group="server")
def acl_save(call: Call) -> Reply:
    """Put all users into the file of users."""
    file = _file_of(call)
    try:
        file.write(text_of(call.server.users))
    except OSError:
        raise Failure(
            "There was an error trying to save the ACLs. Please check the server logs for more information"
        ) from None
    return OK


def _file_of(call: Call) -> Kept:
    file = call.server.user_file
    if file is None:
        raise Failure(
            "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER"
            " command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store"
            " users in the configuration."
        )
    return file
