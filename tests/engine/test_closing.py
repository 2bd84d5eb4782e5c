"""When bars close, what they then say, and what may change afterwards."""

from itertools import count

from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import (
    BarsFetched,
    LastTradeFound,
    MinutesSettled,
    RangeUnfillable,
    ServerTime,
    StartFound,
    TradeExists,
    TradesArrived,
    TradesRepaired,
)
from candled.domain.interval import MINUTE
from candled.domain.status import GapState
from candled.domain.trade import Trade
from candled.engine.engine import CLOSE_GRACE, Engine

START = 1_700_006_400_000_000
SECOND = 1_000_000


def trade(
    id_: int, second: float, *, price: int = 100, last_id: int | None = None, quantity: int = 10**8
) -> Trade:
    return Trade("X", id_, last_id or id_, price, quantity, START + round(second * SECOND), False)


def arrive(engine: Engine, *trades: Trade, local: float = 0.0) -> list[BarEvent]:
    return engine.handle(TradesArrived(list(trades), max(t.time for t in trades), local), local)


def repaired(engine: Engine, *trades: Trade) -> list[BarEvent]:
    return engine.handle(TradesRepaired("X", list(trades)), 0.0)


def clock(engine: Engine, second: float, local: float = 0.0) -> list[BarEvent]:
    engine.handle(ServerTime(START + round(second * SECOND), local, local), local)
    return engine.advance(local)


def settle(engine: Engine, klines: dict[int, Bar | None]) -> list[BarEvent]:
    return engine.handle(MinutesSettled("X", {START + n * MINUTE: bar for n, bar in klines.items()}), 0.0)


def kline(number: int, count: int = 0, price: int = 100) -> Bar:
    at = START + number * MINUTE
    v = count * 10**8
    return Bar(
        "X", "1m", at, at + MINUTE, price, price, price, price, v, v, count, v, v, *(NO_TRADE,) * 3, True
    )  # fmt: skip


def told(events: list[BarEvent]) -> list[tuple[str, int, bool, int]]:
    """Kind, minute, complete, revision of what was told of closed bars."""
    return [
        (event.kind.name, (event.bar.open_time - START) // MINUTE, event.bar.complete, event.bar.revision)
        for event in events
        if event.kind is not BarEventKind.UPDATE
    ]


def begun() -> Engine:
    """An engine whose first minute is proven from its beginning: trade 9 lies before it."""
    engine = Engine(["X"])
    arrive(engine, trade(10, 1))
    engine.handle(StartFound("X", 9), 0.0)
    repaired(engine, trade(9, -1))
    return engine


def test_a_bar_closes_with_the_first_trade_past_its_end_and_is_complete() -> None:
    engine = begun()
    assert told(arrive(engine, trade(11, 59.999999))) == []
    assert told(arrive(engine, trade(12, 60))) == [("CLOSE", 0, True, 0)]


def test_a_symbol_that_is_silent_at_the_first_start_has_bars_from_the_current_minute_on() -> None:
    engine = Engine(["X"])
    clock(engine, 150)
    engine.handle(LastTradeFound("X", trade(9, 5, price=7)), 0.0)
    clock(engine, 181)
    events = settle(engine, {2: kline(2, price=7)})
    assert told(events) == [("CLOSE", 2, False, 0)]
    assert (events[0].bar.close, events[0].bar.previous_trade_id) == (7, 9)
    assert told(arrive(engine, trade(10, 185))) == [("REVISION", 2, True, 1)]


def test_a_symbol_last_traded_in_the_current_minute_has_that_minute_whole() -> None:
    engine = Engine(["X"])
    clock(engine, 150)
    engine.handle(LastTradeFound("X", trade(9, 130)), 0.0)
    symbol = engine.symbols["X"]
    assert (symbol.wanted_start, symbol.continuity.missing) == (START + 2 * MINUTE, [(9, 9)])
    engine.handle(StartFound("X", 7), 0.0)
    repaired(engine, trade(7, 10), trade(8, 125), trade(9, 130))
    assert told(arrive(engine, trade(10, 181))) == [("CLOSE", 2, True, 0)]


def test_a_trade_exactly_on_the_boundary_opens_the_new_bar() -> None:
    engine = begun()
    events = arrive(engine, trade(11, 60, price=7))
    assert [event.kind.name for event in events] == ["CLOSE", "UPDATE"]
    assert (events[0].bar.last_trade_id, events[1].bar.first_trade_id, events[1].bar.open) == (10, 11, 7)


def test_a_bar_closes_by_exchange_time_after_the_grace_but_is_not_yet_proven() -> None:
    engine = begun()
    assert told(clock(engine, 60 + CLOSE_GRACE / SECOND - 0.001)) == []
    assert told(clock(engine, 60 + CLOSE_GRACE / SECOND)) == [("CLOSE", 0, False, 0)]


def test_the_next_trade_proves_a_bar_that_the_clock_closed() -> None:
    engine = begun()
    clock(engine, 61)
    assert told(arrive(engine, trade(11, 65))) == [("REVISION", 0, True, 1)]


def test_time_passes_by_the_local_clock_at_the_exchanges_rate() -> None:
    engine = begun()
    for local in (0.0, 1.0, 2.0, 3.0):  # ten times as fast
        engine.handle(ServerTime(START + round(local * 10 * SECOND), local, local), local)
    assert abs(engine.seconds_to_next_close(3.0) - 3.1) < 0.01
    assert told(engine.advance(6.05)) == []
    assert told(engine.advance(6.2)) == [("CLOSE", 0, False, 0)]


def test_a_late_trade_makes_a_revision() -> None:
    engine = begun()
    arrive(engine, trade(12, 61))  # 11 is missing
    events = arrive(engine, trade(11, 30, price=500))
    assert told(events) == [("REVISION", 0, True, 1)]
    assert events[-1].bar.high == 500


def test_a_bar_beside_a_gap_closes_incomplete_and_is_revised_once_when_it_is_filled() -> None:
    engine = begun()
    assert told(arrive(engine, trade(20, 65))) == [("CLOSE", 0, False, 0)]
    assert engine.symbols["X"].continuity.missing == [(11, 19)]
    assert told(repaired(engine, *(trade(i, 30) for i in range(11, 15)))) == []
    assert told(repaired(engine, *(trade(i, 61) for i in range(15, 20)))) == [("REVISION", 0, True, 1)]


def test_a_minute_inside_a_gap_is_withheld_until_the_gap_is_filled() -> None:
    engine = begun()
    assert told(arrive(engine, trade(20, 130))) == [("CLOSE", 0, False, 0)]
    assert told(arrive(engine, trade(21, 185))) == [("CLOSE", 2, False, 0)]
    assert engine.symbols["X"].unsettled() == []
    filled = repaired(engine, *(trade(i, 70) for i in range(11, 20)))
    assert told(filled) == [("REVISION", 0, True, 1), ("REVISION", 1, True, 1), ("REVISION", 2, True, 1)]


def test_an_empty_minute_waits_for_the_exchanges_kline_and_repeats_the_close() -> None:
    engine = begun()
    arrive(engine, trade(11, 65, price=300))
    assert told(clock(engine, 185)) == [("CLOSE", 1, False, 0)]
    assert engine.symbols["X"].unsettled() == [(START + 2 * MINUTE, START + 2 * MINUTE)]
    events = settle(engine, {2: kline(2)})
    assert told(events) == [("CLOSE", 2, False, 0)]
    bar = events[-1].bar
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (300, 300, 300, 300, 0, 0)
    assert (bar.first_trade_id, bar.last_trade_id, bar.previous_trade_id) == (NO_TRADE, NO_TRADE, 11)
    assert told(arrive(engine, trade(12, 190))) == [("REVISION", 1, True, 1), ("REVISION", 2, True, 1)]


def test_no_bar_is_invented_while_the_exchange_is_down() -> None:
    engine = begun()
    clock(engine, 50 * 60)
    assert told(settle(engine, dict.fromkeys(range(1, 50)))) == []
    assert told(arrive(engine, trade(11, 50 * 60 + 1))) == [("REVISION", 0, True, 1)]
    assert engine.symbols["X"].unsettled() == []


def test_a_kline_with_trades_that_were_not_seen_opens_a_gap() -> None:
    engine = begun()
    clock(engine, 125)
    assert told(settle(engine, {1: kline(1, count=3)})) == []
    assert engine.symbols["X"].continuity.missing == [(11, 13)]


def test_a_trade_known_only_from_rest_opens_a_gap() -> None:
    engine = begun()
    engine.handle(TradeExists("X", 15), 0.0)
    assert engine.symbols["X"].continuity.missing == [(11, 15)]


def test_an_unfillable_gap_leaves_its_bars_incomplete_and_is_listed_with_the_reason() -> None:
    engine = begun()
    arrive(engine, trade(20, 65))
    repaired(engine, *(trade(i, 30) for i in range(11, 15)))
    events = engine.handle(RangeUnfillable("X", 15, 19, "not to be had"), 0.0)
    assert told(events) == [("REVISION", 0, False, 1)]  # it gained trades 11 to 14
    gap = engine.symbols["X"].continuity.gaps()[0]
    assert (gap.first_id, gap.last_id, gap.state.value, gap.reason) == (15, 19, "unfillable", "not to be had")
    assert told(arrive(engine, trade(21, 121))) == [("CLOSE", 1, False, 0)]
    assert told(arrive(engine, trade(22, 181))) == [("CLOSE", 2, True, 0)]


def test_klines_with_trades_that_were_not_seen_open_one_gap_for_all_of_them() -> None:
    engine = begun()
    clock(engine, 301)
    assert told(settle(engine, {1: kline(1), 2: kline(2, count=3), 3: kline(3), 4: kline(4, count=5)})) == [
        ("CLOSE", 1, False, 0)
    ]
    assert engine.symbols["X"].continuity.missing == [(11, 18)]


def test_an_empty_minute_after_one_taken_from_its_kline_repeats_that_ones_close() -> None:
    engine = begun()
    arrive(engine, trade(14, 181))
    engine.handle(RangeUnfillable("X", 11, 13, "not there"), 0.0)
    events = settle(engine, {1: kline(1, count=3, price=120), 2: kline(2, price=120)})
    empty = next(event.bar for event in events if event.bar.open_time == START + 2 * MINUTE)
    assert (empty.open, empty.close, empty.trade_count) == (120, 120, 0)


def test_a_minute_whose_trades_are_unfillable_is_taken_from_its_kline() -> None:
    engine = begun()
    arrive(engine, trade(13, 130), trade(14, 185))
    engine.handle(RangeUnfillable("X", 11, 12, "gone"), 0.0)
    events = settle(engine, {1: kline(1, count=2)})
    # Its count meets the known ids at both ends: that proves it, and the bars beside it too.
    assert told(events) == [("REVISION", 1, True, 1), ("REVISION", 0, True, 1), ("REVISION", 2, True, 1)]
    assert (events[0].bar.first_trade_id, events[0].bar.last_trade_id) == (11, 12)
    events = settle(engine, {1: kline(1, count=2)})
    assert told(events) == []


def test_a_minute_of_unfillable_newest_ids_is_taken_from_its_kline() -> None:
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


def test_bars_from_klines_fill_a_long_absence_in_order() -> None:
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
    assert told(events) == [
        *(("CLOSE", n, True, 0) for n in range(1, 9)),
        ("REVISION", 0, True, 1),
    ]
    assert engine.symbols["X"].continuity.missing == [(next_id, 999)]


def test_the_first_bar_of_all_is_incomplete_until_the_trade_before_it_is_known() -> None:
    engine = Engine(["X"])
    arrive(engine, trade(10, 30))
    assert engine.symbols["X"].wanted_start == START
    assert told(arrive(engine, trade(11, 61))) == [("CLOSE", 0, False, 0)]
    engine.handle(StartFound("X", 7), 0.0)
    assert engine.symbols["X"].continuity.missing == [(7, 9)]
    assert told(repaired(engine, trade(7, -5), trade(8, 1, price=3), trade(9, 2))) == [("REVISION", 0, True, 1)]


def test_a_placeholder_before_the_first_bar_proves_nothing_and_the_trade_before_it_is_fetched() -> None:
    engine = Engine(["X"])
    arrive(engine, trade(7, 5))
    engine.handle(StartFound("X", 6), 0.0)
    repaired(engine, trade(6, -5, quantity=0))
    assert engine.symbols["X"].continuity.missing == [(5, 5)]
    repaired(engine, trade(5, -9))
    (bar,) = [event.bar for event in arrive(engine, trade(8, 61)) if event.kind is BarEventKind.CLOSE]
    assert (bar.first_trade_id, bar.previous_trade_id, bar.complete) == (7, 5, True)


def test_a_silent_symbol_whose_newest_trade_is_a_placeholder_has_its_bars_at_the_price_before_it() -> None:
    engine = Engine(["X"])
    clock(engine, 10)
    engine.handle(LastTradeFound("X", trade(6, -5, quantity=0)), 0.0)
    assert engine.symbols["X"].continuity.missing == [(6, 6)]
    repaired(engine, trade(6, -5, quantity=0))
    repaired(engine, trade(5, -9, price=123))
    clock(engine, 70)
    (event,) = settle(engine, {0: kline(0)})
    assert (event.bar.close, event.bar.trade_count) == (123, 0)


def test_a_placeholder_takes_an_id_but_is_no_trade() -> None:
    engine = begun()
    events = arrive(engine, trade(11, 30, quantity=0), trade(12, 31))
    assert [event.bar.trade_count for event in events] == [2]
    assert told(arrive(engine, trade(13, 61))) == [("CLOSE", 0, True, 0)]


def test_each_trade_gives_one_update_and_a_duplicate_gives_none() -> None:
    engine = begun()
    assert len(arrive(engine, trade(11, 30), trade(12, 31))) == 2
    assert arrive(engine, trade(12, 31)) == []
    assert engine.symbols["X"].counts.duplicates == 1


def test_going_on_from_a_stored_bar_fetches_what_came_after_it() -> None:
    first = begun()
    stored = arrive(first, trade(11, 60))[0].bar
    engine = Engine(["X"])
    engine.symbols["X"].restore([stored])
    assert told(arrive(engine, trade(15, 190))) == []
    assert engine.symbols["X"].continuity.missing == [(11, 14)]
    events = repaired(engine, trade(11, 60), trade(12, 70), trade(13, 125), trade(14, 180))
    assert told(events) == [("CLOSE", 1, True, 0), ("CLOSE", 2, True, 0)]


def test_a_stored_incomplete_bar_is_rebuilt_whole_and_revised() -> None:
    first = begun()
    stored = arrive(first, trade(20, 65))[0].bar
    assert not stored.complete
    engine = Engine(["X"])
    engine.symbols["X"].restore([stored])
    arrive(engine, trade(20, 65))
    assert engine.symbols["X"].continuity.missing == [(10, 19)]
    events = repaired(engine, *(trade(i, 30) for i in range(10, 20)))
    assert told(events) == [("REVISION", 0, True, 1)]
    assert events[-1].bar.trade_count == 10


def test_a_stored_bar_that_closed_before_a_repair_does_not_make_repaired_trades_count_again() -> None:
    first = begun()
    arrive(first, trade(13, 125))  # trades 11 and 12 are missing
    late = arrive(first, trade(14, 181))[0].bar
    assert (late.open_time, late.previous_trade_id, late.complete) == (START + 2 * MINUTE, 10, False)
    repaired_bars = [event.bar for event in repaired(first, trade(11, 30), trade(12, 70)) if event.bar.closed]
    engine = Engine(["X"])
    engine.symbols["X"].restore([*repaired_bars[:2], late])  # a crash lost the last revision
    assert engine.symbols["X"].continuity.missing == [(13, 13)]


def test_a_stored_bar_is_proven_from_ids_of_whole_bars_that_stay_out_of_memory() -> None:
    def stored(number: int, count: int, first: int, last: int, previous: int, *, complete: bool) -> Bar:
        ids = {"first_trade_id": first, "last_trade_id": last, "previous_trade_id": previous}
        return replace(kline(number, count), **ids, complete=complete)

    engine = Engine(["X"])
    engine.symbols["X"].restore(
        [
            stored(0, 1, 11, 11, NO_TRADE, complete=False),  # the first bar ever, whose trades are not to be had
            stored(1, 0, NO_TRADE, NO_TRADE, 11, complete=True),
            stored(2, 2, 12, 13, 11, complete=True),
            stored(3, 0, NO_TRADE, NO_TRADE, 13, complete=True),
            stored(4, 1, 14, 14, 13, complete=False),
        ]
    )
    engine.handle(StartFound("X", 9), 0.0)
    repaired(engine, trade(9, -1))
    engine.handle(RangeUnfillable("X", 10, 11, "gone"), 0.0)
    events = arrive(engine, trade(14, 270), trade(15, 301))
    assert told(events) == [("REVISION", 4, True, 1)]


def test_a_stored_bar_is_never_replaced_by_a_poorer_one() -> None:
    first = begun()
    arrive(first, trade(11, 5), trade(12, 6))
    stored = clock(first, 61)[0].bar
    assert stored.trade_count == 3
    engine = Engine(["X"])
    engine.symbols["X"].restore([stored])
    arrive(engine, trade(13, 65))
    repaired(engine, trade(10, 1))
    assert told(engine.handle(RangeUnfillable("X", 11, 12, "gone"), 0.0)) == []


def test_a_trade_of_a_minute_that_left_memory_brings_it_back_from_the_history() -> None:
    engine = begun()
    closed = []
    for minute in range(1, 30):
        closed += arrive(engine, trade(10 + minute, minute * 60 + 1))
    old = next(event.bar for event in closed if event.bar.closed and event.bar.open_time == START + 2 * MINUTE)
    # Ids that go back in time: the documents do not promise that they never do.
    assert told(arrive(engine, trade(40, 2 * 60 + 30))) == []
    symbol = engine.symbols["X"]
    assert symbol.to_reopen == [START + 2 * MINUTE]
    symbol.reopen(START + 2 * MINUTE, old)
    assert symbol.continuity.missing == [(12, 12), (40, 40)]
    events = repaired(engine, trade(12, 2 * 60 + 1), trade(40, 2 * 60 + 30))
    revised = [event.bar for event in events if event.bar.open_time == START + 2 * MINUTE]
    assert [(bar.trade_count, bar.revision) for bar in revised] == [(2, 1)]


def test_a_minute_that_was_brought_back_is_told_when_its_trades_are_there_and_not_before() -> None:
    engine = begun()
    closed = []
    for minute in range(1, 30):
        ids = [id_ for id_ in (10 + 2 * minute, 11 + 2 * minute) if id_ not in (11, 15)]
        closed += arrive(engine, *(trade(id_, minute * 60 + id_ % 2, price=100 + minute) for id_ in ids))
        engine.handle(RangeUnfillable("X", 11, 11, "gone"), 0.0)
        engine.handle(RangeUnfillable("X", 15, 15, "gone"), 0.0)
    old = [event.bar for event in closed if event.bar.closed and event.bar.open_time == START + 2 * MINUTE][-1]
    symbol = engine.symbols["X"]
    assert told(repaired(engine, trade(15, 121))) == []  # the exchange had it after all
    assert symbol.to_reopen == [START + 2 * MINUTE]
    symbol.reopen(START + 2 * MINUTE, old)
    assert told(arrive(engine, trade(70, 1801))) == [("CLOSE", 29, True, 0)], "nothing of the minute is there yet"
    events = repaired(engine, trade(14, 120, price=102), trade(15, 121, price=99))
    assert told(events) == [("REVISION", 2, True, old.revision + 1)]
    (bar,) = (event.bar for event in events if event.bar.closed)
    assert (bar.trade_count, bar.open, bar.close, bar.previous_trade_id) == (2, 102, 99, 13)


def test_positions_rise_with_everything_that_is_to_be_stored() -> None:
    engine = Engine(["X"], next_position=count(1 << 32).__next__)
    events = []
    for minute in range(5):
        events += arrive(engine, trade(10 + minute, minute * 60 + 1))
    positions = [event.position for event in events if event.bar.closed]
    assert positions == list(range(1 << 32, (1 << 32) + len(positions)))
    assert all(event.position == 0 for event in events if not event.bar.closed)


def test_a_trade_dated_years_ahead_closes_nothing_and_is_fetched_instead() -> None:
    engine = begun()
    for local in (0.0, 1.0, 2.0, 3.0):
        engine.handle(ServerTime(START + round((20 + local) * SECOND), local, local), local)
    absurd = trade(11, 10 * 365 * 86_400.0)
    assert arrive(engine, absurd, trade(12, 23), local=3.0)[0].bar.trade_count == 2
    assert engine.time.now(3.0) < START + 60 * SECOND
    assert engine.symbols["X"].continuity.missing == [(11, 11)]
    assert told(repaired(engine, trade(11, 22.5))) == []
    assert told(arrive(engine, trade(13, 61), local=41.0)) == [("CLOSE", 0, True, 0)]


def test_an_exchange_that_runs_fast_is_not_taken_for_absurd() -> None:
    engine = begun()
    for local in (0.0, 1.0, 2.0):
        engine.handle(ServerTime(START + round(local * 10_000 * SECOND), local, local), local)
    arrive(engine, trade(11, 20_000 + 2 * 10_000 + 5), local=4.0)
    assert engine.absurd_trades == 0
