"""The exchange states its newest trade id: that finds gaps in silence and proves bars without a later trade."""

import pytest

from candled.domain.event import BarEvent
from candled.domain.feed_event import NewestId, NewestIdsStated, RangeUnfillable
from candled.domain.status import GapState
from candled.engine.engine import Engine
from tests.engine.test_closing import SECOND, START, arrive, begun, clock, emitted, minutes, repaired, trade


def state(engine: Engine, trade_id: int, second: float, *, received: float | None = None) -> list[BarEvent]:
    received = second if received is None else received
    newest = NewestId("X", trade_id, START + round(second * SECOND))
    return minutes(engine.handle(NewestIdsStated((newest,), received), received))


def test_higher_id_opens_a_gap() -> None:
    """Trades that the stream lost are missed without a later trade."""
    engine = begun()
    state(engine, 15, 5)
    assert engine.symbols["X"].continuity.missing == [(11, 15)]


def test_id_far_ahead_is_not_believed() -> None:
    """One statement does not make a gap of a billion trades."""
    engine = begun()
    state(engine, 10**9, 5)
    assert engine.symbols["X"].continuity.missing == []


@pytest.mark.parametrize("ahead", [2, 1_000, 90_000])
def test_id_that_was_stated_too_early_is_withdrawn(ahead: int) -> None:
    """A trade of a lower id that was made after the statement refutes it, and statements prove bars again."""
    engine = begun()
    state(engine, 10 + ahead, 5)
    state(engine, 10, 6)
    arrive(engine, trade(11, 20))
    assert engine.symbols["X"].continuity.missing == []
    state(engine, 11, 60.5)
    assert emitted(clock(engine, 61.5)) == [("CLOSE", 0, True, 0)]


def test_earlier_trades_refute_no_statement() -> None:
    """They may be late."""
    engine = begun()
    state(engine, 15, 5)
    arrive(engine, trade(12, 4), local=5.5)
    assert engine.symbols["X"].continuity.missing == [(11, 11), (13, 15)]


def test_given_up_ids_are_fetched_later() -> None:
    """The exchange did not have them when they were stated; now one of them was lost."""
    engine = begun()
    state(engine, 30, 5)
    engine.handle(RangeUnfillable("X", 11, 30, "passed over"), 5.5)
    assert engine.symbols["X"].continuity.missing == []
    arrive(engine, trade(12, 20))
    assert engine.symbols["X"].continuity.missing == [(11, 11)]
    assert [(gap.first_id, gap.state) for gap in engine.symbols["X"].continuity.gaps()] == [(11, GapState.OPEN)]


def test_statement_that_came_true_is_not_withdrawn() -> None:
    """What is missing below it stays so."""
    engine = begun()
    state(engine, 12, 5)
    arrive(engine, trade(12, 5.5))
    arrive(engine, trade(13, 20))
    assert engine.symbols["X"].continuity.missing == [(11, 11)]


def test_statement_after_the_end_proves_a_closed_bar() -> None:
    """The last trade of the minute is still the newest when the minute is over."""
    engine = begun()
    assert emitted(clock(engine, 61.5)) == [("CLOSE", 0, False, 0)]
    assert emitted(state(engine, 10, 59.9, received=61.6)) == []
    assert emitted(state(engine, 10, 60, received=61.7)) == [("REVISION", 0, True, 1)]


def test_statement_before_the_close_proves_the_bar() -> None:
    """A bar that the clock closes is complete at once where the proof came first."""
    engine = begun()
    state(engine, 10, 60.5)
    assert emitted(clock(engine, 61.5)) == [("CLOSE", 0, True, 0)]


def test_missing_trades_are_not_proven() -> None:
    """A higher id than the last one seen says that a trade is missing, of whatever minute."""
    engine = begun()
    clock(engine, 61.5)
    assert emitted(state(engine, 11, 62)) == []
    assert emitted(repaired(engine, trade(11, 59))) == [("REVISION", 0, True, 1)]


def test_outdated_statement_proves_nothing() -> None:
    """A statement that knows less than the stream says nothing about what the stream may still lack."""
    engine = begun()
    arrive(engine, trade(11, 30))
    clock(engine, 61.5)
    assert emitted(state(engine, 10, 62)) == []


def test_silent_minute_closes_without_a_kline() -> None:
    """Nothing was traded in a minute if the id before it is still the newest when it is over."""
    engine = begun()
    clock(engine, 125)
    events = state(engine, 10, 121, received=125.1)
    assert emitted(events) == [("CLOSE", 1, True, 0), ("REVISION", 0, True, 1)]
    assert [(bar.bar.close, bar.bar.trade_count) for bar in events[:1]] == [(100, 0)]
    assert engine.symbols["X"].unsettled() == []


def test_unseen_ids_keep_a_silent_minute_open() -> None:
    """Ids that were given up may be trades of it: without a later trade it is not closed as empty."""
    engine = begun()
    state(engine, 12, 30)
    engine.handle(RangeUnfillable("X", 11, 12, "its time is not believed"), 0.0)
    clock(engine, 125)
    assert emitted(state(engine, 12, 121, received=125.1)) == []
    arrive(engine, trade(13, 126))
    assert emitted(state(engine, 13, 126.5)) == [("CLOSE", 1, False, 0)]


def test_running_minute_is_not_settled() -> None:
    """Only minutes that were over when the exchange stated it are."""
    engine = begun()
    clock(engine, 125)
    assert emitted(state(engine, 10, 119, received=125.1)) == [("REVISION", 0, True, 1)]
    assert engine.symbols["X"].unsettled() == [(START + 60 * SECOND, START + 60 * SECOND)]


def test_time_in_the_future_proves_nothing() -> None:
    """A statement of a time that cannot be yet does not close or prove anything."""
    engine = begun()
    clock(engine, 61.5)
    assert emitted(state(engine, 10, 3600, received=62)) == []


def test_late_trade_takes_the_proof_along() -> None:
    """A trade that contradicts what was stated revises the bar, and the next statement proves it."""
    engine = begun()
    state(engine, 10, 60.5)
    clock(engine, 61.5)
    arrive(engine, trade(11, 59.9), local=62.0)
    assert emitted(state(engine, 11, 62.5)) == [("REVISION", 0, True, 1)]
