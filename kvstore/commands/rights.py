"""What a user may do: what any of its selectors lets by itself. Two that let a half each let nothing together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from kvstore.commands.asked import READ_KEYS, WRITE_KEYS, Asked, Denial, access_of, is_about_one_key
from kvstore.commands.registry import Command
from kvstore.commands.selector import Selector


class Rights:
    """What some selectors let together: what any of them does by itself. `selectors`: which are not changed."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        self.selectors = tuple(selectors)
        #: Of each command that is about the key behind its name, and no other: what tells of a key that it is let.
        self._glances: dict[Command, tuple[Callable[[bytes], object], ...]] = {}

    @functools.cached_property
    def lets_all(self) -> bool:
        """Whether they let everything."""
        return any(selector.lets_all for selector in self.selectors)

    def let_at_a_glance(self, row: Command, words: list[bytes]) -> bool:
        """Whether a request may be done, where that is soon seen: most are. False says nothing. It must mean what
        `denied` means.
        """
        glance = self._glances.get(row)
        if glance is None:
            glance = self._glances[row] = self._glance(row)
        if len(words) > 1:
            key = words[1]
            for lets in glance:
                if lets(key):
                    return True
        return False

    def _glance(self, row: Command) -> tuple[Callable[[bytes], object], ...]:
        if not is_about_one_key(row):
            return ()
        # What SET does hangs on its options.
        access = READ_KEYS | WRITE_KEYS if row.name == "SET" else access_of(row)
        return tuple(lets for selector in self.selectors for lets in selector.keys_let(row, access))

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
