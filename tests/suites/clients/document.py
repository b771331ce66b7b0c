"""docs/CLIENTS.md, made from what a run of all programs found."""

from __future__ import annotations

from collections.abc import Sequence

from tests.suites.clients.program import Program
from tests.suites.clients.run import Outcome

_HEAD = """# What works with what

Each row is a real program of a client or framework, unchanged, against kvstore on loopback with its default `--sync
always`. Nearly all are about a crash: in the middle of the work the server is killed with `kill -9`, and started again
on the same port and directory. Then everything that was accepted must be there, and, where the library promises it,
nothing may have happened twice. The same programs pass against Valkey 9.1 with `appendfsync always`, killed the same
way: what fails here would be kvstore's fault.

"Lost" is a job that its library had taken out of the queue without a note of that elsewhere (BRPOP, by Celery, kombu
and huey): if the server, or the worker, dies before the worker has it, nobody does. At most one for each worker that
waits is let pass. A proxy that kept all that passed showed both kinds: a BRPOP that was in the log when the kill came,
and its reply not yet sent; and a reply that the worker had, and had not yet noted (kombu) or asked about (huey) on the
server. That is at most once, as with Valkey, which writes its append-only file before it replies, too. Run twice are
jobs that had run when the kill kept their end from being written down.

node-redis before 5.11 can hang after a kill, whatever the server: it takes a connection that is reset during its first
requests (HELLO, CLIENT SETINFO) for one that is ready, and makes no other. `redis@5.9.0` does so each time when a proxy
resets its second connection, before Valkey as before kvstore; 6.3.1 connects anew (its issue 3104).

This page is made by `scripts/clients`, which installs each client in a directory of its own. The programs are
in [tests/suites/clients/programs](../tests/suites/clients/programs).
"""
_COLUMNS = "| client | what was run | what came of it |\n|---|---|---|\n"


def compose(results: Sequence[tuple[Program, Outcome]]) -> str:
    """The text of the page."""
    count = sum(outcome.works for _, outcome in results)
    python = [each for each in results if each[0].path.suffix == ".py"]
    node = [each for each in results if each[0].path.suffix == ".js"]
    text = f"{_HEAD}\n**{count} of {len(results)} work.**\n"
    for title, rows in (("Python, and programs of the shell", python), ("Node.js", node)):
        text += f"\n## {title}\n\n{_COLUMNS}{''.join(_row(*each) for each in rows)}"
    return text


def _row(program: Program, outcome: Outcome) -> str:
    packages = ", ".join(f"`{package}`" for package in program.packages)
    verdict = "works" if outcome.works else "**does not work**"
    cells = (
        f"**{program.client}**{f' ({packages})' if packages else ''}",
        program.about,
        f"{verdict}: {outcome.text}",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
