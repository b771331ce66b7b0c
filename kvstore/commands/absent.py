"""Commands about what there is none of: modules. They say so, as a Redis without does.

And LOLWUT, which is about nothing at all.
"""

from __future__ import annotations

from kvstore import __version__
from kvstore.base.errors import Failure, InvalidRequest
from kvstore.base.reply import Reply, Verbatim
from kvstore.commands.context import Call
from kvstore.commands.registry import ADMIN, FAST, READ, command, container, to_integer
from kvstore.commands.row import NO_SCRIPT

container("MODULE", "Look at modules, of which there are none.", group="server")


@command("MODULE|LIST", ADMIN | NO_SCRIPT, group="server")
def module_list(call: Call) -> Reply:
    """List the modules: none.

    Unlike Valkey, Lua is part of the server, not a module.
    """
    return []


@command("MODULE|LOAD", ADMIN | NO_SCRIPT, group="server")
def module_load(call: Call, path: bytes, *arguments: bytes) -> Reply:
    """Refused: modules are for Redis's own process."""
    raise Failure("modules cannot be loaded into this server")


command("MODULE|LOADEX", ADMIN | NO_SCRIPT, group="server")(module_load)


@command("MODULE|UNLOAD", ADMIN | NO_SCRIPT, group="server")
def module_unload(call: Call, name: bytes) -> Reply:
    """Refused: there are no modules."""
    raise Failure("modules cannot be loaded into this server")


@command("LOLWUT", READ | FAST, group="server", options="[VERSION version] [number ...]")
def lolwut(call: Call, *options: bytes) -> Reply:
    """Show what version this is, and a key-value store."""
    if options and options[0].upper() == b"VERSION":
        if len(options) < 2:
            raise InvalidRequest("Syntax error. Use: LOLWUT [VERSION version] [number ...]")
        to_integer(options[1])
    return Verbatim(f"   ___\n  /o o\\   key -> value, on disk\n  \\___/\n\nkvstore ver. {__version__}\n")
