"""What LATENCY says to a person of the events that were noted: a drawing of one, and advice about all of them.

As Valkey draws and words it; the advice is about this server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvstore.commands.latency_events import Event, LatencyEvents, Sample

#: Characters in a line of a drawing, lines of a column, and what its top may be, from low to high. Valkey: sparkline.c.
_COLUMNS = 80
_ROWS = 4
_TOPS = "_o#"
_FULL = "|"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))

_IS_OFF = (
    "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Valkey instance. You may use "
    '"CONFIG SET latency-monitor-threshold <milliseconds>." in order to enable it.\n'
)
_NOTHING = (
    "No latency spike was observed during the lifetime of this Valkey instance, not in the slightest bit.\n"
)  # fmt: skip
_SLOW_DISK = (
    "The disk took long to write or sync: use a local one, an SSD if it is none, and see what else writes to it"
    " (iostat -x). Syncs that take a millisecond or more are overlapped with the loop unless --overlap never says"
    " otherwise. If a power cut may cost the last second, --sync everysec waits for no sync."
)
_COMPACTION = (
    "Compactions hold the loop for these moments: they come less often with a larger --compact-after, or at a quiet"
    " time by BGSAVE."
)
#: What is said about each event; that of a command hangs on settings, too.
_ADVICE: Mapping[str, str] = {
    "command": "Look at COMMANDLOG GET 10 slow for the requests that take too long, and at LATENCY HISTOGRAM.",
    "fast-command": (
        "Requests that are quick took long: the machine does not give this process a processor when it needs one. Look"
        " for other load, for steal time (vmstat 1), for swapping, for a limit of its control group."
    ),
    "aof-write": _SLOW_DISK,
    "aof-fsync-always": _SLOW_DISK,
    "fork": "Starting the process that compacts took long: look for a lack of memory, and for very many open files.",
    "log-seal": _COMPACTION,
    "aof-rename": _COMPACTION,
    "expire-cycle": "Many keys expire at once: give them deadlines that lie further apart.",
    "eviction-cycle": "Much is evicted at once: raise maxmemory, or lower it in smaller steps.",
    "eventloop": (
        "Turns of the loop took long, and all clients waited: it is one request if `command` has one at that time, or a"
        " commit if `aof-fsync-always` has; otherwise many clients asked at once. --client-share-ms limits what one"
        " client may take of a turn."
    ),
}


def graph(event: Event, now_s: int) -> str:
    """The samples of an event as columns of characters, below each how long ago it was."""
    samples = list(event.samples)
    took = [sample.took_ms for sample in samples]
    heading = f"{event.name} - high {max(took)} ms, low {min(took)} ms (all time high {event.longest_ms} ms)\n"
    parts = [samples[begin : begin + _COLUMNS] for begin in range(0, len(samples), _COLUMNS)]
    drawn = [_drawn(part, min(took), max(took), now_s) for part in parts]
    return f"{heading}{'-' * _COLUMNS}\n" + "\n".join(drawn)


def _drawn(samples: Sequence[Sample], low: int, high: int, now_s: int) -> str:
    """The lines of one row of columns."""
    steps = len(_TOPS) * _ROWS
    heights = [min(steps - 1, (sample.took_ms - low) * steps // max(1, high - low)) for sample in samples]
    rows = [[_character(height - len(_TOPS) * row) for height in heights] for row in reversed(range(_ROWS))]
    labels = [_ago(now_s - sample.at_s) for sample in samples]
    longest = max(map(len, labels))
    rows += [[" "] * len(samples), *map(list, zip(*(label.ljust(longest) for label in labels), strict=True))]
    return "".join("".join(row) + "\n" for row in rows)


def _character(above: int) -> str:
    """What a column shows in a line of whose foot it is so much above."""
    return " " if above < 0 else _TOPS[above] if above < len(_TOPS) else _FULL


def _ago(seconds: int) -> str:
    for unit, letter in _UNITS:
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def doctor(events: LatencyEvents, slower_than_us: int, now_s: int) -> str:
    """All that was noted, and what to do about it. `slower_than_us`: what COMMANDLOG notes, -1 for nothing."""
    if not events.by_name:
        return _NOTHING if events.is_on else _IS_OFF
    found = list(events.by_name.values())
    lines = [f"{number}. {_summary(event, now_s)}\n" for number, event in enumerate(found, 1)]
    advice = dict.fromkeys(_ADVICE[event.name] for event in found if event.name in _ADVICE)
    if "command" in events.by_name and events.is_on:
        advice |= dict.fromkeys(_advice_on_log(events.threshold_ns // 1000, slower_than_us))
    heading = "Latency spikes are observed in this Valkey instance.\n\n"
    return heading + "".join(lines) + "\nHere is some advice for you:\n\n" + "".join(f"- {text}\n" for text in advice)


def _summary(event: Event, now_s: int) -> str:
    took = [sample.took_ms for sample in event.samples]
    average = sum(took) // len(took)
    deviation = sum(abs(average - each) for each in took) // len(took)
    period_s = max(1, now_s - event.samples[0].at_s) / len(took)
    return (
        f"{event.name}: {len(took)} latency spikes (average {average}ms, mean deviation {deviation}ms, period"
        f" {period_s:.2f} sec). Worst all time event {event.longest_ms}ms."
    )


def _advice_on_log(threshold_us: int, slower_than_us: int) -> list[str]:
    """How to have COMMANDLOG note what is an event here."""
    if 0 <= slower_than_us <= threshold_us:
        return []
    return [f"So that COMMANDLOG notes each of them: CONFIG SET commandlog-execution-slower-than {threshold_us}"]
