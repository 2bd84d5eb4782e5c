"""The last 24 hours of each symbol, summed over 5-minute bars. No clock, no I/O.

1-minute bars would be five times as many to load; with these the window is 23 h 55 min to 24 h long.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import attrs

from candled.cli.watch.values import count_decimals
from candled.client import Bar

DAY_INTERVAL: Final = "5m"
WINDOW: Final = timedelta(hours=24)


@attrs.frozen
class DaySummary:
    """What a list shows of one symbol. High, low and volumes are None or 0 where nothing was traded."""

    last: Decimal
    rising: bool | None
    """Whether the last change of the price was upwards; None before the first."""
    change_percent: Decimal | None
    """From the first price of the window to the last; None after a price of 0."""
    span: timedelta
    """Time that the bars cover: less than the window where the history is shorter."""
    high: Decimal | None
    low: Decimal | None
    volume: Decimal
    quote_volume: Decimal
    decimals: int
    """The most decimals that a price of the symbol was seen with."""


@attrs.frozen
class _Sum:
    high: Decimal | None = None
    low: Decimal | None = None
    volume: Decimal = Decimal(0)
    quote_volume: Decimal = Decimal(0)

    def plus(self, bar: Bar) -> "_Sum":
        if not bar.trade_count:  # its prices are those before the window
            return self
        return _Sum(
            bar.high if self.high is None else max(self.high, bar.high),
            bar.low if self.low is None else min(self.low, bar.low),
            self.volume + bar.volume,
            self.quote_volume + bar.quote_volume,
        )


@attrs.define
class _SymbolDay:
    bars: list[Bar] = attrs.field(factory=list)
    """Oldest first; the last one may be forming."""
    before_last: _Sum | None = None
    """Of all bars but the last; None after one of them changed."""
    rising: bool | None = None
    decimals: int = 0


@attrs.define
class Day:
    """The bars of the last 24 hours of each symbol, and their sums."""

    loading: bool = True
    """Whether past bars are still arriving."""
    _symbols: dict[str, _SymbolDay] = attrs.field(factory=dict)
    _newest: datetime | None = None

    def take(self, bar: Bar) -> None:
        """Insert a bar by its open time, or replace the bar of that time."""
        symbol = self._symbols.setdefault(bar.symbol, _SymbolDay())
        bars = symbol.bars
        if bars and bar.open_time >= bars[-1].open_time and bar.close != bars[-1].close:
            symbol.rising = bar.close > bars[-1].close
        symbol.decimals = max(symbol.decimals, count_decimals(bar.close), count_decimals(bar.open))
        place = len(bars)
        while place and bars[place - 1].open_time > bar.open_time:
            place -= 1
        if place and bars[place - 1].open_time == bar.open_time:
            bars[place - 1] = bar
            if place < len(bars):
                symbol.before_last = None
        else:
            bars.insert(place, bar)
            symbol.before_last = None
        if self._newest is None or bar.open_time > self._newest:
            self._newest = bar.open_time

    def forget(self) -> None:
        """Drop every bar, for a new connection."""
        self._symbols.clear()
        self._newest = None
        self.loading = True

    def summary(self, symbol: str) -> DaySummary | None:
        """Return the sums of a symbol; None before its first bar."""
        known = self._symbols.get(symbol)
        if known is None or self._newest is None:
            return None
        self._drop_old(known, self._newest - WINDOW)
        if known.before_last is None:
            sums = _Sum()
            for bar in known.bars[:-1]:
                sums = sums.plus(bar)
            known.before_last = sums
        first, last = known.bars[0], known.bars[-1]
        sums = known.before_last.plus(last)
        return DaySummary(
            last=last.close,
            rising=known.rising,
            change_percent=(last.close - first.open) / first.open * 100 if first.open else None,
            span=last.close_time - first.open_time,
            high=sums.high,
            low=sums.low,
            volume=sums.volume,
            quote_volume=sums.quote_volume,
            decimals=known.decimals,
        )

    def _drop_old(self, symbol: _SymbolDay, before_or_at: datetime) -> None:
        """Drop what lies before the window; of a symbol that is not traded, the newest bar stays."""
        count = 0
        while count < len(symbol.bars) - 1 and symbol.bars[count].open_time <= before_or_at:
            count += 1
        if count:
            del symbol.bars[:count]
            symbol.before_last = None
