"""Valkey's own tests, as they are, against kvstore and against Valkey. See `scripts/valkey_suite --help`."""
