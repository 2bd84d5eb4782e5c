"""A history without disk or threads, for simulations: the same promises, kept in a plain object."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

import attrs
import trio

from candled.domain.bar import Bar, merge_bars
from candled.domain.event import POSITION_BITS, BarEvent
from candled.domain.interval import MINUTE, ONE_MINUTE, Interval, parse_interval
from candled.history.interface import HistoryStatistics


@attrs.define
class MemoryStore:
    """What survives a restart: give the same object to the next ``open_memory_history``."""

    epoch: int = 0
    minutes: dict[str, dict[int, tuple[int, Bar]]] = attrs.field(factory=dict)
    """Newest revision of each minute with its position, by symbol and open time."""
    events: list[BarEvent] = attrs.field(factory=list)
    """Everything that was stored, in order."""


@asynccontextmanager
async def open_memory_history(store: MemoryStore | None = None) -> AsyncIterator["MemoryHistory"]:
    """A history in memory; see ``History`` for what it promises."""
    store = store or MemoryStore()
    store.epoch += 1
    await trio.lowlevel.checkpoint()
    yield MemoryHistory(store)


class MemoryHistory:
    """A history in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.epoch = store.epoch
        self._stored_position = store.epoch << POSITION_BITS

    @property
    def stored_position(self) -> int:
        """See ``History``."""
        return self._stored_position

    async def store(self, events: Sequence[BarEvent]) -> None:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        for event in events:
            bar = event.bar
            if not bar.closed:
                raise ValueError(f"only closed bars are stored, not {event}")
            self._stored_position = max(self._stored_position, event.position)
            if bar.interval == ONE_MINUTE.name:
                self._store.events.append(event)
                minutes = self._store.minutes.setdefault(bar.symbol, {})
                known = minutes.get(bar.open_time)
                if known is None or (known[1].revision, known[0]) <= (bar.revision, event.position):
                    minutes[bar.open_time] = (event.position, bar)

    async def serve(
        self,
        receive_channel: "trio.MemoryReceiveChannel[list[BarEvent]]",
        *,
        stored: Callable[[int], None] | None = None,
        task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See ``History``."""
        async with receive_channel:
            task_status.started()
            async for batch in receive_channel:
                await self.store(batch)
                if stored is not None:
                    stored(self._stored_position)

    async def newest_bars(self) -> dict[str, Bar]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return {symbol: minutes[max(minutes)][1] for symbol, minutes in self._store.minutes.items()}

    async def symbols(self) -> list[str]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._store.minutes)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        rule = parse_interval(interval)
        known = self._store.minutes.get(symbol, {})
        if rule is ONE_MINUTE and start is not None and end is not None and end - start < len(known) * MINUTE:
            first = rule.floor(start + MINUTE - 1)
            return [known[at][1] for at in range(first, end, MINUTE) if at in known][: max(limit, 0)]
        return [
            bar
            for _, bar in self._bars(symbol, rule)
            if (start is None or start <= bar.open_time) and (end is None or bar.open_time < end)
        ][: max(limit, 0)]

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        found = [
            item
            for symbol in symbols or self._store.minutes
            for interval in intervals
            for item in self._bars(symbol, parse_interval(interval))
            if item[0] > position
        ]
        found.sort(key=lambda item: item[0])
        return found[:limit]

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``History``."""
        await trio.lowlevel.checkpoint()
        minutes = [bar for _, bar in self._bars(symbol, ONE_MINUTE)]
        return [bar for bar in minutes if bar.open_time >= since and not bar.complete][:limit]

    def statistics(self) -> HistoryStatistics:
        """See ``History``."""
        return HistoryStatistics(rows_stored=len(self._store.events))

    def not_ready_reason(self) -> str | None:
        """See ``History``."""
        return None

    def _bars(self, symbol: str, rule: Interval) -> list[tuple[int, Bar]]:
        minutes = [item for _, item in sorted(self._store.minutes.get(symbol, {}).items())]
        if rule is ONE_MINUTE or not minutes:
            return minutes
        groups = groupby(minutes, key=lambda item: rule.floor(item[1].open_time))
        longer: list[tuple[int, Bar]] = []
        is_cut_short = False
        for _, group in groups:
            items = list(group)
            if is_cut_short:  # the first minute after its end is what closed it
                longer[-1] = (max(longer[-1][0], items[0][0]), longer[-1][1])
            merged = merge_bars([bar for _, bar in items], rule)
            is_cut_short = not merged.closed
            longer.append((max(position for position, _ in items), _closed(merged) if is_cut_short else merged))
        return longer[:-1] if is_cut_short else longer


def _closed(bar: Bar) -> Bar:
    """The same bar, closed: its last minute is missing, but a later one is there."""
    fields = {name: getattr(bar, name) for name in bar.__struct_fields__}
    return Bar(**{**fields, "closed": True})
