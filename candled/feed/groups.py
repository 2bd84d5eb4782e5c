"""Which streams share a connection. Plain, but for the events that wake those who keep the connections."""

from collections.abc import Mapping
from itertools import islice

import attrs
import trio


@attrs.define(eq=False)
class StreamGroup:
    """Streams that share connections, no more than one connection may carry."""

    channels: Mapping[str, str] = attrs.Factory(dict)
    """Channel of the stream by symbol. Replaced, not changed: a connection keeps the channels of its beginning."""
    replace: trio.Event = attrs.Factory(trio.Event)
    """Set when its connections are to be replaced though they seem to live."""
    fresh_since: float = float("-inf")
    """Local monotonic clock when a connection of it was last begun or replaced, seconds."""
    over: trio.CancelScope = attrs.Factory(trio.CancelScope)
    """Cancelled when no stream is left in it."""

    def renew(self) -> None:
        """Replace its connections: each lives on until its successor receives."""
        self.fresh_since = trio.current_time()
        self.replace.set()
        self.replace = trio.Event()


class StreamGroups:
    """All streams, in as few groups as the exchange allows; a stream stays in its group as long as it is read."""

    def __init__(self, limit: int) -> None:
        """Begin without streams; ``limit``: streams that one connection may carry."""
        self.groups: list[StreamGroup] = []
        self.changed = trio.Event()
        """Set, and replaced, when a group was added or ended."""
        self._limit = limit

    @property
    def symbols(self) -> set[str]:
        """Symbols whose streams are read."""
        return {symbol for group in self.groups for symbol in group.channels}

    def follow(self, channels: Mapping[str, str]) -> None:
        """Have these streams, by symbol, and no others. Groups whose streams change are renewed."""
        known = self.symbols
        added = iter([(symbol, channel) for symbol, channel in channels.items() if symbol not in known])
        groups = []
        for group in self.groups:
            kept = {symbol: channel for symbol, channel in group.channels.items() if symbol in channels}
            kept.update(islice(added, self._limit - len(kept)))
            if not kept:
                group.over.cancel()
                continue
            if kept != group.channels:
                group.channels = kept
                group.renew()
            groups.append(group)
        while new := dict(islice(added, self._limit)):
            groups.append(StreamGroup(new))
        self.groups = groups
        self.changed.set()
        self.changed = trio.Event()
