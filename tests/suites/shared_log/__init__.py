"""Measures the log of a group in etcd."""
