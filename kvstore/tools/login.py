"""Connecting to a server, as who one is: what the tools that ask servers have together.

A password comes from a file, a variable or the keyboard; never from the command line, which everybody on the machine
can see.
"""

from __future__ import annotations

import argparse
import getpass
import os
import ssl
from typing import NamedTuple

from kvstore.base.errors import KVStoreError
from kvstore.client.certificates import tls_context
from kvstore.client.endpoint import parse_target, speaks_tls
from kvstore.client.raw import RawConnection, resp_request
from kvstore.client.target import resolve

_PASSWORD = "KVSTORE_PASSWORD"


def add_login(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--user", default="default", metavar="NAME", help="who you are [default: default]")
    parser.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    parser.add_argument("--ask-password", action="store_true", help="read the password from the keyboard")
    parser.add_argument("--ca-file", metavar="FILE", help="for tls: certificates (PEM) to trust")
    parser.add_argument(
        "--cert-file",
        metavar="FILE",
        help="for tls: your certificate and its private key (PEM), if the server wants one",
    )


class Login(NamedTuple):
    """Who one is. `password`: None for none. `tls`: what to trust and show over TLS, None if none is spoken."""

    user: str
    password: bytes | None = None
    tls: ssl.SSLContext | None = None


def login_of(arguments: argparse.Namespace) -> Login:
    """What the options say, and `target`. Connects to nobody. Raises OSError, ValueError, with advice."""
    files = arguments.ca_file, arguments.cert_file
    tls = tls_context(*files) if speaks_tls(parse_target(arguments.target, *files)) else None
    return Login(arguments.user, _password_of(arguments), tls)


def connected(target: str, login: Login) -> RawConnection:
    """A connection to the server that a TARGET means, logged in. Raises OSError; KVStoreError if it lets nobody in."""
    connection = RawConnection(resolve(target), login.tls)
    try:
        if login.password is not None:
            connection.send(resp_request("AUTH", login.user, login.password))
            answer = connection.resp()
            if answer != "+OK":
                raise KVStoreError(f"{target}: {str(answer)[1:]}")
    except BaseException:
        connection.close()
        raise
    return connection


def _password_of(arguments: argparse.Namespace) -> bytes | None:
    """The password that the options lead to, None if there is none. Raises OSError, ValueError."""
    if arguments.ask_password:
        return os.fsencode(getpass.getpass(f"Password of {arguments.user}: "))
    if arguments.password_file is not None:
        with open(arguments.password_file, "rb") as file:
            return file.readline().rstrip(b"\r\n")
    password = os.environb.get(_PASSWORD.encode())
    if password is None and arguments.user != "default":
        raise ValueError(f"user {arguments.user} needs a password: --password-file, --ask-password or {_PASSWORD}")
    return password
