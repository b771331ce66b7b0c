"""kill -9 of the real server under load: what was acknowledged is there."""
