"""A catalog on a loopback port that answers what tests tell it to; `real_catalog` has the real one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kvstore.base.address import Address

#: The catalog whose name errors tell, in tests that ask none.
CATALOG = Address("catalog.example", 9097)

#: As the real catalog_server words it (catalog_server 8.0.0).
ENTRY = {
    "name": "box.example",
    "lastheardfrom": 1000,
    "address": "192.0.2.7",
    "type": "hashtable",
    "owner": "me",
    "port": 4444,
    "project": "me-a5",
}


class FakeCatalog:
    """An HTTP server on a loopback port. `body`: what it answers to everything; None: it hangs up. `paths`: what
    was asked for.
    """

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.paths: list[str] = []
        catalog = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                catalog.paths.append(self.path)
                if catalog.body is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(catalog.body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def list(self, *entries: dict[str, Any]) -> None:
        """Answer with these entries from now on."""
        self.body = json.dumps(entries).encode()

    def stop(self) -> None:
        """Stop and wait until it has."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
