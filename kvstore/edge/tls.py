"""TLS is loaded only if an endpoint may need it.

Twisted loads pyOpenSSL wherever it is installed, and the whole of cryptography with it: 12 MiB of memory and 60 ms of
each start. It does without if it cannot have it, so for a server that listens on plain sockets alone it is told that
there is none while its reactor is being imported.

Where the reactor is there already (`twistd --reactor`, a test) nothing is left to be spared.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator

#: Endpoints of Twisted's own that never use TLS. One of a plugin's may.
_PLAIN = ("tcp:", "tcp4:", "tcp6:", "unix:", "systemd:")
_LIBRARY = "OpenSSL"


@contextlib.contextmanager
def tls_if_needed(endpoints: Iterable[str]) -> Iterator[None]:
    """While this lasts, Twisted's modules are imported without TLS, unless one of `endpoints` (Twisted's server
    endpoint strings) may need it.
    """
    if _LIBRARY in sys.modules or not all(endpoint.startswith(_PLAIN) for endpoint in endpoints):
        yield
        return
    sys.modules[_LIBRARY] = None  # type: ignore[assignment]  # as Python documents: the import then fails
    try:
        yield
    finally:
        del sys.modules[_LIBRARY]
