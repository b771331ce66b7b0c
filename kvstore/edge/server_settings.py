"""Settings about the whole server: who obeys each while it runs, and what else is asked of a new value. Of those about
each client see `client_limits`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvstore.base.limits import LONG_STRING_BYTES
from kvstore.commands.context import Server
from kvstore.edge.client_limits import OutputLimit
from kvstore.edge.config_file import ConfigFile
from kvstore.edge.configured_users import lines_of_users
from kvstore.edge.exits import Process
from kvstore.edge.settings import Settings
from kvstore.store.store import Store


def obey_settings(server: Server, settings: Settings, process: Process) -> None:
    """Have the server, and its store, follow them; and CONFIG REWRITE write them, if there is a file."""
    configuration, store = server.configuration, server.store
    if settings.config_path is not None:
        server.rewrite_configuration = partial(_rewrite, settings.config_path, server, settings)
    configuration.checks |= {
        "maxclients": partial(_check_clients, process),
        "pause-reading-bytes": partial(_check_at_most, lambda: settings.drop_client_bytes, "--drop-client-bytes"),
        "proto-max-bulk-len": partial(
            _check_at_most, partial(configuration.number, "max-input-bytes"), "max-input-bytes"
        ),
        "max-input-bytes": partial(
            _check_at_least, partial(configuration.number, "proto-max-bulk-len"), "proto-max-bulk-len"
        ),
    }
    configuration.obey("client-output-buffer-limit", partial(_limit_replies, server))
    configuration.obey("compact-after", partial(_compact_after, store))
    configuration.obey("min-free-bytes", lambda text: store.keep_free(int(text)))
    configuration.obey("max-log-bytes", lambda text: store.limit_logs(int(text)))


def _rewrite(path: str, server: Server, settings: Settings) -> None:
    """CONFIG REWRITE. Raises OSError."""
    ConfigFile(path).rewrite(server.configuration, lines_of_users(server, settings))


def _compact_after(store: Store, text: str) -> None:
    store.policy.after_entries = int(text) or None


def _limit_replies(server: Server, text: str) -> None:
    """A larger one nobody could take."""
    server.max_reply_bytes = max(OutputLimit.of_class(text, "normal").hard_bytes, LONG_STRING_BYTES)


def _check_at_most(limit: Callable[[], int], name: str, wanted: str) -> None:
    """Raise ValueError if it is more than what `name` says."""
    if int(wanted) > limit():
        raise ValueError(f"argument must be at most what {name} says, {limit()}")


def _check_at_least(limit: Callable[[], int], name: str, wanted: str) -> None:
    """Raise ValueError if it is less than what `name` says."""
    if int(wanted) < limit():
        raise ValueError(f"argument must be at least what {name} says, {limit()}")


def _check_clients(process: Process, wanted: str) -> None:
    """Raise ValueError, in Redis's words, if there are not the files for so many clients."""
    fit = process.clients_allowed(int(wanted))
    if fit < int(wanted):
        raise ValueError(f"The operating system is not able to handle the specified number of clients, try with {fit}")
