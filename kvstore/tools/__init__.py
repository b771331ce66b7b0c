"""Tools for the operator of a data directory: `python -m kvstore.tools COMMAND`, or `kvstore COMMAND` once installed.

One module per tool; each has `add_arguments` and `run`, and `main` puts them together. A tool works on files, never
through a server. `verify`, `show`, `export`, `restore` and `backup` only read the directory and take no lock, so they
may look at one that a running server holds; `repair` takes the lock. Exit status: 0 done and well, 1 damaged or not
done, 2 wrong usage.
"""
