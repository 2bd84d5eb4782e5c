"""The ledger: every fill of a market, by id and by time, up to an instant that the caller names."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from candled.embedded_exchange.klines import Kline, KlineSum
from candled.embedded_exchange.market import Fill, Market, SymbolRules
from candled.embedded_exchange.units import decimal_text

_CACHED_FILLS: Final = 200_000
_CACHED_KLINES: Final = 20_000
_FILLS_PER_STEP: Final = 500
_aggregate_id: Callable[[Fill], int] = attrgetter("aggregate_id")
_last_id: Callable[[Fill], int] = attrgetter("last_id")
_time: Callable[[Fill], int] = attrgetter("time")


class Ledger:
    """Queries over a market's fills. All times are microseconds; ``until`` is the newest time in the answer."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.rounds_quotes = True
        """Whether the quote of each fill is truncated to eight decimals, as Binance does; else it is exact."""
        self.ids_reset_at: dict[str, int] = {}
        """Time of the newest reset of each symbol's ids that had one."""
        self._blocks: OrderedDict[tuple[str, int], Sequence[Fill]] = OrderedDict()
        self._cached = 0
        self._klines: dict[tuple[str, int, int], Kline] = {}

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Every symbol of the market."""
        return self.market.symbols

    def forget(self) -> None:
        """Drop what is cached, after the market itself was altered."""
        self._blocks.clear()
        self._klines.clear()
        self._cached = 0

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """Return one block of the market, from the cache if it is there."""
        key = (symbol, index)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self.market.block(symbol, index)
            self._cached += len(block) + 1
            while self._cached > _CACHED_FILLS and len(self._blocks) > 1:
                self._cached -= len(self._blocks.popitem(last=False)[1]) + 1
        else:
            self._blocks.move_to_end(key)
        return block

    def fills_from(self, symbol: str, trade_id: int, until: int) -> Iterator[Fill]:
        """Yield fills that hold ``trade_id`` or a later id, oldest first."""
        index = self.market.block_of_trade(symbol, trade_id)
        block = self.block(symbol, index)
        yield from self._onward(symbol, index, bisect_left(block, trade_id, key=_last_id), until)

    def fills_below(self, symbol: str, trade_id: int, until: int) -> Iterator[Fill]:
        """Yield fills with ids below ``trade_id``, newest first."""
        market, first = self.market, self.market.blocks(symbol).start
        index = min(market.block_of_trade(symbol, trade_id), market.block_at(symbol, until))
        for at in range(index, first - 1, -1):
            for fill in reversed(self.block(symbol, at)):
                if fill.first_id < trade_id and fill.time <= until:
                    yield fill

    def fills_between(self, symbol: str, start: int, end: int) -> Iterator[Fill]:
        """Yield fills from ``start`` up to, not including, ``end``, oldest first."""
        index = self.market.block_at(symbol, start)
        block = self.block(symbol, index)
        yield from self._onward(symbol, index, bisect_left(block, start, key=_time), end - 1)

    def newest_fills(self, symbol: str, count: int, until: int) -> list[Fill]:
        """Return the last ``count`` fills up to ``until``, oldest first."""
        newest: list[Fill] = []
        for fill in self._backward(symbol, until):
            if len(newest) == count:
                break
            newest.append(fill)
        return newest[::-1]

    def aggregates_from(self, symbol: str, aggregate_id: int, until: int) -> Iterator[list[Fill]]:
        """Return aggregates from that id on, oldest first, each as its fills."""
        index = self.market.block_of_aggregate(symbol, aggregate_id)
        block = self.block(symbol, index)
        fills = self._onward(symbol, index, bisect_left(block, aggregate_id, key=_aggregate_id), until)
        return _aggregates(fills)

    def aggregates_between(self, symbol: str, start: int, end: int) -> Iterator[list[Fill]]:
        """Return aggregates from ``start`` up to, not including, ``end``, oldest first, each as its fills."""
        return _aggregates(self.fills_between(symbol, start, end))

    def newest_aggregates(self, symbol: str, count: int, until: int) -> list[list[Fill]]:
        """Return the last ``count`` aggregates up to ``until``, oldest first, each as its fills."""
        newest: list[list[Fill]] = []
        for _, group in groupby(self._backward(symbol, until), _aggregate_id):
            if len(newest) == count:
                break
            newest.append(list(group)[::-1])
        return newest[::-1]

    def last_id(self, symbol: str, until: int) -> int:
        """Return the highest trade id up to ``until``; -1 when there is none."""
        last = next(self._backward(symbol, until), None)
        return -1 if last is None else last.last_id

    def close_before(self, symbol: str, time: int) -> Decimal | None:
        """Return the price of the last real trade before ``time``; None when there is none."""
        for fill in self._backward(symbol, time - 1):
            if not fill.is_placeholder:
                return Decimal(decimal_text(fill.price))
        return None

    def kline_sum(self, symbol: str, start: int, end: int, until: int) -> KlineSum:
        """Return the kline of ``start`` to ``end`` (exclusive) from its fills up to ``until``."""
        before = self._klines.get((symbol, 2 * start - end, start))  # saves a long search back over silent hours
        close = self.close_before(symbol, start) if before is None else before.close
        total = KlineSum(start, end, close, rounds_quotes=self.rounds_quotes)
        total.add(self.fills_between(symbol, start, min(end, until + 1)))
        return total

    def kline(self, symbol: str, start: int, end: int, until: int) -> Kline | None:
        """Return the kline of ``start`` to ``end`` (exclusive) up to ``until``; None where the market has none."""
        steps = self.kline_steps(symbol, start, end, until)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                kline: Kline | None = done.value
                return kline

    def kline_steps(self, symbol: str, start: int, end: int, until: int) -> Generator[None, None, Kline | None]:
        """Compute a kline in short steps, so that other tasks run in between; it is returned at the end."""
        if not self.market.has_kline(symbol, start, end):
            return None
        key = (symbol, start, end)
        is_closed = until >= end - 1
        if is_closed and key in self._klines:
            return self._klines[key]
        total = KlineSum(start, end, self.close_before(symbol, start), rounds_quotes=self.rounds_quotes)
        fills = self.fills_between(symbol, start, min(end, until + 1))
        while step := list(islice(fills, _FILLS_PER_STEP)):
            total.add(step)
            yield
        kline = total.kline()
        if kline is not None and is_closed:
            if len(self._klines) >= _CACHED_KLINES:
                del self._klines[next(iter(self._klines))]
            self._klines[key] = kline
        return kline

    def _onward(self, symbol: str, index: int, place: int, until: int) -> Iterator[Fill]:
        market, stop = self.market, self.market.blocks(symbol).stop
        while index < stop and market.block_start(symbol, index) <= until:
            block = self.block(symbol, index)
            if block and block[-1].time <= until:
                yield from block[place:] if place else block
            else:
                for fill in block[place:]:
                    if fill.time > until:
                        return
                    yield fill
            index += 1
            place = 0

    def _backward(self, symbol: str, until: int) -> Iterator[Fill]:
        blocks = self.market.blocks(symbol)
        index = self.market.block_at(symbol, until)
        while index >= blocks.start:
            for fill in reversed(self.block(symbol, index)):
                if fill.time <= until:
                    yield fill
            index -= 1


def _aggregates(fills: Iterator[Fill]) -> Iterator[list[Fill]]:
    return (list(group) for _, group in groupby(fills, _aggregate_id))
