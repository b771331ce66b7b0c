"""redis-py's own tests, as they are, against kvstore and against Valkey. See `scripts/redis_py_suite --help`."""
