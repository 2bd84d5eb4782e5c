"""Stores bars that did not come from the engine by the way of those that did."""

from collections.abc import Sequence

import attrs
import trio

from candled.domain.event import BarEvent


@attrs.define
class QueuedWriter:
    """Sends bars through the channel that all closed bars take, so that they are stored in order of position."""

    closed: trio.MemorySendChannel[list[BarEvent]]
    position: int = 0
    """The highest position sent."""

    async def store(self, events: Sequence[BarEvent]) -> None:
        """Queue closed bars for the history."""
        await self.closed.send(list(events))
        self.position = max(event.position for event in events)
