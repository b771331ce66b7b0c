"""Lua scripts: the state that they run in, its sandbox and limits, and how values go in and out.

It knows no command, no table and no client: whoever runs a script says what a call of the server does.
"""
