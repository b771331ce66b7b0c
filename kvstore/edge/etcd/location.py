"""Where an etcd is, as people type it: `etcd://a:2379,b:2379,c:2379`, with TLS `etcds://...`

    etcds://a:2379,b:2379,c:2379?ca=/etc/etcd/ca.pem&cert=/etc/etcd/kvstore.pem&key=/etc/etcd/kvstore.key

`ca`: the certificates of who signed etcd's (the system's authorities unless given); `cert` and `key`: what etcd is
shown if it asks (`--client-cert-auth`); the key may be in the file of the certificate. A server's certificate must name
the host as it is typed. etcd's gateway knows nobody by their certificate. If etcd has users:

    etcds://a:2379,b:2379,c:2379?user=kvstore&password-file=/etc/kvstore/etcd-password

with both: the password is the file's one line, and nobody else may read it.

`quota=BYTES`, with both: etcd's --quota-backend-bytes, if that is not 2 GiB; versions from 3.6 on say so themselves.

The nodes are asked in the order in which they stand, the next one when one fails: so the nearest goes first.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from kvstore.base.address import Address, parse_address
from kvstore.base.limits import MIB

_FILES = ("ca", "cert", "key")
_QUOTA = "quota"
_USER, _PASSWORD_FILE = "user", "password-file"
#: What etcd takes, unless it is told otherwise.
QUOTA_BYTES = 2048 * MIB


class Location(NamedTuple):
    """What was typed. `files`: of TLS, by `ca`, `cert` and `key`; None without TLS. `quota_bytes`: see the module.
    `user`: of etcd's, and the file of the password; or None.
    """

    addresses: tuple[Address, ...]
    files: dict[str, str] | None
    quota_bytes: int = QUOTA_BYTES
    user: tuple[str, str] | None = None


def parse_location(text: str) -> Location:
    """The nodes in `etcd://HOST:PORT,...` or `etcds://HOST:PORT,...?ca=FILE&cert=FILE&key=FILE`.

    Raises ValueError, with advice for the person who typed it.
    """
    scheme, _, rest = text.partition("://")
    hosts, _, query = rest.partition("?")
    files = dict(parse_qsl(query, keep_blank_values=True))
    quota = files.pop(_QUOTA, str(QUOTA_BYTES))
    user, password_file = files.pop(_USER, ""), files.pop(_PASSWORD_FILE, "")
    try:
        addresses = tuple(parse_address(host) for host in hosts.rstrip("/").split(","))
    except ValueError:
        addresses = ()
    if scheme not in ("etcd", "etcds") or not addresses:
        raise ValueError("give etcd://HOST:PORT,HOST:PORT,HOST:PORT with the nodes of an etcd, or etcds:// for TLS")
    if len(set(addresses)) < len(addresses):
        raise ValueError("give each node of etcd once")
    if not (quota.isascii() and quota.isdigit() and 0 < len(quota) < 19 and int(quota)):
        raise ValueError(f"give the quota as a number of bytes, not {quota!r}")
    if unknown := [name for name in files if scheme == "etcd" or name not in _FILES]:
        raise ValueError(
            f"leave {unknown[0]!r} out: there are quota, user, password-file, and with etcds:// ca, cert and key"
        )
    if "key" in files and "cert" not in files:
        raise ValueError("give the certificate of the key, too: cert=FILE")
    if bool(user) != bool(password_file):
        raise ValueError("give a user of etcd's and the file of the password together: user=NAME&password-file=FILE")
    login = (user, password_file) if user else None
    return Location(addresses, files if scheme == "etcds" else None, int(quota), login)
