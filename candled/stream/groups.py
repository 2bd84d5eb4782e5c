"""Registry of open streams: those with the same selection form one group, looked up once for each bar. Plain.

Groups are replaced, never mutated, where ``Hub.publish`` may be iterating over them.
"""

from collections.abc import Iterator

import attrs

from candled.domain.interval import INTERVALS
from candled.stream.message import Message
from candled.stream.subscription import Selection, Subscription

Key = tuple[str | None, str]
"""Symbol and interval; None for streams that take every symbol."""


@attrs.define(eq=False)
class Group:
    """Streams with the same selection, which is evaluated once for all of them."""

    closed_only: bool
    keys: tuple[Key, ...]
    subscriptions: dict[Subscription, None] = attrs.Factory(dict)
    batch: list[Message] = attrs.Factory(list)
    """Messages that ``Hub.publish`` is about to offer."""


class Groups:
    """Every open stream, by selection, symbol and interval."""

    def __init__(self) -> None:
        self.streams = 0
        """Number of open streams."""
        self._by_selection: dict[Selection, Group] = {}
        self.by_key: dict[Key, list[Group]] = {}
        """Groups that take a symbol and interval: a plain attribute, as the hub reads it for every event."""
        self._wanted: dict[str, frozenset[str]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        for group in self._by_selection.values():
            yield from group.subscriptions

    def naming(self, symbol: str) -> Iterator[Subscription]:
        """Yield the streams that take a symbol by its name."""
        for group in self._by_selection.values():
            if any(key_symbol == symbol for key_symbol, _ in group.keys):
                yield from group.subscriptions

    def wanted(self, symbol: str) -> frozenset[str]:
        """Return the intervals of a symbol whose forming bars some stream takes."""
        wanted = self._wanted.get(symbol)
        if wanted is None:
            wanted = self._wanted[symbol] = frozenset(
                interval
                for key_symbol in (symbol, None)
                for interval in INTERVALS
                if any(not group.closed_only for group in self.by_key.get((key_symbol, interval), ()))
            )
        return wanted

    def forget(self, symbol: str) -> None:
        """Drop the state of a symbol that is no longer served."""
        self._wanted.pop(symbol, None)

    def add(self, subscription: Subscription) -> None:
        """Add a stream."""
        selection = _group_key(subscription.selection)
        group = self._by_selection.get(selection)
        if group is None:
            symbols: tuple[str | None, ...] = tuple(sorted(selection.symbols)) or (None,)
            keys = tuple((symbol, interval) for symbol in symbols for interval in selection.intervals)
            group = self._by_selection[selection] = Group(selection.closed_only, keys)
            for key in keys:
                self.by_key.setdefault(key, []).append(group)
            self._wanted.clear()
        group.subscriptions[subscription] = None
        self.streams += 1

    def remove(self, subscription: Subscription) -> None:
        """Remove a stream."""
        selection = _group_key(subscription.selection)
        group = self._by_selection[selection]
        # Replaced, not mutated: a stream may fail and leave while `publish` iterates over the others.
        group.subscriptions = {s: None for s in group.subscriptions if s is not subscription}
        self.streams -= 1
        if not group.subscriptions:
            del self._by_selection[selection]
            for key in group.keys:
                groups = self.by_key[key] = [g for g in self.by_key[key] if g is not group]
                if not groups:
                    del self.by_key[key]
            self._wanted.clear()


def _group_key(selection: Selection) -> Selection:
    """Return the key of a group: streams that differ only in their update rate share one."""
    return attrs.evolve(selection, updates_per_second=0.0)
