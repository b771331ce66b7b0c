"""Worlds of replicas over a simulated shared log, in which anything goes wrong, or one thing is done wrong."""
