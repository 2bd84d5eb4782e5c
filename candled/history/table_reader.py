"""Reads a table of minutes as the storage contract has it: what histories in memory share."""

from collections.abc import Sequence

import trio

from candled.domain.bar import Bar
from candled.domain.status import Gap
from candled.history.minute_table import Found, MinuteTable, position_of


class TableReader:
    """Reads a table as a ``BarSource``, without a thread."""

    def __init__(self, table: MinuteTable) -> None:
        self._table = table

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return self._table.select(symbol, interval, start, end).bars(limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[Found]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._table.changed_since(position, symbols, intervals), key=position_of)[:limit]

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return [bar for bar in self._table.between(symbol, since) if not bar.complete][:limit]

    async def newest_bars(self) -> dict[str, Bar]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return {symbol: minutes.bars[minutes.times[-1]][1] for symbol, minutes in self._table.symbols.items()}

    async def symbols(self) -> list[str]:
        """See ``BarReader``."""
        await trio.lowlevel.checkpoint()
        return sorted(self._table.symbols)

    async def disputed(self, symbol: str) -> list[Gap]:
        """See ``BarSource``: nothing is recorded but bars."""
        del symbol
        await trio.lowlevel.checkpoint()
        return []
