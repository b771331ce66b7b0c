"""Sequences of requests of several clients over all families, sent to kvstore and to Valkey; every reply and the whole
state must be the same. `scripts/differential`; a sample: tests/test_differential.py.
"""
