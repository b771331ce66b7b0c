"""The standard streams of the tools, which may be closed, full, a pipe that nobody reads, or unable to show a name.

A tool whose work is a directory has done it, whether or not it can say so: its status is that of the work (`say`). One
whose work is what it prints fails if that cannot be had (`output`). A closed descriptor is given away first
(`prepare`): else the next file that is opened, a checkpoint that is written, would get its number, and with it whatever
is printed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import BinaryIO, TextIO

from kvstore.base.descriptors import open_closed_descriptors
from kvstore.base.errors import KVStoreError
from kvstore.client.progress import write_on


def prepare() -> None:
    """To be called first of all: no descriptor of a standard stream is free; text that cannot be shown is escaped."""
    open_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def output() -> TextIO:
    """Standard output, for whom it is the work. Raises KVStoreError if it is closed."""
    if sys.stdout is None:
        raise KVStoreError("standard output is closed; there is nowhere to write to")
    return sys.stdout


def binary_input() -> BinaryIO:
    """Standard input. Raises KVStoreError if it is closed."""
    if sys.stdin is None:
        raise KVStoreError("standard input is closed; there is nothing to read")
    return sys.stdin.buffer


def say(text: str) -> None:
    """Print a line, if that can be done: what it tells of is done, or is to be done, whoever listens."""
    try:
        print(text, flush=True)
    except OSError as error:
        silence()
        if error.errno != errno.EPIPE:
            complain(f"kvstore: cannot write to standard output: {error.strerror}")


def complain(text: str) -> None:
    """Print a line on standard error, if that can be done."""
    write_on(sys.stderr, f"{text}\n")


def silence() -> None:
    """Give up standard output: what is still to be written, by the interpreter at its end too, goes nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
