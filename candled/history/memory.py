"""A history without disk or threads, for simulations, with the same guarantees."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from candled.domain.event import POSITION_BITS, BarEvent
from candled.domain.interval import ONE_MINUTE
from candled.history.minute_table import Found, MinuteTable
from candled.history.table_reader import TableReader


@attrs.define
class MemoryStore:
    """State that survives a restart: pass the same object to the next ``open_memory_history``."""

    epoch: int = 0
    history_id: str = "6d656d6f72793031"
    table: MinuteTable = attrs.Factory(MinuteTable)
    events: list[BarEvent] = attrs.field(factory=list)
    """Every stored event, in order."""

    @property
    def minutes(self) -> Mapping[str, Mapping[int, Found]]:
        """Newest revision of each minute with its position, by symbol and open time."""
        return {symbol: minutes.bars for symbol, minutes in self.table.symbols.items()}


@asynccontextmanager
async def open_memory_history(store: MemoryStore | None = None) -> AsyncIterator["MemoryHistory"]:
    """Open a history in memory that fulfils the contract of ``candled.domain.storage``."""
    store = store or MemoryStore()
    store.epoch += 1
    await trio.lowlevel.checkpoint()
    yield MemoryHistory(store)


class MemoryHistory(TableReader):
    """A history in memory: a ``BarSource`` and a ``BarWriter``."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store.table)
        self._store = store
        self.epoch = store.epoch
        self._stored_position = store.epoch << POSITION_BITS

    @property
    def history_id(self) -> str:
        """See ``StoredPosition``."""
        return self._store.history_id

    @property
    def stored_position(self) -> int:
        """See ``StoredPosition``."""
        return self._stored_position

    async def store(self, events: Sequence[BarEvent]) -> None:
        """See ``BarWriter``."""
        await trio.lowlevel.checkpoint()
        for event in events:
            if not event.bar.closed:
                raise ValueError(f"only closed bars are stored, not {event}")
            self._stored_position = max(self._stored_position, event.position)
            if event.bar.interval == ONE_MINUTE.name:
                self._store.events.append(event)
                self._table.put(event)

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Store what comes through the channel until it is closed. See ``DurableHistory.serve``."""
        async with receive_channel:
            task_status.started()
            async for batch in receive_channel:
                await self.store(batch)
                if stored is not None:
                    stored(self._stored_position)

    def not_ready_reason(self) -> str | None:
        """Return a sentence why storing fails now; None if it works."""
        return None
