"""Bars of another kind are one new class: continuity, gaps and repair do not change."""

import random
from heapq import heappop, heappush
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.coverage import Coverage
from candled.engine.symbol import SymbolEngine

START = 1_700_006_400_000_000
VOLUME = 10


class VolumeBars:
    """Closes a bar at each given volume. As its bars depend on the order of trades, it waits for missing ids."""

    def __init__(self, symbol: str, coverage: Coverage) -> None:
        self._symbol = symbol
        self._coverage = coverage
        self._waiting: list[tuple[int, Trade]] = []
        self._next_id: int | None = None
        self._trades: list[Trade] = []

    def add(self, trade: Trade, events: list[BarEvent]) -> None:
        heappush(self._waiting, (trade.first_id, trade))

    def settle(self, exchange_time: int, events: list[BarEvent]) -> None:
        floor = self._coverage.continuity.floor
        while self._waiting and self._waiting[0][0] in (floor, self._next_id):
            _, trade = heappop(self._waiting)
            self._next_id = trade.last_id + 1
            if not trade.is_placeholder:
                self._trades.append(trade)
            if sum(each.quantity for each in self._trades) >= VOLUME:
                events.append(BarEvent(BarEventKind.CLOSE, self._bar(), exchange_time))
                self._trades = []

    def advance(self, ended: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Time closes no volume bar."""

    def _bar(self) -> Bar:
        first, last = self._trades[0], self._trades[-1]
        prices = [trade.price for trade in self._trades]
        return Bar(
            self._symbol, "10v", first.time, last.time, first.price, max(prices), min(prices), last.price,
            sum(trade.quantity for trade in self._trades), 0, len(self._trades), 0, 0,
            first.first_id, last.last_id, first.first_id - 1, True, True,
        )  # fmt: skip


def volume_bars(trades: list[Trade]) -> list[tuple[int, int]]:
    """First and last id of each bar, the plain way."""
    bars, begun, volume = [], None, 0
    for trade in trades:
        if trade.is_placeholder:
            continue
        begun = trade.first_id if begun is None else begun
        volume += trade.quantity
        if volume >= VOLUME:
            bars.append((begun, trade.last_id))
            begun, volume = None, 0
    return bars


@given(st.integers(0, 2**32))
def test_volume_bars_need_only_a_builder(seed: int) -> None:
    """Volume bars are right in any order, batching and doubling of the trades, and minutes are not disturbed."""
    rng = random.Random(seed)
    trades = [
        Trade("X", id_, id_, rng.randrange(1, 9), rng.choice((0, 1, 2, 5)), START + id_ * 7_000_000, False)
        for id_ in range(1, 80)
    ]
    engine = SymbolEngine("X", count(1).__next__, list[int]().append, builders=[VolumeBars])
    plain = SymbolEngine("X", count(1).__next__, list[int]().append)
    events, minutes = list[BarEvent](), list[BarEvent]()
    stream = trades[:1] + sorted(
        trades[1:] + rng.choices(trades, k=20), key=lambda trade: trade.first_id + rng.uniform(0, 10)
    )
    while stream:
        size = rng.choice((1, 3, 20))
        for symbol, out in ((engine, events), (plain, minutes)):
            for trade in stream[:size]:
                symbol.apply(trade, out)
            symbol.settle(START, out)
        stream = stream[size:]
    found = [(e.bar.first_trade_id, e.bar.last_trade_id) for e in events if e.bar.interval == "10v"]
    assert found == volume_bars(trades)
    assert [event for event in events if event.bar.interval == "1m"] == minutes
    assert any(event.bar.close_time - event.bar.open_time == MINUTE for event in minutes)
