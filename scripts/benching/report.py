"""The bench as text: a table for each group of cases, the figures to reach, and what disk and generators can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from scripts.benching import large, loops, rates, slow_disk, targets
from scripts.benching.case import KVSTORE, SIDES, VALKEY, Measures, ratios
from scripts.benching.record import JSON_NAME, Entry, Record
from scripts.measuring.bench import share
from scripts.measuring.results import Table, median, spread

MARKDOWN_NAME = "bench.md"

GROUP_TITLES: dict[str, str] = {
    **rates.GROUP_TITLES,
    **loops.GROUP_TITLES,
    **slow_disk.GROUP_TITLES,
    **large.GROUP_TITLES,
}

#: Measures of the groups that have others than rate and latency: name to label.
_LABELS = large.LABELS

_RATE_COLUMNS = ["", "kvstore/s", "Valkey/s", "ratio", "rounds", "p50 ms", "p99 ms", "p99.9 ms", "slowest ms",
                 "processors", "Valkey's"]  # fmt: skip
_OTHER_COLUMNS = ["", "kvstore", "Valkey", "ratio", "rounds"]


def tables(record: Record) -> list[Table]:
    """One for each group of which something was measured."""
    found = []
    for group, title in GROUP_TITLES.items():
        entries = [entry for entry in record.entries.values() if entry.group == group]
        if entries and group in large.GROUP_TITLES:
            found.append(Table(title, _OTHER_COLUMNS, [row for entry in entries for row in _other_rows(entry)]))
        elif entries:
            found.append(Table(title, _RATE_COLUMNS, [row for entry in entries for row in rate_rows(entry)]))
    return found


_COST_COLUMNS = ["", "kvstore's µs/request", "Valkey's µs/request", "commits/s", "requests a commit", "µs a commit",
                 "stolen"]  # fmt: skip


def cost_table(record: Record) -> Table:
    """What a request costs the servers' processors, and what kvstore's commits carry and take."""
    entries = [entry for entry in record.entries.values() if entry.group not in large.GROUP_TITLES]
    rows = [_cost_row(entry) for entry in entries]
    return Table("Processor time of a request, kvstore's commits, and what the host took away", _COST_COLUMNS, rows)


def _cost_row(entry: Entry) -> list[str]:
    def processor(side: str) -> str:
        turns = entry.turns.get(side, [])
        return f"{median(1e6 * t['server_share'] / t['per_second'] for t in turns):.2f}" if turns else "-"

    turns = [turn for turn in entry.turns[KVSTORE] if "commits" in turn]
    committed = ["-"] * 3
    if turns:
        rates_of_writes = [turn.get("SET.per_second", turn["per_second"]) for turn in turns]
        in_second = median(r / t["requests_per_commit"] for r, t in zip(rates_of_writes, turns, strict=True))
        medians = [_median(turns, name) for name in ("requests_per_commit", "commit_us")]
        committed = [f"{in_second:,.0f}", f"{medians[0]:.1f}", f"{medians[1]:.0f}"]
    stolen = median(turn["stolen_share"] for turns in entry.turns.values() for turn in turns)
    return [f"{entry.title} ({entry.group})", *map(processor, SIDES), *committed, share(stolen, 1)]


def target_tables(record: Record) -> list[Table]:
    """Against what is to be reached beside Valkey; none beside another kvstore."""
    if record.peer != VALKEY:
        return []
    return [targets.table({name: entry.turns for name, entry in record.entries.items()})]


def named(table: Table, record: Record) -> Table:
    """A table, worded for Valkey, with the name of what had its place."""
    columns = [column.replace(VALKEY, record.peer) for column in table.columns]
    return Table(table.caption.replace(VALKEY, record.peer), columns, table.rows)


def headline(entry: Entry) -> dict[str, str]:
    """The first thing to know of each side."""
    if entry.group in large.GROUP_TITLES:
        name = next(name for name in _LABELS if name in next(iter(entry.turns.values()))[0])
        return {side: _number(name, _median(turns, name)) for side, turns in entry.turns.items()}
    return {side: f"{_median(turns, 'per_second'):,.0f}/s" for side, turns in entry.turns.items()}


# Rows of rate and latency


def rate_rows(entry: Entry) -> list[list[str]]:
    """A row for all requests of a case, and if there are several kinds one for each that every turn had."""
    kinds = sorted({name.partition(".")[0] for turns in entry.turns.values() for name in turns[0] if "." in name})
    every = [turn for turns in entry.turns.values() for turn in turns]
    several = [kind for kind in kinds if all(f"{kind}.per_second" in turn for turn in every)]
    rows = [_rate_row(entry.title, entry.turns, "")]
    return rows + [_rate_row(f"- {kind}", entry.turns, f"{kind}.") for kind in several if len(kinds) > 1]


def _rate_row(title: str, turns: Mapping[str, list[Measures]], prefix: str) -> list[str]:
    def both(name: str, places: int) -> str:
        return " / ".join(f"{_median(turns[side], prefix + name):.{places}f}" for side in SIDES if side in turns)

    def rate(side: str) -> str:
        return f"{_median(turns[side], prefix + 'per_second'):,.0f}" if side in turns else "-"

    row = [title, rate(KVSTORE), rate(VALKEY), *_ratio_cells(turns, prefix + "per_second")]
    row += [both("p50_ms", 3), both("p99_ms", 2), both("p999_ms", 2), both("slowest_ms", 1)]
    return row + ([_busy(turns.get(side)) for side in SIDES] if not prefix else ["", ""])


def _ratio_cells(turns: Mapping[str, list[Measures]], name: str) -> list[str]:
    """The median of the rounds' ratios, and their range."""
    if VALKEY not in turns:
        return ["-", "-"]
    each = ratios(turns, name)
    return [f"{median(each):.2f}", spread(each, places=2)]


def _busy(turns: list[Measures] | None) -> str:
    if turns is None:
        return "-"
    return f"{share(_median(turns, 'server_share'), 1)} / {share(_median(turns, 'generator_share'), 1)}"


def _median(turns: list[Measures], name: str) -> float:
    return median(turn[name] for turn in turns)


# Rows of other measures


def _other_rows(entry: Entry) -> list[list[str]]:
    names = [name for name in _LABELS if all(name in turns[0] for turns in entry.turns.values())]
    return [_other_row(f"{entry.title}: {_LABELS[name]}", entry.turns, name) for name in names]


def _other_row(title: str, turns: Mapping[str, list[Measures]], name: str) -> list[str]:
    cells = [_number(name, _median(turns[side], name)) if side in turns else "-" for side in SIDES]
    return [title, *cells, *_ratio_cells(turns, name)]


def _number(name: str, value: float) -> str:
    """By the unit that the name ends with."""
    if name.endswith("_bytes"):
        return f"{value / 2**20:.0f} MiB"
    if name.endswith("per_second"):
        return f"{value:,.0f}/s"
    return f"{value:.2f} {'ms' if name.endswith('_ms') else 's'}"


# The file


_HOW = f"""Made by `scripts/bench`; every round's numbers are in [{JSON_NAME}]({JSON_NAME}). How to read it, and what
limits each figure: [docs/PERFORMANCE.md](../docs/PERFORMANCE.md).

kvstore and Valkey, each on an empty directory on the same file system, take turns; who begins changes from round to
round. Rates and latencies are medians of the rounds; "ratio" is the median of the rounds' ratios, kvstore's number by
Valkey's, and "rounds" is from the smallest of them to the largest. Latencies are "kvstore's / Valkey's".
"Processors" is "server / load generator" during that server's turns: what is near 100 % was measured.
"""


def as_markdown(record: Record, about: Mapping[str, str], pictures: Iterable[str] = ()) -> str:
    """The whole report. `about`: of the last run. `pictures`: names of files beside it."""
    parts = ["# Bench", "", _HOW.replace(VALKEY, record.peer)]
    facts = {**about, **summary(record)}
    parts += [f"- {what}: {f'`{text}`' if what == 'command' else text}" for what, text in facts.items()]
    every = [*target_tables(record), *probe_tables(record), *tables(record), cost_table(record)]
    parts += ["", *(named(table, record).as_markdown() for table in every)]
    parts += [f"![{name}]({name})\n" for name in pictures]
    return "\n".join(parts)


def summary(record: Record) -> dict[str, str]:
    """What holds for all cases together: they need not be of one run."""
    entries = record.entries.values()
    commits = Counter(entry.about.get("commit", "unknown") for entry in entries)
    dates = sorted(entry.about.get("date", "") for entry in entries)
    stolen = [
        turn["stolen_share"] for e in entries for turns in e.turns.values() for turn in turns if "stolen_share" in turn
    ]
    facts = {
        "cases by commit": ", ".join(f"{count} at {commit}" for commit, count in commits.items()),
        "measured": f"{dates[0]} to {dates[-1]}" if dates else "never",
    }
    if stolen:
        times = f"{share(median(stolen), 1)} of the time in the median turn, {share(max(stolen), 1)} in the worst"
        facts["processors taken away by the host"] = times
    return facts


def probe_tables(record: Record) -> list[Table]:
    """What disk and generators can do."""
    return [Table(probe["caption"], probe["columns"], probe["rows"]) for probe in record.probes.values()]
