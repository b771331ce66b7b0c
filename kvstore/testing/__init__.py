"""Doubles to test against: a disk in memory that loses, tears and refuses. Ships with kvstore; imports only
`kvstore.base`.
"""
