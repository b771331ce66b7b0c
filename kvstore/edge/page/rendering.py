"""HTML, by Jinja's templates: whatever a template is given is escaped, unless it is HTML of another template's."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kvstore.base.sizes import human

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def render(template: str, facts: dict[str, Any]) -> Markup:
    """The HTML of a template. `template`: its name without `.html`. A fact that it misses is a bug: UndefinedError."""
    return Markup(_environment().get_template(f"{template}.html").render(facts))


def prepare() -> None:
    """Compile the templates, so that it is not done while somebody waits: it takes a tenth of a second."""
    for name in _environment().list_templates():
        _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    environment.filters.update(
        count=count, size=human_bytes, age=age, clock=clock, us=us, ms=ms, seconds=lambda value: us(value * 1e6),
        form=lambda value, name: environment.filters[name](value),
    )  # fmt: skip
    return environment


def count(value: float) -> str:
    """A number with its thousands set apart; two digits of small ones that are not whole."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def human_bytes(value: float | str) -> str:
    """A number of bytes."""
    return human(int(value)).replace("B", " B").replace("K", " KiB").replace("M", " MiB").replace("G", " GiB")


def age(seconds: int) -> str:
    """A length of time, in the two units that matter."""
    parts: list[str] = []
    for unit, name in _UNITS:
        if seconds >= unit and len(parts) < 2:
            parts.append(f"{seconds // unit} {name}")
            seconds %= unit
    return " ".join(parts) or "0 s"


def clock(milliseconds: float) -> str:
    """A time since the epoch: the same for everybody, so UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def us(value: float) -> str:
    """Microseconds, as a unit that leaves few digits."""
    return f"{value:.3g} µs" if value < 1000 else ms(value / 1000)


def ms(value: float) -> str:
    """The same of milliseconds."""
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:,.4g} s"
