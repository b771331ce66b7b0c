"""Histories of a group of real servers over a real etcd, with real faults: see `__main__`."""
