"""The tests: they mirror the modules; each runs under pytest and under trial. None asserts a time: so no deadlines.

How many examples hypothesis draws is one figure for all tests that do not say: scripts/test-more has them draw more.
"""

from hypothesis import settings

settings.register_profile("kvstore", deadline=None, max_examples=60)
settings.register_profile("more", deadline=None, max_examples=300)
settings.load_profile("kvstore")
