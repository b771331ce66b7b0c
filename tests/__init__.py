"""The tests: they mirror the modules; each runs under pytest and under trial."""
