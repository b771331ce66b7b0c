"""Hostile input for the real server, while a witness looks on."""
