"""When bars close, what they then say, and what may change afterwards."""

from itertools import count

import pytest
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import (
    BarsFetched,
    LastTradeFound,
    MinutesLoaded,
    MinutesSettled,
    RangeUnfillable,
    ServerTime,
    StartFound,
    SymbolAdded,
    TradeExists,
    TradesArrived,
    TradesRepaired,
)
from candled.domain.interval import MINUTE
from candled.domain.status import GapState
from candled.domain.trade import Trade
from candled.engine.coverage import Coverage
from candled.engine.engine import CLOSE_GRACE, Engine
from candled.engine.minutes import MinuteBuilder

START = 1_700_006_400_000_000
SECOND = 1_000_000


def trade(
    id_: int, second: float, *, price: int = 100, last_id: int | None = None, quantity: int = 10**8
) -> Trade:
    return Trade("X", id_, last_id or id_, price, quantity, START + round(second * SECOND), False)


def minutes(events: list[BarEvent]) -> list[BarEvent]:
    """The events of 1-minute bars."""
    return [event for event in events if event.bar.interval == "1m"]


def agreed(engine: Engine, time: int = START, rate: float = 1.0) -> Engine:
    """The engine once its sources agreed: the local clock shows the seconds since ``time``."""
    for local in (-0.6, -0.3, 0.0):
        engine.handle(ServerTime(time + round(local * rate * SECOND), local, local), local)
    engine.time.observe({"ANOTHER": time}, 0.0)
    return engine


def now(engine: Engine) -> float:
    """The local clock as it was last."""
    return (engine.time._shown - START) / SECOND


def arrive(engine: Engine, *trades: Trade, local: float | None = None) -> list[BarEvent]:
    newest = max(t.time for t in trades)
    local = max(now(engine), (newest - START) / SECOND) if local is None else local
    return minutes(engine.handle(TradesArrived(list(trades), {"X": newest}, local), local))


def repaired(engine: Engine, *trades: Trade) -> list[BarEvent]:
    return minutes(engine.handle(TradesRepaired("X", list(trades)), now(engine)))


def clock(engine: Engine, second: float) -> list[BarEvent]:
    engine.handle(ServerTime(START + round(second * SECOND), second, second), second)
    return minutes(engine.advance(second))


def settle(engine: Engine, klines: dict[int, Bar | None]) -> list[BarEvent]:
    settled = MinutesSettled("X", {START + n * MINUTE: bar for n, bar in klines.items()})
    return minutes(engine.handle(settled, now(engine)))


def kline(number: int, count: int = 0, price: int = 100) -> Bar:
    at = START + number * MINUTE
    v = count * 10**8
    return Bar(
        "X", "1m", at, at + MINUTE, price, price, price, price, v, v, count, v, v, *(NO_TRADE,) * 3, True
    )  # fmt: skip


def emitted(events: list[BarEvent]) -> list[tuple[str, int, bool, int]]:
    """Kind, minute, complete, revision of what was emitted of closed bars."""
    return [
        (event.kind.name, (event.bar.open_time - START) // MINUTE, event.bar.complete, event.bar.revision)
        for event in events
        if event.kind is not BarEventKind.UPDATE and event.bar.interval == "1m"
    ]


def restore(engine: Engine, bars: list[Bar]) -> None:
    engine.handle(SymbolAdded("X", bars), 0.0)


def begun() -> Engine:
    """An engine whose first minute is proven from its beginning: trade 9 lies before it."""
    engine = agreed(Engine(["X"]))
    arrive(engine, trade(10, 1))
    engine.handle(StartFound("X", 9), 0.0)
    repaired(engine, trade(9, -1))
    return engine


def test_next_minutes_trade_closes_a_bar_complete() -> None:
    engine = begun()
    assert emitted(arrive(engine, trade(11, 59.999999))) == []
    assert emitted(arrive(engine, trade(12, 60))) == [("CLOSE", 0, True, 0)]


def test_silent_symbol_begins_with_the_current_minute() -> None:
    engine = agreed(Engine(["X"]))
    clock(engine, 150)
    engine.handle(LastTradeFound("X", trade(9, 5, price=7)), now(engine))
    clock(engine, 181)
    events = settle(engine, {2: kline(2, price=7)})
    assert emitted(events) == [("CLOSE", 2, False, 0)]
    assert (events[0].bar.close, events[0].bar.previous_trade_id) == (7, 9)
    assert emitted(arrive(engine, trade(10, 185))) == [("REVISION", 2, True, 1)]


def test_first_minute_is_complete() -> None:
    """The minute in which a start falls is fetched from its beginning."""
    engine = agreed(Engine(["X"]))
    clock(engine, 150)
    engine.handle(LastTradeFound("X", trade(9, 130)), now(engine))
    symbol = engine.symbols["X"]
    assert (symbol.wanted_start, symbol.continuity.missing) == (START + 2 * MINUTE, [(9, 9)])
    engine.handle(StartFound("X", 7), 0.0)
    repaired(engine, trade(7, 10), trade(8, 125), trade(9, 130))
    assert emitted(arrive(engine, trade(10, 181))) == [("CLOSE", 2, True, 0)]


def test_trade_on_the_boundary() -> None:
    """A trade exactly on the boundary opens the new bar."""
    engine = begun()
    events = arrive(engine, trade(11, 60, price=7))
    assert [event.kind.name for event in events] == ["CLOSE", "UPDATE"]
    assert (events[0].bar.last_trade_id, events[1].bar.first_trade_id, events[1].bar.open) == (10, 11, 7)


def test_clock_closes_a_bar_incomplete_after_the_grace() -> None:
    engine = begun()
    assert emitted(clock(engine, 60 + CLOSE_GRACE / SECOND - 0.001)) == []
    assert emitted(clock(engine, 60 + CLOSE_GRACE / SECOND)) == [("CLOSE", 0, False, 0)]


def test_next_trade_proves_a_clock_closed_bar() -> None:
    engine = begun()
    clock(engine, 61)
    assert emitted(arrive(engine, trade(11, 65))) == [("REVISION", 0, True, 1)]


def test_local_clock_is_scaled_by_the_exchanges_rate() -> None:
    engine = agreed(Engine(["X"]), rate=10)
    arrive(engine, trade(10, 1), local=0.1)
    assert abs(engine.seconds_to_next_close(3.0) - 3.1) < 0.02
    assert emitted(engine.advance(6.05)) == []
    assert emitted(engine.advance(6.2)) == [("CLOSE", 0, False, 0)]


def test_a_late_trade_makes_a_revision() -> None:
    engine = begun()
    arrive(engine, trade(12, 61))  # 11 is missing
    events = arrive(engine, trade(11, 30, price=500))
    assert emitted(events) == [("REVISION", 0, True, 1)]
    assert events[-1].bar.high == 500


def test_filled_gap_revises_its_bar_once() -> None:
    engine = begun()
    assert emitted(arrive(engine, trade(20, 65))) == [("CLOSE", 0, False, 0)]
    assert engine.symbols["X"].continuity.missing == [(11, 19)]
    assert emitted(repaired(engine, *(trade(i, 30) for i in range(11, 15)))) == []
    assert emitted(repaired(engine, *(trade(i, 61) for i in range(15, 20)))) == [("REVISION", 0, True, 1)]


def test_minute_in_a_gap_is_withheld() -> None:
    """A minute inside a gap is withheld until the gap is filled."""
    engine = begun()
    assert emitted(arrive(engine, trade(20, 130))) == [("CLOSE", 0, False, 0)]
    assert emitted(arrive(engine, trade(21, 185))) == [("CLOSE", 2, False, 0)]
    assert engine.symbols["X"].unsettled() == []
    filled = repaired(engine, *(trade(i, 70) for i in range(11, 20)))
    assert emitted(filled) == [("REVISION", 0, True, 1), ("REVISION", 1, True, 1), ("REVISION", 2, True, 1)]


def test_empty_minute_waits_for_its_kline() -> None:
    """An empty minute closes once its kline says so, and repeats the close before it."""
    engine = begun()
    arrive(engine, trade(11, 65, price=300))
    assert emitted(clock(engine, 185)) == [("CLOSE", 1, False, 0)]
    assert engine.symbols["X"].unsettled() == [(START + 2 * MINUTE, START + 2 * MINUTE)]
    events = settle(engine, {2: kline(2)})
    assert emitted(events) == [("CLOSE", 2, False, 0)]
    bar = events[-1].bar
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (300, 300, 300, 300, 0, 0)
    assert (bar.first_trade_id, bar.last_trade_id, bar.previous_trade_id) == (NO_TRADE, NO_TRADE, 11)
    assert emitted(arrive(engine, trade(12, 190))) == [("REVISION", 1, True, 1), ("REVISION", 2, True, 1)]


def test_close_repeats_over_undecided_minutes() -> None:
    """Empty minutes after one without a kline repeat the close before that one."""
    engine = begun()
    arrive(engine, trade(11, 301))
    assert settle(engine, {2: kline(2), 3: kline(3)}) == []
    events = settle(engine, {1: None, 2: kline(2, price=7), 3: kline(3, price=7)})
    assert [((event.bar.open_time - START) // MINUTE, event.bar.close) for event in events] == [(2, 100), (3, 100)]


def test_price_by_kline_alone_is_not_complete() -> None:
    """After a long silence the close before it may be in no minute in memory."""
    coverage = Coverage()
    builder = MinuteBuilder("X", coverage, count().__next__, lambda _open_time: None)
    builder.timeline.resume(START, START + 3 * MINUTE, [(START + MINUTE, START + MINUTE)])
    coverage.continuity.anchor(10, 20)
    events: list[BarEvent] = []
    builder.settle_by_klines({START + MINUTE: kline(1, price=77)}, START + 4 * MINUTE, events)
    ((bar, kind),) = [(event.bar, event.kind) for event in events]
    assert (kind, bar.close, bar.trade_count, bar.complete) == (BarEventKind.REVISION, 77, 0, False)


@pytest.mark.parametrize("minutes_between", [1, 4])
def test_known_price_completes_an_empty_minute(minutes_between: int) -> None:
    """After a restart the bars before it are rebuilt while its kline is at hand, which may be wrong, too."""
    first = begun()
    stored = [event.bar for event in arrive(first, trade(12, 65, price=130)) if event.bar.closed]
    stored += [event.bar for event in clock(first, 125) if event.bar.closed]
    for number in range(2, 2 + minutes_between):
        clock(first, number * 60 + 65)
        stored += [event.bar for event in settle(first, {number: kline(number)}) if event.bar.closed]
    assert [bar.complete for bar in stored] == [False] * (2 + minutes_between)
    engine, silent = agreed(Engine(["X"])), 2 + minutes_between
    restore(engine, stored)
    clock(engine, silent * 60 + 65)
    at_once = settle(engine, {silent: kline(silent, price=77)})
    assert [(event.bar.close, event.bar.complete) for event in at_once] == [(77, False)]
    repaired(engine, trade(10, 1), trade(11, 50), trade(12, 65, price=130))
    revised = arrive(engine, trade(13, silent * 60 + 130))
    newest = {event.bar.open_time: event.bar for event in revised if event.bar.closed}[START + silent * MINUTE]
    assert (newest.close, newest.trade_count, newest.complete) == (130, 0, True)


def test_exchange_down_gives_no_bars() -> None:
    """While the exchange is down there are no klines, and so no bars."""
    engine = begun()
    clock(engine, 50 * 60)
    assert emitted(settle(engine, dict.fromkeys(range(1, 50)))) == []
    assert emitted(arrive(engine, trade(11, 50 * 60 + 1))) == [("REVISION", 0, True, 1)]
    assert engine.symbols["X"].unsettled() == []


def test_kline_with_unseen_trades_opens_a_gap() -> None:
    engine = begun()
    clock(engine, 125)
    assert emitted(settle(engine, {1: kline(1, count=3)})) == []
    assert engine.symbols["X"].continuity.missing == [(11, 13)]


def test_trade_by_rest_opens_a_gap() -> None:
    """A trade that only REST has shown makes the ids before it missing."""
    engine = begun()
    engine.handle(TradeExists("X", 15), 0.0)
    assert engine.symbols["X"].continuity.missing == [(11, 15)]


def test_unfillable_gap_is_listed_with_its_reason() -> None:
    engine = begun()
    arrive(engine, trade(20, 65))
    repaired(engine, *(trade(i, 30) for i in range(11, 15)))
    events = engine.handle(RangeUnfillable("X", 15, 19, "not to be had"), 0.0)
    assert emitted(events) == [("REVISION", 0, False, 1)]  # it gained trades 11 to 14
    gap = engine.symbols["X"].continuity.gaps()[0]
    assert (gap.first_id, gap.last_id, gap.state.value, gap.reason) == (15, 19, "unfillable", "not to be had")
    assert emitted(arrive(engine, trade(21, 121))) == [("CLOSE", 1, False, 0)]
    assert emitted(arrive(engine, trade(22, 181))) == [("CLOSE", 2, True, 0)]


def test_klines_with_unseen_trades_open_one_gap() -> None:
    engine = begun()
    clock(engine, 301)
    assert emitted(settle(engine, {1: kline(1), 2: kline(2, count=3), 3: kline(3), 4: kline(4, count=5)})) == [
        ("CLOSE", 1, False, 0)
    ]
    assert engine.symbols["X"].continuity.missing == [(11, 18)]


def test_empty_minute_repeats_the_close_of_a_kline() -> None:
    engine = begun()
    arrive(engine, trade(14, 181))
    engine.handle(RangeUnfillable("X", 11, 13, "not there"), 0.0)
    events = settle(engine, {1: kline(1, count=3, price=120), 2: kline(2, price=120)})
    empty = next(event.bar for event in events if event.bar.open_time == START + 2 * MINUTE)
    assert (empty.open, empty.close, empty.trade_count) == (120, 120, 0)


def test_unfillable_minute_takes_its_kline() -> None:
    """A minute whose trades cannot be had is taken from its kline."""
    engine = begun()
    arrive(engine, trade(13, 130), trade(14, 185))
    engine.handle(RangeUnfillable("X", 11, 12, "gone"), 0.0)
    events = settle(engine, {1: kline(1, count=2)})
    # Its count meets the known ids at both ends: that proves it, and the bars beside it too.
    assert emitted(events) == [("REVISION", 1, True, 1), ("REVISION", 0, True, 1), ("REVISION", 2, True, 1)]
    assert (events[0].bar.first_trade_id, events[0].bar.last_trade_id) == (11, 12)
    events = settle(engine, {1: kline(1, count=2)})
    assert emitted(events) == []


def test_unfillable_newest_ids_take_the_kline() -> None:
    """The same where its ids are the newest ones."""
    engine = begun()
    arrive(engine, trade(11, 5))
    engine.handle(TradeExists("X", 12), 0.0)
    clock(engine, 130)
    assert engine.symbols["X"].unsettled() == []
    engine.handle(RangeUnfillable("X", 12, 12, "the exchange passed over it"), 0.0)
    events = settle(engine, {1: kline(1, 1, price=110)})
    assert [(bar.trade_count, bar.close, bar.complete) for bar in (e.bar for e in events)] == [(1, 110, False)]
    assert [(gap.first_id, gap.state) for gap in engine.symbols["X"].continuity.gaps()] == [
        (12, GapState.UNFILLABLE)
    ]


def test_klines_fill_an_absence_in_order() -> None:
    """Bars from klines fill a long absence in the order of time."""
    engine = begun()
    arrive(engine, trade(1000, 600.5))
    fetched = [kline(n, count=110) for n in range(1, 10)]
    bars = []
    next_id = 11
    for bar in fetched[:-1]:
        ids = {"first_trade_id": next_id, "last_trade_id": next_id + 109, "previous_trade_id": next_id - 1}
        bars.append(replace(bar, **ids, complete=True))
        next_id += 110
    events = engine.handle(BarsFetched("X", bars), 0.0)
    assert emitted(events) == [
        *(("CLOSE", n, True, 0) for n in range(1, 9)),
        ("REVISION", 0, True, 1),
    ]
    assert engine.symbols["X"].continuity.missing == [(next_id, 999)]


def test_first_bar_is_incomplete_without_the_trade_before() -> None:
    engine = agreed(Engine(["X"]))
    arrive(engine, trade(10, 30))
    assert engine.symbols["X"].wanted_start == START
    assert emitted(arrive(engine, trade(11, 61))) == [("CLOSE", 0, False, 0)]
    engine.handle(StartFound("X", 7), 0.0)
    assert engine.symbols["X"].continuity.missing == [(7, 9)]
    assert emitted(repaired(engine, trade(7, -5), trade(8, 1, price=3), trade(9, 2))) == [("REVISION", 0, True, 1)]


def test_placeholder_before_the_first_bar_proves_nothing() -> None:
    """The trade before the placeholder is fetched instead."""
    engine = agreed(Engine(["X"]))
    arrive(engine, trade(7, 5))
    engine.handle(StartFound("X", 6), 0.0)
    repaired(engine, trade(6, -5, quantity=0))
    assert engine.symbols["X"].continuity.missing == [(5, 5)]
    repaired(engine, trade(5, -9))
    (bar,) = [event.bar for event in arrive(engine, trade(8, 61)) if event.kind is BarEventKind.CLOSE]
    assert (bar.first_trade_id, bar.previous_trade_id, bar.complete) == (7, 5, True)


def test_newest_placeholder_sets_no_price() -> None:
    """A silent symbol's bars take the price of the trade before the placeholder."""
    engine = agreed(Engine(["X"]))
    clock(engine, 10)
    engine.handle(LastTradeFound("X", trade(6, -5, quantity=0)), now(engine))
    assert engine.symbols["X"].continuity.missing == [(6, 6)]
    repaired(engine, trade(6, -5, quantity=0))
    repaired(engine, trade(5, -9, price=123))
    clock(engine, 70)
    (event,) = settle(engine, {0: kline(0)})
    assert (event.bar.close, event.bar.trade_count) == (123, 0)


def test_placeholder_adds_nothing() -> None:
    """A placeholder takes an id and adds nothing to the bar."""
    engine = begun()
    events = arrive(engine, trade(11, 30, quantity=0), trade(12, 31))
    assert [event.bar.trade_count for event in events] == [2]
    assert emitted(arrive(engine, trade(13, 61))) == [("CLOSE", 0, True, 0)]


def test_duplicate_gives_no_update() -> None:
    """Each trade gives one update, a duplicate none."""
    engine = begun()
    assert len(arrive(engine, trade(11, 30), trade(12, 31))) == 2
    assert arrive(engine, trade(12, 31)) == []
    assert engine.symbols["X"].counts.duplicates == 1


def test_restart_fetches_trades_after_the_stored_bar() -> None:
    first = begun()
    stored = arrive(first, trade(11, 60))[0].bar
    engine = agreed(Engine(["X"]))
    restore(engine, [stored])
    assert emitted(arrive(engine, trade(15, 190))) == []
    assert engine.symbols["X"].continuity.missing == [(11, 14)]
    events = repaired(engine, trade(11, 60), trade(12, 70), trade(13, 125), trade(14, 180))
    assert emitted(events) == [("CLOSE", 1, True, 0), ("CLOSE", 2, True, 0)]


def test_stored_incomplete_bar_is_rebuilt_and_revised() -> None:
    first = begun()
    stored = arrive(first, trade(20, 65))[0].bar
    assert not stored.complete
    engine = agreed(Engine(["X"]))
    restore(engine, [stored])
    arrive(engine, trade(20, 65))
    assert engine.symbols["X"].continuity.missing == [(10, 19)]
    events = repaired(engine, *(trade(i, 30) for i in range(10, 20)))
    assert emitted(events) == [("REVISION", 0, True, 1)]
    assert events[-1].bar.trade_count == 10


def test_repaired_trades_count_once_after_a_restart() -> None:
    """A stored bar that closed before a repair does not reopen the gap that the repair filled."""
    first = begun()
    arrive(first, trade(13, 125))  # trades 11 and 12 are missing
    late = arrive(first, trade(14, 181))[0].bar
    assert (late.open_time, late.previous_trade_id, late.complete) == (START + 2 * MINUTE, 10, False)
    repaired_bars = [event.bar for event in repaired(first, trade(11, 30), trade(12, 70)) if event.bar.closed]
    engine = agreed(Engine(["X"]))
    restore(engine, [*repaired_bars[:2], late])  # a crash lost the last revision
    assert engine.symbols["X"].continuity.missing == [(13, 13)]


def test_evicted_complete_bars_prove_a_stored_bar() -> None:
    """The ids of complete bars that are not in memory count as seen."""

    def stored(number: int, count: int, first: int, last: int, previous: int, *, complete: bool) -> Bar:
        ids = {"first_trade_id": first, "last_trade_id": last, "previous_trade_id": previous}
        return replace(kline(number, count), **ids, complete=complete)

    engine = agreed(Engine(["X"]))
    restore(
        engine,
        [
            stored(0, 1, 11, 11, NO_TRADE, complete=False),  # the first bar ever, whose trades are not to be had
            stored(1, 0, NO_TRADE, NO_TRADE, 11, complete=True),
            stored(2, 2, 12, 13, 11, complete=True),
            stored(3, 0, NO_TRADE, NO_TRADE, 13, complete=True),
            stored(4, 1, 14, 14, 13, complete=False),
        ],
    )
    engine.handle(StartFound("X", 9), 0.0)
    repaired(engine, trade(9, -1))
    engine.handle(RangeUnfillable("X", 10, 11, "gone"), 0.0)
    events = arrive(engine, trade(14, 270), trade(15, 301))
    assert emitted(events) == [("REVISION", 4, True, 1)]


def test_fuller_stored_bar_is_never_replaced() -> None:
    first = begun()
    arrive(first, trade(11, 5), trade(12, 6))
    stored = clock(first, 61)[0].bar
    assert stored.trade_count == 3
    engine = agreed(Engine(["X"]))
    restore(engine, [stored])
    arrive(engine, trade(13, 65))
    repaired(engine, trade(10, 1))
    assert emitted(engine.handle(RangeUnfillable("X", 11, 12, "gone"), 0.0)) == []


def test_reloaded_minute_is_emitted_with_its_trades() -> None:
    """A minute read back from the history is emitted once its missing trades came, not before."""
    engine = begun()
    closed = []
    for minute in range(1, 30):
        ids = [id_ for id_ in (10 + 2 * minute, 11 + 2 * minute) if id_ not in (11, 15)]
        closed += arrive(engine, *(trade(id_, minute * 60 + id_ % 2, price=100 + minute) for id_ in ids))
        engine.handle(RangeUnfillable("X", 11, 11, "gone"), 0.0)
        engine.handle(RangeUnfillable("X", 15, 15, "gone"), 0.0)
    old = [event.bar for event in closed if event.bar.closed and event.bar.open_time == START + 2 * MINUTE][-1]
    assert emitted(repaired(engine, trade(15, 121))) == []  # the exchange had it after all
    assert [(need.interval, need.open_time) for need in engine.take_minutes_needed()] == [
        ("1m", START + 2 * MINUTE)
    ]
    engine.handle(MinutesLoaded("X", "1m", START + 2 * MINUTE, [old]), 0.0)
    assert emitted(arrive(engine, trade(70, 1801))) == [("CLOSE", 29, True, 0)], (
        "nothing of the minute is there yet"
    )
    events = repaired(engine, trade(14, 120, price=102), trade(15, 121, price=99))
    assert emitted(events) == [("REVISION", 2, True, old.revision + 1)]
    (bar,) = (event.bar for event in events if event.bar.closed)
    assert (bar.trade_count, bar.open, bar.close, bar.previous_trade_id) == (2, 102, 99, 13)


def test_positions_rise_with_each_closed_bar() -> None:
    engine = agreed(Engine(["X"], next_position=count(1 << 32).__next__))
    events = []
    for minute in range(5):
        events += arrive(engine, trade(10 + minute, minute * 60 + 1))
    positions = [event.position for event in events if event.bar.closed]
    assert positions == list(range(1 << 32, (1 << 32) + len(positions)))
    assert all(event.position == 0 for event in events if not event.bar.closed)


def test_late_close_reaches_evicted_minutes() -> None:
    """A trade that was given up arrives after all, when its minute and the empty one after it left memory."""
    engine = begun()
    stored: dict[int, Bar] = {}

    def keep(events: list[BarEvent]) -> None:
        stored.update({event.bar.open_time: event.bar for event in events if event.bar.closed})

    keep(arrive(engine, trade(12, 121)))
    keep(minutes(engine.handle(RangeUnfillable("X", 11, 11, "not there"), now(engine))))
    keep(settle(engine, {1: kline(1)}))
    for number in range(20):
        keep(arrive(engine, trade(13 + number, 181 + 60 * number)))
    assert [(stored[START + n * MINUTE].close, stored[START + n * MINUTE].complete) for n in (0, 1)] == [
        (100, False),
        (100, False),
    ]
    late = trade(11, 30, price=105)
    keep(repaired(engine, late))
    for _ in range(3):
        for needed in engine.take_minutes_needed():
            if needed.interval == "1m":
                loaded = MinutesLoaded("X", "1m", needed.open_time, [stored[needed.open_time]])
                keep(minutes(engine.handle(loaded, now(engine))))
        wanted = {10: trade(10, 1), 11: late}
        missing = [wanted[id_] for a, b in engine.symbols["X"].continuity.missing for id_ in range(a, b + 1)]
        keep(repaired(engine, *missing))
    assert [(stored[START + n * MINUTE].close, stored[START + n * MINUTE].complete) for n in (0, 1)] == [
        (105, True),
        (105, True),
    ]
    assert not engine.symbols["X"].minutes.waits_for_reload


def test_unrevised_minute_reads_nothing_back() -> None:
    """A minute rebuilt from less than it once had keeps its bar, so nothing that follows it is requested."""
    engine = begun()
    stored: dict[int, Bar] = {}

    def keep(events: list[BarEvent]) -> None:
        stored.update({event.bar.open_time: event.bar for event in events if event.bar.closed})

    keep(arrive(engine, trade(11, 2), trade(13, 61)))
    keep(minutes(engine.handle(RangeUnfillable("X", 12, 12, "not there"), now(engine))))
    for number in range(20):
        keep(arrive(engine, trade(14 + number, 121 + 60 * number)))
    late, requested = trade(12, 30, price=105), []
    for _ in range(5):
        keep(repaired(engine, late))
        for needed in [each for each in engine.take_minutes_needed() if each.interval == "1m"]:
            requested.append((needed.open_time - START) // MINUTE)
            loaded = MinutesLoaded("X", "1m", needed.open_time, [stored[needed.open_time]])
            keep(minutes(engine.handle(loaded, now(engine))))
        keep(minutes(engine.handle(RangeUnfillable("X", 10, 11, "not there any more"), now(engine))))
    assert requested == [0]
    assert (stored[START].trade_count, stored[START].close) == (2, 100)


@pytest.mark.parametrize("again", [11, 12])
def test_reloaded_minute_corrects_its_bar(again: int) -> None:
    """Trades came with times of the minute before, which was empty then; asked for again, REST states theirs."""
    engine = begun()
    stored: dict[int, Bar] = {}

    def keep(events: list[BarEvent]) -> None:
        stored.update({event.bar.open_time: event.bar for event in events if event.bar.closed})

    keep(arrive(engine, trade(11, 30, price=105), trade(12, 31, price=106)))
    keep(arrive(engine, trade(13, 121)))
    keep(settle(engine, {1: kline(1, price=106)}))
    for number in range(20):
        keep(arrive(engine, trade(14 + number, 181 + 60 * number)))
    assert [(stored[START + n * MINUTE].trade_count, stored[START + n * MINUTE].complete) for n in (0, 1)] == [
        (3, True),
        (0, True),
    ]
    market = {9: trade(9, -1), 10: trade(10, 1), 11: trade(11, 90, price=105), 12: trade(12, 91, price=106)}
    continuity = engine.symbols["X"].continuity
    continuity.unsee(again, again)
    for _ in range(20):
        for needed in engine.take_minutes_needed():
            if needed.interval == "1m":
                loaded = MinutesLoaded("X", "1m", needed.open_time, [stored[needed.open_time]])
                keep(minutes(engine.handle(loaded, now(engine))))
        keep(repaired(engine, *(market[id_] for a, b in continuity.missing for id_ in range(a, b + 1))))

    assert continuity.missing == []
    assert not engine.symbols["X"].minutes.waits_for_reload
    found = [stored[START + n * MINUTE] for n in (0, 1)]
    assert [(bar.first_trade_id, bar.last_trade_id, bar.complete) for bar in found] == [
        (10, 10, True),
        (11, 12, True),
    ]
