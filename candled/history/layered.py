"""Bars of a log in memory, and before them those of a stored history: one ``BarSource``.

Each minute comes from memory from the oldest one there on, and from the stored history before. A longer bar that
memory has in part is merged from the minutes of both. Changes, and with them resume tokens, are those of the log.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import trio

from candled.domain.bar import Bar
from candled.domain.interval import MINUTE, ONE_MINUTE, Interval, parse_interval
from candled.domain.limits import TIME_MAX, TIME_MIN
from candled.domain.status import Gap
from candled.domain.storage import BarsUnavailableError
from candled.history.replica import Replica


class OlderBars(Protocol):
    """A stored history, such as ``objects.stored_bars``."""

    async def bars(
        self, symbol: str, rule: Interval, start: int, end: int, limit: int, known_until: int | None = None
    ) -> list[Bar]:
        """Return closed bars with ``start <= open_time < end``, oldest first, at most ``limit``.

        Longer bars that end by ``known_until`` are closed, whatever the newest stored minute is.

        Raises:
            BarsUnavailableError: they cannot be read now.
        """


@attrs.frozen
class LayeredBars:
    """A replica and what is older: a ``BarSource``."""

    replica: Replica
    older: OlderBars

    @property
    def history_id(self) -> str:
        """See ``StoredPosition``."""
        return self.replica.history_id

    @property
    def stored_position(self) -> int:
        """See ``StoredPosition``."""
        return self.replica.stored_position

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``.

        While the stored history does not answer, a question without a beginning that reaches into memory is
        answered from there.

        Raises:
            ValueError: the interval is unknown.
            BarsUnavailableError: bars are asked for that only the stored history has, which does not answer.
        """
        rule = parse_interval(interval)
        low, high = TIME_MIN if start is None else start, TIME_MAX if end is None else end
        if limit <= 0:
            return []
        while True:
            first = self.replica.first_minute(symbol)
            if first is None:
                return await self.older.bars(symbol, rule, low, high, limit)
            span = rule.floor(first)
            """Open time of the first bar of which memory has a minute."""
            whole = span if span == first else rule.end(span)
            found: list[Bar] = []
            if low < whole:
                found = await self._older(symbol, rule, low, high, limit, first)
            if len(found) < limit and max(low, whole) < high:
                found += await self.replica.bars(symbol, interval, max(low, whole), high, limit - len(found))
            if self.replica.first_minute(symbol) == first:  # else memory has dropped what was not read yet
                return found

    async def _older(self, symbol: str, rule: Interval, low: int, high: int, limit: int, first: int) -> list[Bar]:
        """Return the bars that begin before memory's first minute."""
        span = rule.floor(first)
        try:
            found: list[Bar] = []
            if low < span:
                found = await self.older.bars(symbol, rule, low, min(high, span), limit, first)
            if low <= span < min(first, high) and len(found) < limit:
                found += await self._spanning(symbol, rule, span, first)
        except BarsUnavailableError:
            if low <= TIME_MIN and high > first:
                return []
            raise
        return found

    async def _spanning(self, symbol: str, rule: Interval, span: int, first: int) -> list[Bar]:
        """Return the bar that begins before memory's first minute and ends after it; none if it is not closed."""
        before = await self.older.bars(symbol, ONE_MINUTE, span, first, (first - span) // MINUTE)
        if self.replica.first_minute(symbol) != first:
            return []  # the caller begins again
        return await trio.to_thread.run_sync(self.replica.spanning, symbol, rule, before)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        """See ``BarReader``."""
        return await self.replica.changed_since(position, symbols, intervals, limit)

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``BarReader``: of the log's minutes."""
        return await self.replica.incomplete_bars(symbol, since, limit)

    async def newest_bars(self) -> Mapping[str, Bar]:
        """See ``BarReader``: of the log's minutes."""
        return await self.replica.newest_bars()

    async def symbols(self) -> list[str]:
        """See ``BarReader``: those of the log."""
        return await self.replica.symbols()

    async def disputed(self, symbol: str) -> list[Gap]:
        """See ``BarSource``."""
        return await self.replica.disputed(symbol)
