"""Ids that cannot follow those known: one bad row is no gap, and ids that are reset begin a new epoch."""

import pytest
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import (
    LastTradeFound,
    NewestTradeStated,
    SymbolAdded,
    TradeExists,
    TradesRepaired,
)
from candled.domain.interval import MINUTE
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.status import GapState
from candled.engine.engine import Engine
from candled.engine.id_watch import CANDIDATE_TRADES, FILLED_MAX
from candled.engine.restoring import of_newest_epoch
from tests.engine.oracle import agreed
from tests.engine.test_trade_times import START, arrive, begun, gaps, newest, repaired, summaries, trade

OLD = 5_000_000
"""Ids of the epoch before."""


def later(engine: Engine, first_id: int, *, second: float, trades: int = CANDIDATE_TRADES) -> list[BarEvent]:
    """Trades in a row, half a second apart, that each come by themselves."""
    events = []
    for number in range(trades):
        at = second + number / 2
        events += arrive(engine, trade(first_id + number, at), local=at)
    return events


def with_old_ids() -> Engine:
    """An engine whose first minute is under way, with ids from ``OLD`` on."""
    engine = agreed(Engine(["X"]), START)
    for number in range(20):
        arrive(engine, trade(OLD + number, 1 + number), local=1.0 + number)
    engine.symbols["X"].start_found(OLD - 1)
    repaired(engine, trade(OLD - 1, -1), local=20.5)
    return engine


# -- one bad row --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [10**9, 2**63 - 1, ID_JUMP_MAX * 3])
def test_one_id_far_ahead_is_no_gap(wrong: int) -> None:
    """What one row says of ids far ahead is not believed: nothing is missing, and the bar stays provable."""
    engine = begun()
    arrive(engine, trade(11, 2), trade(wrong, 3), local=3.0)
    assert gaps(engine) == []
    events = later(engine, 12, second=4) + arrive(engine, trade(12 + CANDIDATE_TRADES, 61), local=61.0)
    assert summaries(events) == [("CLOSE", 0, True, 2 + CANDIDATE_TRADES)]
    assert engine.statistics().symbols[0].ids_refused == 1


@pytest.mark.parametrize("wrong", [10**9, 2**63 - 1])
@pytest.mark.parametrize("source", ["heartbeat", "newest trade", "repaired"])
def test_far_id_from_another_source_is_no_gap(source: str, wrong: int) -> None:
    """A heartbeat, the newest trade or a repair with an id far ahead opens no gap."""
    engine = begun()
    match source:
        case "heartbeat":
            engine.handle(TradeExists("X", wrong), 2.0)
        case "newest trade":
            engine.handle(LastTradeFound("X", trade(wrong, 2)), 2.0)
        case _:
            engine.handle(TradesRepaired("X", [trade(wrong, 2)]), 2.0)
    assert gaps(engine) == []
    assert summaries(arrive(engine, trade(11, 61), local=61.0)) == [("CLOSE", 0, True, 1)]


def test_jump_after_a_long_time_is_a_gap() -> None:
    """After an hour without a connection a million ids may have come."""
    engine = begun()
    arrive(engine, trade(1_000_000, 3_600), local=3_600.0)
    assert (11, 999_999, GapState.OPEN, "") in gaps(engine)


def test_confirmed_jump_is_a_gap() -> None:
    """Many trades in a row and the exchange's REST side agree: what lies between is fetched."""
    engine = begun()
    later(engine, 1_000_000, second=2)
    assert "X" in engine.symbols_to_repair
    engine.handle(NewestTradeStated("X", trade(1_000_004, 4)), 4.5)
    assert gaps(engine) == [(11, 1_000_004, GapState.OPEN, "")]
    assert engine.statistics().id_epochs == {}


# -- ids that are reset ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_id", [0, 1, 1_000, OLD - 1_000_000, OLD + 2 * FILLED_MAX])
def test_reset_ids_begin_an_epoch(first_id: int) -> None:
    """The minute in which they did is not complete; those after it are, and the old gaps are of no concern."""
    engine = with_old_ids()
    arrive(engine, trade(OLD + 25, 22), local=22.0)
    later(engine, first_id, second=30)
    engine.handle(NewestTradeStated("X", trade(first_id + 4, 32)), 32.5)
    events = arrive(engine, trade(first_id + 5, 40), local=40.0)
    events += arrive(engine, trade(first_id + 6, 70), local=70.0)
    events += [event for event in engine.advance(70.0) if event.bar.interval == "1m"]
    events += arrive(engine, trade(first_id + 7, 121), local=121.0)
    assert summaries(events) == [("CLOSE", 0, False, 21), ("CLOSE", 1, True, 1)]
    (gap,) = gaps(engine)
    assert gap[:3] == (first_id, first_id, GapState.UNFILLABLE)
    assert "trade ids were reset here" in gap[3]
    assert engine.statistics().id_epochs == {"X": 1}


def test_few_lower_ids_are_no_epoch() -> None:
    """A handful of lower ids does not begin a new epoch."""
    engine = with_old_ids()
    later(engine, 7, second=30, trades=CANDIDATE_TRADES - 1)
    assert "X" not in engine.symbols_to_repair
    engine.handle(NewestTradeStated("X", trade(10, 31)), 32.0)
    assert engine.statistics().id_epochs == {}
    assert summaries(arrive(engine, trade(OLD + 20, 61), local=61.0)) == [("CLOSE", 0, True, 20)]


def test_lower_ids_beside_old_ones_are_no_epoch() -> None:
    """Many lower ids are refused if the exchange's newest trade continues the old ids."""
    engine = with_old_ids()
    later(engine, 7, second=30)
    engine.handle(NewestTradeStated("X", trade(OLD + 19, 20)), 33.0)
    assert engine.statistics().id_epochs == {}
    assert engine.symbols["X"].ids.ready is None
    assert summaries(arrive(engine, trade(OLD + 20, 61), local=61.0)) == [("CLOSE", 0, True, 20)]


def test_scattered_wrong_ids_are_no_candidate() -> None:
    """After a reset nothing continues the old ids: wrong ids now and then never add up to one."""
    engine = with_old_ids()
    for number in range(3 * CANDIDATE_TRADES):
        arrive(engine, trade(7 + number, 30 + 4 * number), local=30.0 + 4 * number)
        arrive(engine, trade(OLD + 20 + number, 32 + 4 * number), local=32.0 + 4 * number)
    assert engine.statistics().symbols[0].ids_refused == 3 * CANDIDATE_TRADES
    assert engine.symbols["X"].ids.ready is None


@pytest.mark.parametrize("first_id", [7, OLD + 10])
def test_outdated_newest_trade_begins_no_epoch(first_id: int) -> None:
    """REST may be behind the stream: its newest trade says nothing of ids that came after it."""
    engine = with_old_ids()
    later(engine, first_id, second=30)
    assert engine.symbols["X"].ids.ready is not None
    arrive(engine, trade(OLD + 20, 34), local=34.0)
    engine.handle(NewestTradeStated("X", trade(first_id + 4, 34)), 35.0)
    assert engine.statistics().id_epochs == {}
    assert summaries(arrive(engine, trade(OLD + 21, 61), local=61.0)) == [("CLOSE", 0, True, 21)]


def test_late_trades_of_low_ids_are_no_candidate() -> None:
    """What a repair or a slow connection brings late has an old time."""
    engine = with_old_ids()
    for number in range(2 * CANDIDATE_TRADES):
        arrive(engine, trade(OLD + number, 1 + number), local=30.0, event=1 + number)
    assert engine.symbols["X"].ids.ready is None
    assert engine.statistics().symbols[0].ids_refused == 0


def test_epoch_is_recognised_at_a_restart() -> None:
    """Stored bars end with ids that are higher than all that come now."""
    first = with_old_ids()
    (event,) = arrive(first, trade(OLD + 20, 61), local=61.0)
    engine = agreed(Engine(), START + MINUTE)
    engine.handle(SymbolAdded("X", [event.bar]), 0.0)
    for number in range(CANDIDATE_TRADES):
        arrive(engine, trade(100 + number, 3_600 + number), local=3_540.0 + number, event=3_600 + number)
    engine.handle(NewestTradeStated("X", trade(104, 3_604)), 3_545.0)
    arrive(engine, trade(105, 3_661), local=3_601.0, event=3_661)
    events = arrive(engine, trade(106, 3_721), local=3_661.0, event=3_721)
    assert summaries(events)[-1:] == [("CLOSE", 61, True, 1)]
    assert engine.symbols["X"].continuity.missing == []


def test_restart_continues_the_newest_epoch() -> None:
    """Stored bars of two epochs: ids of the older one are neither missing nor proof."""
    engine = with_old_ids()
    later(engine, 7, second=30)
    engine.handle(NewestTradeStated("X", trade(11, 32)), 32.5)
    events = arrive(engine, trade(12, 61), local=61.0)
    events += [event for event in engine.advance(62.5) if event.bar.interval == "1m"]
    events += arrive(engine, trade(13, 121), local=121.0)
    bars = [bar for _, bar in sorted(newest(events).items())]
    assert [bar.trade_count for bar in bars] == [20, 1]
    assert of_newest_epoch(bars) == bars[1:]
    again = agreed(Engine(), START + 2 * MINUTE)
    again.handle(SymbolAdded("X", bars), 0.0)
    arrive(again, trade(13, 121), local=1.0, event=121)
    (event,) = arrive(again, trade(14, 181), local=61.0, event=181)
    assert (event.bar.trade_count, event.bar.complete) == (1, True)
    assert gaps(again) == []


def test_interleaved_ids_are_one_epoch() -> None:
    """Bars whose ids overlap slightly, and bars without ids, stay in the newest epoch."""

    def bar(minute: int, first_id: int, last_id: int, previous_id: int) -> Bar:
        count = last_id - first_id + 1
        close_time = START + (minute + 1) * MINUTE
        return Bar(
            *("X", "1m", START + minute * MINUTE, close_time, 1, 1, 1, 1, 1, 1, count, 1, 1),
            *(first_id, last_id, previous_id, True, True, 0),
        )

    bars = [bar(0, 10, 20, 9), bar(1, 19, 19, 20), bar(2, 21, 30, 20)]
    assert of_newest_epoch(bars) == bars
    without_ids = replace(bar(3, 31, 32, 5), first_trade_id=NO_TRADE, last_trade_id=NO_TRADE)
    assert of_newest_epoch([*bars, without_ids]) == [*bars, without_ids]


def test_wrong_first_id_is_corrected() -> None:
    """The very first trade had a wrong id: what follows, and the exchange, say otherwise."""
    engine = agreed(Engine(["X"]), START)
    arrive(engine, trade(2**63 - 1, 1), local=1.0)
    later(engine, 10, second=3)
    engine.handle(NewestTradeStated("X", trade(14, 5)), 6.0)
    arrive(engine, trade(15, 61), local=61.0)
    events = arrive(engine, trade(16, 121), local=121.0)
    assert summaries(events)[-1] == ("CLOSE", 1, True, 1)
