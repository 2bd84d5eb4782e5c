"""The same trades prove the same bars, whichever way they come: stream, REST or archive."""

import random
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from candled.backfill.binance_archive import parse_archive, read_minutes
from candled.backfill.from_archive import Carried, bars_of, prove_archived_trades
from candled.backfill.from_exchange import traded_bars
from candled.domain.exactness import SINGLE_FILLS_MIN
from candled.domain.feed_event import RangeUnfillable, TradesRepaired
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE
from candled.domain.numbers import format_units, quote_units
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.id_watch import ORDER_TOLERANCE
from candled.feed.adapter import KlinePage, TradePage, TradeSource
from tests.backfill.test_from_archive import pack
from tests.engine.oracle import FakeExchange, agreed, arrived

START = 1_700_006_400_000_000
ONE = 10**8


@attrs.frozen
class Market:
    """Trades of an hour: what took place, and what is to be had of it anywhere."""

    trades: list[Trade] = attrs.field(repr=lambda trades: str(len(trades)))
    lost: IdRanges
    start: int
    end: int
    """Open times between which minutes are judged: around them all trades are there."""

    @property
    def shown(self) -> list[Trade]:
        return [trade for trade in self.trades if not self.lost.overlaps(trade.first_id, trade.last_id)]


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Bursts, empty minutes, placeholders, times that go back a little, and lost ids."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    goes_back = draw(st.booleans())
    id_ = draw(st.integers(1, 10**9))
    trades = []

    def add(time: int, quantity: int) -> None:
        nonlocal id_
        trades.append(Trade("X", id_, id_, rng.randrange(1, 99999) * 10**6, quantity, time, rng.random() < 0.5))
        id_ += 1

    for number in range(SINGLE_FILLS_MIN):
        add(START - MINUTE + number, rng.randrange(1, 10**6) * 100)
    time = START
    for _ in range(rng.randrange(1, 40)):
        time += rng.choice((0, 1000, 20_000_000, 60_000_000, 61_000_000, 150_000_000))
        back = rng.randrange(ORDER_TOLERANCE) if goes_back and rng.random() < 0.3 else 0
        add(max(START, time - back), 0 if rng.random() < 0.1 else rng.randrange(1, 10**6) * 100)
    end = time // MINUTE * MINUTE + MINUTE
    for number in range(3):
        add(end + number, ONE)
    return Market(trades, _lost(trades[SINGLE_FILLS_MIN:-3], rng), START, end)


def _lost(trades: Sequence[Trade], rng: random.Random) -> IdRanges:
    """Some trades, but never all of a minute: of such a one only the stream learns, from the exchange's kline."""
    lost = IdRanges()
    by_minute = groupby(sorted(trades, key=lambda trade: trade.time), key=lambda trade: trade.time // MINUTE)
    for _, minute in by_minute:
        real = [trade for trade in minute if not trade.is_placeholder]
        for trade in rng.sample(real, max(0, len(real) - 1)):
            if rng.random() < 0.1:
                lost.add(trade.first_id, trade.last_id)
    return lost


def by_stream(market: Market, rng: random.Random) -> dict[int, bool]:
    engine, exchange = agreed(Engine(["X"]), market.trades[-1].time), FakeExchange(market.trades)
    shown = market.shown
    batches = [shown[:1]]
    rest = sorted(shown[1:], key=lambda trade: trade.first_id + rng.uniform(0, rng.choice((0, 5))))
    while rest:
        size = rng.choice((1, 10, 100))
        batches.append(rest[:size])
        rest = rest[size:]
    events = []
    for batch in batches:
        events += engine.handle(arrived(batch), 0.0)
    # A trade whose time fits none of its neighbours' is asked for once more, though it was seen.
    for first, last in engine.symbols["X"].continuity.missing:
        found = [trade for trade in shown if first <= trade.first_id <= last]
        events += engine.handle(TradesRepaired("X", found), 0.0)
    for first, last in engine.symbols["X"].continuity.missing:
        events += engine.handle(RangeUnfillable("X", first, last, "lost"), 0.0)
    events += exchange.answer(engine)
    closed = [event.bar for event in events if event.bar.closed and event.bar.interval == "1m"]
    return {bar.open_time: bar.complete for bar in closed}


@attrs.frozen
class Rest:
    """A REST side that shows a market."""

    market: Market

    async def klines(self, _symbol: str, first_open_time: int, limit: int) -> KlinePage:
        exchange = FakeExchange(self.market.trades)
        times = (first_open_time + number * MINUTE for number in range(limit))
        return KlinePage([bar for time in times if (bar := exchange.kline(time)) is not None])

    async def aggregates_since(self, _symbol: str, time: int, limit: int) -> TradePage:
        return TradePage([trade for trade in self.market.trades if trade.time >= time][:limit])

    async def trades(self, _symbol: str, first_id: int, limit: int) -> TradePage:
        return TradePage([trade for trade in self.market.shown if trade.first_id >= first_id][:limit])


def by_rest(market: Market) -> dict[int, bool]:
    bars = trio.run(traded_bars, cast("TradeSource", Rest(market)), "X", market.start, market.end)
    return {bar.open_time: bar.complete for bar in bars}


def by_archive(market: Market, name: str, rows: Sequence[Sequence[object]]) -> dict[int, bool]:
    with tempfile.TemporaryDirectory() as folder:
        minutes = read_minutes(parse_archive(pack(Path(folder), name, rows)), Path(folder))
    bars = prove_archived_trades(bars_of("X", minutes.table), minutes.seen, [], Carried())
    return {bar.open_time: bar.complete for bar in bars}


def trade_row(trade: Trade) -> list[object]:
    numbers = (trade.price, trade.quantity, quote_units(trade.price, trade.quantity))
    return [trade.first_id, *map(format_units, numbers), trade.time, trade.buyer_is_maker, True]


def aggregate_row(trade: Trade) -> list[object]:
    numbers = map(format_units, (trade.price, trade.quantity))
    return [trade.first_id, *numbers, trade.first_id, trade.last_id, trade.time, trade.buyer_is_maker, True]


def judged(market: Market, verdicts: dict[int, bool]) -> dict[int, bool]:
    traded = {trade.time // MINUTE * MINUTE for trade in market.shown if not trade.is_placeholder}
    return {time: verdicts.get(time, False) for time in traded if market.start <= time < market.end}


@given(markets(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_every_way_gives_the_same_verdicts(market: Market, seed: int) -> None:
    """Stream, REST and archive agree on ``complete`` for every minute that has trades."""
    streamed = by_stream(market, random.Random(seed))
    fetched = by_rest(market)
    archived = by_archive(market, "X-trades-2023-11-15", [trade_row(trade) for trade in market.shown])
    assert judged(market, streamed) == judged(market, fetched) == judged(market, archived)
    if not len(market.lost):
        assert all(judged(market, streamed).values())


@given(markets())
@settings(max_examples=40, deadline=None)
def test_empty_minutes_are_proven_alike(market: Market) -> None:
    """Where no id is missing, stream and REST agree that the minutes without trades are complete."""
    whole = attrs.evolve(market, lost=IdRanges())
    minutes = range(market.start, market.end, MINUTE)
    streamed, fetched = by_stream(whole, random.Random(0)), by_rest(whole)
    assert {time: streamed.get(time) for time in minutes} == {time: fetched.get(time) for time in minutes}


@given(markets(), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_aggregates_prove_what_their_fills_prove(market: Market, seed: int) -> None:
    """A file of aggregates gives the verdicts of the same trades one by one, as long as no fill is truncated."""
    rng = random.Random(seed)
    aggregates: list[Trade] = market.shown[:SINGLE_FILLS_MIN]
    for trade in market.shown[SINGLE_FILLS_MIN:]:
        last = aggregates[-1]
        if (
            (trade.first_id, trade.time) == (last.last_id + 1, last.time)
            and not (trade.is_placeholder or last.is_placeholder)
            and rng.random() < 0.7
        ):
            aggregates[-1] = Trade(
                "X", last.first_id, trade.last_id, last.price, last.quantity + trade.quantity, last.time, False
            )
        else:
            aggregates.append(trade)
    by_fills = by_archive(market, "X-trades-2023-11-15", [trade_row(trade) for trade in market.shown])
    by_aggregates = by_archive(market, "X-aggTrades-2023-11-15", [aggregate_row(each) for each in aggregates])
    assert judged(market, by_aggregates) == judged(market, by_fills)
