"""What strangers get of a server that others use. See `__main__`."""
