"""The edge (Twisted): options, services, protocol, group commit, catalog announcer.

All that knows reactor and transports.
"""
