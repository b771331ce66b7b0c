"""Damaged data directories: each is served exactly, or refused."""
