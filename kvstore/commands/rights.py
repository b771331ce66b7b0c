"""What a user may do: what any of its selectors lets by itself. Two that let a half each let nothing together."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from kvstore.commands.asked import Asked, Denial
from kvstore.commands.selector import Selector


class Rights:
    """What some selectors let together: what any of them does by itself. `selectors`: which are not changed."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        self.selectors = tuple(selectors)

    @functools.cached_property
    def lets_all(self) -> bool:
        """Whether they let everything."""
        return any(selector.lets_all for selector in self.selectors)

    def denied(self, asked: Asked) -> Denial | None:
        """What a request lacks, None if it may be done."""
        worst: Denial | None = None
        for selector in self.selectors:
            denial = selector.denied(asked)
            if denial is None:
                return None
            if worst is None or denial[:2] > worst[:2]:
                worst = denial
        return worst

    def lets_with_all_keys(self, asked: Asked, access: int) -> bool:
        """Whether the request may be done, and that besides, with any key."""
        return any(selector.denied(asked) is None and selector.lets_all_keys(access) for selector in self.selectors)

    def lets_channel(self, channel: bytes, *, is_pattern: bool) -> bool:
        """Whether one may subscribe to a channel, or a pattern of channels."""
        return any(selector.lets_channel(channel, is_pattern=is_pattern) for selector in self.selectors)
