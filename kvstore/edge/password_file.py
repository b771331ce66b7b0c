"""The file that holds the default user's password (--password-file), which nobody but its owner may read.

Only the hash of what is in it is kept. A file of systemd's credentials (LoadCredential=, $CREDENTIALS_DIRECTORY) may
look as if its group could read it: what lets the service's user in is an access control list, whose mask is shown in
the place of the group's permissions.
"""

from __future__ import annotations

import os
import stat

from kvstore.base.limits import MAX_PASSWORD_BYTES
from kvstore.commands.users import hashed


def password_hash(text: str) -> bytes:
    """The hash of the password in a file. `text`: the file's name. Raises ValueError."""
    return hashed(password_in(text))


def password_in(text: str) -> bytes:
    """The password in a file, which is its one line. `text`: the file's name. Raises ValueError."""
    try:
        with open(os.path.abspath(text), "rb") as file:
            _check_mode(text, os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_PASSWORD_BYTES + 2)
    except OSError as error:
        raise ValueError(f"{error.strerror}; give a file with a password") from None
    password = content.removesuffix(b"\n").removesuffix(b"\r")
    if not password or b"\n" in password or len(password) > MAX_PASSWORD_BYTES:
        raise ValueError(f"give a file with a password in one line, of at most {MAX_PASSWORD_BYTES} bytes")
    return password


def _check_mode(path: str, mode: int) -> None:
    others = stat.S_IRWXO if _is_credential(path) else stat.S_IRWXG | stat.S_IRWXO
    if mode & others:
        raise ValueError(f"others than its owner may use this file (mode {stat.S_IMODE(mode):04o}); chmod 600 it")


def _is_credential(path: str) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return directory != "" and os.path.dirname(os.path.realpath(path)) == os.path.realpath(directory)
