"""A group, an etcd and their rounds, as a process of its own: it tells of each round in a line of JSON as it is done.

    python -m tests.suites.group_faults.one_group --seed N --share I/N --keep DIRECTORY ...

Started by the suite, which adds up what several of them tell. SIGTERM and SIGINT end it with all that it has started.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.suites.group_faults import plan
from tests.suites.group_faults.rounds import Rounds, Violated
from tests.suites.histories.checker import Operation

_WITHOUT_LEASE = Path(__file__).with_name("without_lease")


def tell(**what: Any) -> None:
    """A line for the suite."""
    print(json.dumps(what), flush=True)


def keep(place: Path, error: Violated) -> None:
    """Write the history, in the order of calls, after what is wrong with it, and where that was seen."""
    operations: Iterable[Operation] = sorted(error.history, key=lambda each: each.called)
    where = "".join(traceback.format_exception(error))
    place.write_text("\n".join([where, *map(_shown, operations)]) + "\n", encoding="utf-8")


def _shown(operation: Operation) -> str:
    return str(operation)[:1000]


def run(arguments: argparse.Namespace) -> None:
    """Its share of the plan, until something is wrong."""
    options = ("--reads", arguments.reads, "--lease-ms", str(arguments.lease_ms))
    rounds = Rounds(arguments.seed, options)
    try:
        for name in plan.share_of(arguments):
            tell(round=rounds.one(name)._asdict())
    except Violated as error:
        place = Path(arguments.keep) / f"group_faults-{arguments.seed}.history"
        keep(place, error)
        tell(violation=str(error), history=str(place))
    except Exception:
        tell(failure=traceback.format_exc())
    finally:
        _heed(signal.SIG_IGN)
        rounds.close()


def _heed(action: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)


def _end(*_: object) -> NoReturn:
    """Python drops what is raised while it removes an object: so whoever wants an end says it until it comes."""
    sys.exit(143)


def main(words: Sequence[str] | None = None) -> None:
    """Run."""
    _heed(_end)
    parser = argparse.ArgumentParser()
    plan.add_options(parser)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args(words)
    if arguments.control:
        paths = [str(_WITHOUT_LEASE), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    run(arguments)


if __name__ == "__main__":
    main()
