"""The Redis and the Valkey whose replies and error texts are followed; clients decide by them what they may ask."""

from __future__ import annotations

REDIS_VERSION = "7.2.4"
VALKEY_VERSION = "9.1.2"
