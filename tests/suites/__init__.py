"""Programs that try to break a promise: scripts/NAME runs one for as long as one likes, a test takes a sample of it."""
