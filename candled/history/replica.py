"""The closed bars of a log in memory, as far as it was read: the history of a process without a data directory."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import Interval
from candled.history.minute_table import Found, MinuteTable, Selection, position_of
from candled.history.table_reader import TableReader

MINUTES_DROPPED: Final = 1_440
"""Oldest minutes of a symbol that are dropped together once there are too many."""
IN_THREAD_MINUTES: Final = 2_000
"""A read of more minutes is merged in a thread, so that it does not hold the event loop."""


class Replica(TableReader):
    """A history in memory, fed by a log: a ``BarSource``.

    Args:
        history_id: identity of the log, 16 hexadecimal digits.
        bars_max: minutes kept, of all symbols together; the oldest are dropped.
    """

    def __init__(self, history_id: str, bars_max: int) -> None:
        super().__init__(MinuteTable())
        self._history_id = history_id
        self._bars_max = bars_max
        self._position = 0

    @property
    def history_id(self) -> str:
        """See ``StoredPosition``."""
        return self._history_id

    @property
    def stored_position(self) -> int:
        """See ``StoredPosition``."""
        return self._position

    @property
    def oldest_position(self) -> int:
        """Changes after it are all here, earlier ones may not be: older resume tokens cannot be served."""
        return self._table.oldest_position

    def start_at(self, position: int) -> None:
        """Note that the log was read only after ``position``."""
        self._position = self._table.oldest_position = position

    def take(self, events: Iterable[BarEvent]) -> None:
        """Take closed 1-minute bars, in order of position; older revisions than known ones are left out."""
        for event in events:
            self._position = max(self._position, event.position)
            minutes = self._table.put(event)
            if len(minutes.times) > self._bars_max // len(self._table.symbols) + MINUTES_DROPPED:
                self._table.drop_oldest(minutes, MINUTES_DROPPED)

    def first_minute(self, symbol: str) -> int | None:
        """Return the open time of the oldest minute of a symbol; None if there is none."""
        minutes = self._table.symbols.get(symbol)
        return minutes.times[0] if minutes else None

    def spanning(self, symbol: str, rule: Interval, before: Sequence[Bar]) -> list[Bar]:
        """Return the closed bar of which only the later minutes are here; none if it is not closed.

        Args:
            symbol: one that has minutes here.
            rule: interval of the bar.
            before: the minutes of that bar that are older than the oldest one here, oldest first.
        """
        minutes = self._table.symbols[symbol]
        end = rule.end(rule.floor(minutes.times[0]))
        found = [*((0, bar) for bar in before), *minutes.between(minutes.times[0], end)]
        return Selection(rule, found, minutes.after(end), end).bars(1)

    def minutes(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Return closed minutes with ``start <= open_time < end``, oldest first, without waiting."""
        return self._table.between(symbol, start, end)

    def begin_of(self, symbol: str) -> int:
        """Return the time from which on all minutes are here: a longer bar that begins before would lack some."""
        return self._table.begin_of(symbol)

    def newest_events(self) -> Iterator[BarEvent]:
        """Return every minute's newest revision as an event of its close, by symbol, oldest first."""
        for minutes in self._table.symbols.values():
            for time in minutes.times:
                position, bar = minutes.bars[time]
                yield BarEvent(BarEventKind.CLOSE, bar, bar.close_time, position)

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        selection = self._table.select(symbol, interval, start, end)
        if len(selection.minutes) > IN_THREAD_MINUTES:
            return await trio.to_thread.run_sync(selection.bars, limit)
        return selection.bars(limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[Found]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        rows: list[Found] = []
        for found in self._table.changed_since(position, symbols, intervals):
            rows.append(found)
            await trio.lowlevel.checkpoint()
        return sorted(rows, key=position_of)[:limit]
