"""The tests: they mirror the modules; each runs under pytest and under trial. None asserts a time: so no deadlines."""

from hypothesis import settings

settings.register_profile("kvstore", deadline=None)
settings.load_profile("kvstore")
