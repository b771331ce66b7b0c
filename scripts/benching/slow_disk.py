"""To come."""

from scripts.benching.case import Case

GROUP_TITLES: dict[str, str] = {}
LABELS: dict[str, str] = {}


def cases() -> list[Case]:
    """None yet."""
    return []
