"""Who the users are when a server starts, and which lines of them CONFIG REWRITE puts into the file of --config.

They are in a file of their own (--acl-file), or in lines `user NAME RULES` of the file of --config, never in both: then
ACL SAVE writes them, or CONFIG REWRITE. Of the default user the file of --config may tell the password (`requirepass`),
too; its line counts then; and that of --password-file before both.

CONFIG REWRITE writes no line for a default user who is just what the other settings make it, which Valkey does: who
changes `requirepass` in the file later, or begins to use it, would find that it says nothing.
"""

from __future__ import annotations

from twisted.logger import Logger

from kvstore.commands.acl_file import BadUsers
from kvstore.commands.context import Server
from kvstore.commands.users import Users
from kvstore.edge.config_text import encoded_user
from kvstore.edge.exits import Process
from kvstore.edge.settings import Settings
from kvstore.edge.user_file import UserFile

_log = Logger()


def load_users(server: Server, settings: Settings, process: Process) -> None:
    """Those that the settings tell of. Raises what `process` makes of a file that cannot be read, or makes no sense."""
    for name, rules in settings.users.items():
        server.users.set_user(name, [b"reset", *rules])
    if settings.password_hash is not None:
        server.users.set_default_hash(settings.password_hash)
    if settings.acl_file_path is not None:
        _load_file(server, settings.acl_file_path, process)
    option = "--acl-file" if settings.acl_file_path is not None else "--config"
    for user in server.users:
        if not user.is_on:
            _log.info("{option}: nobody can log in as {user!r}, which is not on", option=option, user=user.name)


def _load_file(server: Server, path: str, process: Process) -> None:
    try:
        server.load_users(UserFile(path))
    except OSError as error:
        raise process.refused(f"--acl-file {path!r}: {error.strerror}") from None
    except BadUsers as error:
        raise process.refused(f"--acl-file: {error} Nobody was let in: mend the file, and start again.") from None


def lines_of_users(server: Server, settings: Settings) -> list[bytes]:
    """What CONFIG REWRITE writes of them; nothing if they are in a file of their own."""
    if server.user_file is not None:
        return []
    usual, password = Users(), server.configuration.text("requirepass")
    if password:
        usual.set_default_password(password.encode("utf-8", "surrogateescape"))
    if settings.password_hash is not None:
        usual.set_default_hash(settings.password_hash)
    told = usual.default.describe()
    kept = [user for user in server.users if user is not server.users.default or user.describe() != told]
    return [encoded_user(user.name, user.describe()) for user in kept]
