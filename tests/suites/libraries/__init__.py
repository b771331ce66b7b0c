"""The own tests of libraries that speak Redis's protocol, as they are. See `scripts/library_suites --help`."""
