"""Check and draw the interleaving of clients, from the file that a server writes with --trace FILE.

Checks that requests of several clients are interleaved, and that each executed whole, one at a time: no gaps in their
numbers, none starting before the one before it has ended, writes in the order of their commits; and that each client's
requests lie between its connect and its disconnect. Prints a summary; with --png or --svg, draws a stretch of it: one
lane per client, one tick per request, triangles for clients that come and go, commits as vertical lines.

Exit status: 0, or 1 if a check failed, or 2 if there is nothing to check.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import defaultdict
from collections.abc import Sequence

from .judging import Run
from .reading import NotATrace, Request, Trace

DEFAULT_REQUESTS = 150
_WIDTH = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        runs, cut_short = _judge(options.file)
        if not runs:
            raise NotATrace(f"{options.file} has no requests; start the server with --trace, and connect clients")
        passed = True
        for number in sorted(runs):
            passed = _report(number, runs) and passed
        if cut_short:
            print(f"(line {cut_short[-1]} was cut short when its server ended)")
        if paths := [path for path in (options.png, options.svg) if path]:
            _draw(_window(options, runs), paths)
    except (NotATrace, OSError) as error:
        print(f"interleaving: {error}", file=sys.stderr)
        return 2
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "interleaving", description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="the trace")
    parser.add_argument("--png", metavar="OUT", help="draw into this PNG file")
    parser.add_argument("--svg", metavar="OUT", help="draw into this SVG file")
    parser.add_argument("--from", metavar="NUMBER", type=_positive, dest="first", help="first request to draw")
    parser.add_argument(
        "--requests", metavar="N", type=_positive, default=DEFAULT_REQUESTS,
        help="how many to draw (default: %(default)s, around the middle one of the run's writes)",
    )  # fmt: skip
    parser.add_argument("--run", metavar="N", type=_positive, help="which start of the server to draw (default: last)")
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return number


def _judge(path: str) -> tuple[dict[int, Run], list[int]]:
    """Every run of the trace, judged, and the lines that were cut short. Raises NotATrace, OSError."""
    runs: defaultdict[int, Run] = defaultdict(Run)
    with open(path, encoding="ascii", errors="backslashreplace") as lines:
        trace = Trace(lines)
        for request in trace:
            runs[request.run].add(request)
    return {number: run for number, run in runs.items() if run.count}, trace.cut_short


def _report(number: int, runs: dict[int, Run]) -> bool:
    """Print what one run comes to; returns whether it passed."""
    run = runs[number]
    if len(runs) > 1:
        print(f"run {number} of {len(runs)}")
    print(_summary(run))
    verdicts = run.verdicts()
    for verdict in verdicts:
        label = f"{'ok' if verdict.passed else 'FAILED':8}{verdict.check}: "
        print(textwrap.fill(label + verdict.text, _WIDTH, subsequent_indent=" " * 8))
    return all(verdict.passed for verdict in verdicts)


def _summary(run: Run) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in run.kinds.most_common())
    groups = run.writes_per_commit
    each = f", {groups.total() / len(groups):.1f} writes in each (most {max(groups.values()):,})" if groups else ""
    return (
        f"{len(run.clients):,} clients, {run.count:,} requests in {run.seconds:,.3f} s "
        f"({kinds}; {run.failures:,} failed)\n"
        f"{len(groups):,} commits{each}\n"
        f"time of a request: median {run.duration_us(0.5):,.1f} us, p99 {run.duration_us(0.99):,.1f} us, "
        f"longest {run.duration_us(1):,.1f} us"
    )


def _draw(window: list[Request], paths: Sequence[str]) -> None:
    from .picture import draw  # matplotlib takes long to import, and checking does not need it

    for path in paths:
        draw(window, path)
        print(f"{path}: requests {window[0].number:,} to {window[-1].number:,} of run {window[0].run}")


def _window(options: argparse.Namespace, runs: dict[int, Run]) -> list[Request]:
    """The requests to draw, in order. Raises NotATrace if there are none where the options say."""
    number = options.run or max(runs)
    if number not in runs:
        raise NotATrace(f"--run {number}: the trace has runs 1 to {max(runs)}")
    first, last = runs[number].number_range
    begin = options.first or max(first, runs[number].middle_write - options.requests // 2)
    with open(options.file, encoding="ascii", errors="backslashreplace") as lines:
        window = [
            request
            for request in Trace(lines)
            if request.run == number and begin <= request.number < begin + options.requests
        ]
    if all(line.is_coming for line in window):
        raise NotATrace(f"--from {begin}: run {number} has requests {first} to {last}")
    return window


if __name__ == "__main__":
    sys.exit(main())
