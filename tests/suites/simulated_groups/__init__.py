"""Groups of whole servers in one process, without sockets, files and time, with everything that can go wrong."""
