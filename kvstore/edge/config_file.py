"""The file of settings (--config): read at the start, written by CONFIG REWRITE. What is in it: `config_text`."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from kvstore.commands.configuration import Configuration
from kvstore.edge.config_text import rewritten
from kvstore.edge.outside_file import OutsideFile

_log = Logger()


class ConfigFile(OutsideFile):
    """See the module."""

    def rewrite(self, configuration: Configuration, users: Iterable[bytes] = ()) -> None:
        """Have it say what CONFIG SET has set, as CONFIG REWRITE does. `users`: see `rewritten`. Raises OSError.

        One that is gone is not made anew: what else it said, a password perhaps, would be missing from it.
        """
        try:
            self.replace(rewritten(self.read(), configuration.set_since(), configuration.changed_since(), users))
        except OSError as error:
            _log.error("CONFIG REWRITE: {path} was not written: {reason}", path=self.path, reason=error.strerror)
            raise
        _log.info("CONFIG REWRITE: {path} is written", path=self.path)
