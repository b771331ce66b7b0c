"""One connection without I/O: request order, held replies, MULTI. No reactor, no files."""
