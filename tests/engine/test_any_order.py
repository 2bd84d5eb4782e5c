"""Any order, batching and duplication of the same trades ends in the same bars."""

import random
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import DecimalsStated
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity, Sighting
from candled.engine.engine import Engine
from tests.engine.oracle import FakeExchange, agreed, arrived, naive_bars, nine, split

DAY = 1_700_006_400_000_000  # a UTC midnight


@st.composite
def days_of_trades(draw: st.DrawFn, *, aggregates: bool) -> list[Trade]:
    """Contiguous trades over a few hours with bursts, boundaries, placeholders and empty minutes."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    id_, time, price = draw(st.integers(1, 10**12)), DAY + rng.randrange(MINUTE), rng.randrange(1, 10**13)
    trades: list[Trade] = []
    for _ in range(draw(st.integers(2, 120))):
        count = rng.choice((1, 1, 2, 3)) if aggregates else 1
        price = max(1, price + rng.randrange(-(10**6), 10**6))
        # Whole units, so that fills of an aggregate truncate like the aggregate itself.
        quantity = count * rng.randrange(1, 10**9) * (10**8 if aggregates else 1)
        placeholder = not aggregates and len(trades) > 1 and rng.random() < 0.03
        trades.append(
            Trade("X", id_, id_ + count - 1, price, 0 if placeholder else quantity, time, rng.random() < 0.5)
        )
        id_ += count
        step = rng.choice((0, 1000, 100_000, 5_000_000, 20_000_000, 70_000_000, 400_000_000))
        time += rng.randrange(step) if step else 0
        if rng.random() < 0.1:
            time = time // MINUTE * MINUTE + MINUTE
    first, last_id = trades[0].first_id, trades[0].last_id
    trades[0] = Trade("X", first, last_id, price, 6 * 10**8, DAY - 1, True)  # before the start
    last = time // MINUTE * MINUTE + MINUTE
    trades.append(Trade("X", id_, id_, price, 10**8, last, True))
    return trades


def newest(events: list[BarEvent]) -> dict[int, Bar]:
    """What a reader ends up with; asserts what every reader relies on along the way."""
    bars: dict[int, Bar] = {}
    closes, positions = [], []
    for event in events:
        bar = event.bar
        if bar.interval != "1m":
            continue
        if event.kind is BarEventKind.UPDATE:
            assert not bar.closed
            continue
        assert bar.closed
        positions.append(event.position)
        if event.kind is BarEventKind.CLOSE:
            closes.append(bar.open_time)
            assert bar.revision == 0
            assert bar.open_time not in bars
        else:
            assert bar.revision == (bars[bar.open_time].revision + 1 if bar.open_time in bars else 1)
        bars[bar.open_time] = bar
    assert closes == sorted(set(closes))
    assert positions == sorted(set(positions))
    return bars


def shuffled(trades: list[Trade], rng: random.Random) -> list[list[Trade]]:
    """The trades locally or wholly shuffled, some doubled, in batches of any size. The first stays first."""
    reach = rng.choice((0, 3, 30, len(trades)))
    doubled = trades[1:] + rng.choices(trades[1:], k=rng.randrange(len(trades)))
    keyed = sorted(enumerate(doubled), key=lambda pair: pair[0] % (len(trades) - 1) + rng.uniform(0, reach))
    stream = [trade for _, trade in keyed]
    batches = []
    while stream:
        size = rng.choice((1, 2, 10, 1000))
        batches.append(stream[:size])
        stream = stream[size:]
    return batches


@given(st.data(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_order_gives_the_same_bars(data: st.DataObject, aggregates: bool) -> None:
    """Any order, batching and duplication of trades ends in the oracle's bars."""
    trades = data.draw(days_of_trades(aggregates=aggregates))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    exchange = FakeExchange(trades)
    engine = agreed(Engine(["X"]), trades[-1].time)
    engine.handle(DecimalsStated("X", 8, 0), 0.0)  # whole quantities, so that aggregates sum up like their fills
    first = [trades[1]] if len(trades) > 2 else []
    events: list[BarEvent] = []
    for batch in [*([first] if first else []), *shuffled(trades, rng)]:
        events += engine.handle(arrived(batch), 0.0)
        if rng.random() < 0.3:
            events += exchange.answer(engine)
    events += exchange.answer(engine)
    bars = newest(events)
    start = trades[1].time // MINUTE * MINUTE if first else min(bars)
    expected = {at: row for at, row in naive_bars(trades).items() if start <= at < trades[-1].time}
    assert {at: nine(bar) for at, bar in bars.items() if at >= start} == expected
    assert all(bar.complete for at, bar in bars.items() if at > start)
    assert not engine.symbols["X"].continuity.missing


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_overlapping_aggregate_is_not_applied(data: st.DataObject) -> None:
    """An aggregate that overlaps some ids already seen is not applied."""
    check_overlaps(data)


def check_overlaps(data: st.DataObject) -> None:
    """Aggregates and some of their fills, in nearly any order, make the bars of the trades."""
    trades = data.draw(days_of_trades(aggregates=True))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    exchange = FakeExchange(trades)
    engine = agreed(Engine(["X"]), trades[-1].time)
    engine.handle(DecimalsStated("X", 8, 0), 0.0)  # whole quantities, so that aggregates sum up like their fills
    fills = [fill for trade in trades[1:] for fill in split(trade)]
    mixed = sorted(
        trades[2:] + rng.sample(fills, k=rng.randrange(1, len(fills))),
        key=lambda t: t.first_id + rng.uniform(0, 5),
    )
    events = engine.handle(arrived([trades[1]]), 0.0)
    for trade in mixed:
        events += engine.handle(arrived([trade]), 0.0)
    events += exchange.answer(engine)
    bars = newest(events)
    start = trades[1].time // MINUTE * MINUTE
    expected = {at: row for at, row in naive_bars(trades).items() if start <= at < trades[-1].time}
    assert {at: nine(bar) for at, bar in bars.items()} == expected


def test_that_property_notices_an_overlap_that_is_applied() -> None:
    """A planted fault: an aggregate of which a part was seen counts as new. No simulated day shows it reliably."""

    def greedy(self: Continuity, first: int, last: int) -> Sighting:
        sighting = see(self, first, last)
        if sighting is not Sighting.OVERLAP:
            return sighting
        self.see_all(first, last)
        return Sighting.NEW

    see = Continuity.see
    once = settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate])
    with mock.patch.object(Continuity, "see", greedy), pytest.raises((AssertionError, ExceptionGroup)):
        given(st.data())(once(check_overlaps))()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_trades_in_order(data: st.DataObject) -> None:
    """Trades in order give one update each and no revision."""
    trades = data.draw(days_of_trades(aggregates=False))
    engine = agreed(Engine(["X"]), trades[-1].time)
    events: list[BarEvent] = []
    for trade in trades[1:]:
        events += engine.handle(arrived([trade]), 0.0)
    real = [trade for trade in trades[1:] if trade.quantity]
    updates = [event for event in events if event.kind is BarEventKind.UPDATE]
    assert [event.exchange_time for event in updates] == [trade.time for trade in real]
    assert all(event.bar.last_trade_id == t.last_id for event, t in zip(updates, real, strict=True))
    first_minute = trades[1].time // MINUTE
    revised = [
        e.bar for e in events if e.kind is BarEventKind.REVISION and e.bar.open_time // MINUTE > first_minute
    ]
    assert revised == []


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_step_that_becomes_finer_spoils_no_bar(data: st.DataObject) -> None:
    """Aggregates taken before a finer trade showed that they need not sum up like their fills are fetched raw."""
    trades = data.draw(days_of_trades(aggregates=True))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    exchange = FakeExchange(trades)
    engine = agreed(Engine(["X"]), trades[-1].time)
    engine.handle(DecimalsStated("X", 7, 0), 0.0)  # until a price of eight decimals and a split quantity are seen
    last = trades[-1]
    fine = Trade("X", last.last_id + 1, last.last_id + 1, last.price, 10**7 + 1, last.time, True)
    exchange.trades.append(fine)
    first = [trades[1]] if len(trades) > 2 else []
    events: list[BarEvent] = []
    for batch in [*([first] if first else []), *shuffled(trades, rng), [fine]]:
        events += engine.handle(arrived(batch), 0.0)
    events += exchange.answer(engine)
    bars = newest(events)
    start = trades[1].time // MINUTE * MINUTE if first else min(bars, default=0)
    expected = {at: row for at, row in naive_bars(trades).items() if start <= at < trades[-1].time}
    assert {at: nine(bar) for at, bar in bars.items() if at >= start} == expected
    if len(trades) > 2 and trades[1].first_id == trades[1].last_id:
        assert all(bar.complete for at, bar in bars.items() if at > start)
