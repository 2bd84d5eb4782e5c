"""A trade whose time contradicts the agreed time or its neighbours by id closes nothing and spoils no proof."""

from collections.abc import Iterable

import pytest

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import LastTradeFound, ServerTime, StartFound, TradesArrived, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.refusal import TimeRefusal
from candled.domain.status import GapState
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity
from candled.engine.engine import Engine
from candled.engine.trade_gate import CONFIRMATIONS, HOLD_SECONDS
from tests.engine.oracle import agreed

START = 1_700_006_400_000_000
SECOND = 1_000_000


def trade(id_: int, second: float, *, symbol: str = "X") -> Trade:
    return Trade(symbol, id_, id_, 100, 10**8, START + round(second * SECOND), False)


def arrive(
    engine: Engine, *trades: Trade, local: float, event: float | None = None, symbol: str = "X"
) -> list[BarEvent]:
    """Trades from the stream whose event time is right, unless ``event`` says otherwise."""
    said = START + round((local if event is None else event) * SECOND)
    return closed(engine.handle(TradesArrived(list(trades), {symbol: said}, local), local))


def repaired(engine: Engine, *trades: Trade, local: float) -> list[BarEvent]:
    return closed(engine.handle(TradesRepaired("X", list(trades)), local))


def closed(events: Iterable[BarEvent]) -> list[BarEvent]:
    return [event for event in events if event.kind is not BarEventKind.UPDATE and event.bar.interval == "1m"]


def summaries(events: Iterable[BarEvent]) -> list[tuple[str, int, bool, int]]:
    """Return kind, minute, completeness and trade count of each event."""
    return [
        (event.kind.name, (event.bar.open_time - START) // MINUTE, event.bar.complete, event.bar.trade_count)
        for event in events
    ]


def begun() -> Engine:
    """The first minute is proven from its beginning, and exchange time is the local time."""
    engine = agreed(Engine(["X"]), START)
    arrive(engine, trade(10, 1), local=1.0)
    engine.handle(StartFound("X", 9), 1.0)
    repaired(engine, trade(9, -1), local=1.0)
    return engine


def gaps(engine: Engine) -> list[tuple[int, int, GapState, str]]:
    (symbol,) = engine.statistics().symbols
    found = [(gap.first_id, gap.last_id, gap.state, gap.reason) for gap in symbol.gaps]
    return [gap for gap in found if gap[2] is not GapState.FILLED]


def newest(events: Iterable[BarEvent]) -> dict[int, Bar]:
    return {(event.bar.open_time - START) // MINUTE: event.bar for event in events}


# -- before the first agreement -----------------------------------------------------------------------------------


def test_trades_wait_for_first_agreement() -> None:
    """Trades that come before the time is known are counted once it is, and not lost."""
    engine = Engine(["X"])
    assert arrive(engine, trade(10, 1), trade(11, 3e7), local=1.0) == []
    assert engine.symbols["X"].last_trade is None
    for local in (1.0, 1.4):
        engine.handle(ServerTime(START + round(local * SECOND), local, local), local)
    arrive(engine, trade(12, 1.5), local=1.5)
    assert engine.symbols["X"].last_trade == trade(12, 1.5)
    assert engine.symbols["X"].counts.trades == 2
    assert engine.statistics().held_trades == 1


def test_nothing_closes_before_first_agreement() -> None:
    """Without an agreement no clock closes anything."""
    engine = Engine(["X"])
    arrive(engine, trade(10, 1), trade(11, 61), trade(12, 3000), local=1.0)
    assert summaries(engine.advance(500.0)) == []


# -- live trades from the future ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [2, 30 * 60, 55 * 60, 3e7])
@pytest.mark.parametrize("event_lies", [False, True])
def test_trade_from_the_future_closes_nothing(ahead: float, event_lies: bool) -> None:
    """With its event time right or wrong, a trade dated ahead is held, then fetched, and its bar is whole."""
    engine = begun()
    wrong = trade(11, 20 + ahead)
    assert arrive(engine, wrong, local=20.0, event=20 + ahead if event_lies else None) == []
    assert arrive(engine, trade(12, 21), local=21.0) == []
    assert engine.time.now(21.0) <= START + 22 * SECOND
    assert engine.symbols["X"].continuity.missing == [(11, 11)]
    assert repaired(engine, trade(11, 20), local=22.0) == []
    engine.advance(20 + HOLD_SECONDS + 1)
    assert summaries(arrive(engine, trade(13, 61), local=61.0)) == [("CLOSE", 0, True, 4 - 1)]


def test_held_trade_is_refused_with_a_reason() -> None:
    """What stays ahead for seconds counts as existing and not seen, and says why."""
    engine = begun()
    arrive(engine, trade(11, 3600), local=20.0)
    engine.advance(20 + HOLD_SECONDS + 1)
    assert gaps(engine) == [(11, 11, GapState.OPEN, f"refused: {TimeRefusal.AHEAD}")]
    assert engine.statistics().misdated_trades == {TimeRefusal.AHEAD: 1}


def test_true_jump_releases_held_trades() -> None:
    """After a machine's sleep trades wait until the clock confirms the time; then all are counted."""
    engine = begun()
    arrive(engine, trade(11, 3600), local=20.0, event=3600)
    assert engine.symbols["X"].counts.trades == 2
    events = closed(engine.handle(ServerTime(START + round(3600.1 * SECOND), 20.0, 20.1), 20.1))
    assert summaries(events) == [("CLOSE", 0, True, 1)]
    assert engine.symbols["X"].counts.trades == 3
    assert engine.symbols["X"].continuity.missing == []


def test_later_trade_does_not_overtake_one_that_waits() -> None:
    """As soon as readings show that a held trade is right, it is counted: before the next one that comes."""
    engine = begun()
    arrive(engine, trade(11, 21.4), local=20.0)
    assert engine.statistics().held_trades == 1
    engine.handle(ServerTime(START + round(20.9 * SECOND), 20.02, 20.02), 20.02)
    said = {"X": START + round(20.9 * SECOND)}
    events = engine.handle(TradesArrived([trade(12, 21.45)], said, 20.04), 20.04)
    assert [event.bar.last_trade_id for event in events if event.bar.interval == "1m"] == [11, 12]


def test_revisions_are_few() -> None:
    """However often a closed bar changes, what does not complete it makes a few revisions."""
    engine = begun()
    events = closed(engine.advance(61.5))
    for number in range(200):
        local = 61.5 + number / 20
        events += arrive(engine, trade(11 + number, 59.5 + number / 1000), local=local)
    events += closed(engine.advance(80.0))
    assert [event.bar.revision for event in events] == [0, 1, 2, 3][: len(events)]
    events += arrive(engine, trade(211, 81), local=81.0)
    assert newest(events)[0].trade_count == 201
    assert newest(events)[0].complete


# -- against the order of ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [3, 70, 3600, 3e7])
def test_trade_before_its_predecessor_is_fetched(behind: float) -> None:
    """A time before that of a lower id is not believed: REST states the true one."""
    engine = begun()
    arrive(engine, trade(11, 20), local=20.0)
    assert arrive(engine, trade(12, 21 - behind), local=21.0) == []
    reason = TimeRefusal.ORDER if behind < 60 else TimeRefusal.EVENT
    assert gaps(engine) == [(12, 12, GapState.OPEN, f"refused: {reason}")]
    repaired(engine, trade(12, 21), local=22.0)
    assert summaries(arrive(engine, trade(13, 61), local=61.0)) == [("CLOSE", 0, True, 3)]


def test_later_trades_reveal_a_past_time() -> None:
    """A trade that was counted in a later minute than its successors makes both be fetched anew, once."""
    engine = begun()
    arrive(engine, trade(11, 50), local=50.0)
    events = arrive(engine, trade(12, 70), local=75.0)  # its true time is 52
    assert summaries(events) == [("CLOSE", 0, True, 2)]
    arrive(engine, trade(13, 53), trade(14, 74), local=75.1)
    truth = [trade(12, 52), trade(13, 53), trade(14, 74)]
    for _ in range(6):
        if missing := engine.symbols["X"].continuity.missing:
            events += repaired(
                engine, *(t for t in truth if any(a <= t.first_id <= b for a, b in missing)), local=76.0
            )
    events += arrive(engine, trade(15, 125), local=125.0)
    bars = newest(events)
    assert (bars[0].trade_count, bars[0].complete) == (4, True)
    assert (bars[1].trade_count, bars[1].complete) == (1, True)
    assert engine.symbols["X"].continuity.missing == []


def test_lasting_contradiction_is_never_complete() -> None:
    """If REST repeats that ids go back across a minute, those minutes are not complete and say why."""
    engine = begun()
    truth = {11: trade(11, 50), 12: trade(12, 70), 13: trade(13, 53), 14: trade(14, 76)}
    events = arrive(engine, truth[11], truth[12], local=75.0)
    events += arrive(engine, truth[13], local=76.0)
    asked = 0
    while (missing := engine.symbols["X"].continuity.missing) and asked < 20:
        wanted = [truth[id_] for a, b in missing for id_ in range(a, b + 1)]
        events += repaired(engine, *wanted, local=76.0)
        asked += 1
    assert asked <= 2 * CONFIRMATIONS + 2
    events += arrive(engine, truth[14], trade(15, 125), local=125.0)
    events += arrive(engine, trade(16, 185), local=185.0)
    bars = newest(events)
    assert (bars[0].trade_count, bars[0].complete) == (3, False)
    assert (bars[1].trade_count, bars[1].complete) == (2, False)
    assert bars[2].complete
    assert (13, 13, GapState.UNFILLABLE, TimeRefusal.ORDER) in gaps(engine)


# -- trades from REST ---------------------------------------------------------------------------------------------


def test_lower_ids_reveal_a_wrong_id() -> None:
    """A row with an id a little too high is fetched again once a lower id is seconds later."""
    engine = begun()
    arrive(engine, trade(14, 2), local=2.0)
    truth = {10: trade(10, 1), 11: trade(11, 2), 12: trade(12, 5), 13: trade(13, 7), 14: trade(14, 130)}
    for _ in range(3 * CONFIRMATIONS):
        wanted = [truth[id_] for a, b in engine.symbols["X"].continuity.missing for id_ in range(a, b + 1)]
        repaired(engine, *[each for each in wanted if each.time <= START + 8 * SECOND], local=8.0)
    events = arrive(engine, truth[14], local=130.0) + arrive(engine, trade(15, 185), local=185.0)
    bars = newest(events)
    assert [bars[minute].trade_count for minute in (0, 2)] == [4, 1]
    assert bars[0].complete


def test_repaired_trade_from_the_future_is_given_up() -> None:
    """REST states a time ahead twice: the trade is not counted, its id is given up with the reason."""
    engine = begun()
    arrive(engine, trade(12, 20), local=20.0)
    for _ in range(CONFIRMATIONS):
        assert repaired(engine, trade(11, 3600), local=20.0) == []
    assert engine.symbols["X"].continuity.missing == []
    assert [(first, state) for first, _, state, _ in gaps(engine)] == [(11, GapState.UNFILLABLE)]
    assert summaries(arrive(engine, trade(13, 61), local=61.0)) == [("CLOSE", 0, False, 2)]


def test_wrong_repaired_time_is_asked_for_again() -> None:
    """A single wrong time of REST costs one more request."""
    engine = begun()
    arrive(engine, trade(12, 20), local=20.0)
    assert repaired(engine, trade(11, 3600), local=20.0) == []
    assert engine.symbols["X"].continuity.missing == [(11, 11)]
    repaired(engine, trade(11, 15), local=21.0)
    assert summaries(arrive(engine, trade(13, 61), local=61.0)) == [("CLOSE", 0, True, 3)]


def test_moved_time_retries_given_up_ids() -> None:
    """What was given up as too far ahead is asked for again when the time has moved by agreement."""
    engine = begun()
    arrive(engine, trade(12, 20), local=20.0)
    for _ in range(CONFIRMATIONS):
        repaired(engine, trade(11, 19), trade(13, 3600), local=20.0)
    arrive(engine, trade(14, 3601), local=21.0, event=3601)
    engine.handle(ServerTime(START + 3602 * SECOND, 22.0, 22.0), 22.0)
    repaired(engine, local=22.0)
    assert 13 in [first for first, _ in engine.symbols["X"].continuity.missing]


def test_time_set_back_closes_no_minute_twice() -> None:
    """A clock that is set back by seconds at a minute's end closes each minute once, with few revisions."""
    engine = begun()
    events = arrive(engine, trade(11, 58), local=58.0)
    events += arrive(engine, trade(12, 61.5), local=61.5)
    id_, missing = 13, {}
    for tenth in range(620, 1900):
        local = tenth / 10
        true = trade(id_, local - 4)
        missing[id_] = true
        events += arrive(engine, true, local=local, event=local - 4)
        id_ += 1
        if tenth % 50 == 0:
            engine.handle(ServerTime(START + round((local - 4) * SECOND), local, local), local)
        wanted = [
            missing[i] for a, b in engine.symbols["X"].continuity.missing for i in range(a, b + 1) if i in missing
        ]
        if tenth % 5 == 0 and wanted:
            events += repaired(engine, *wanted, local=local)
        events += closed(engine.advance(local))
    closes = [event.bar.open_time for event in events if event.kind is BarEventKind.CLOSE]
    assert sorted(set(closes)) == closes
    assert max(event.bar.revision for event in events) <= 4
    assert engine.time.now(189.9) < START + 187 * SECOND


def test_ids_asked_for_again_are_not_counted_twice() -> None:
    """What was seen after it had been given up stays seen when the exchange is asked for it again."""
    continuity = Continuity()
    continuity.anchor(1, 3)
    continuity.exists(9)
    continuity.give_up(4, 9, "ahead of the exchange time")
    continuity.see(4, 6)
    continuity.ask_again(4, 9)
    assert continuity.missing == [(7, 9)]


def test_first_bar_includes_trades_held_before_agreement() -> None:
    """What the exchange showed as newest trade before does not make the bars begin with a later minute."""
    engine = Engine(["X"])
    engine.handle(LastTradeFound("X", trade(9, -30)), 0.0)
    arrive(engine, trade(10, 1), trade(11, 30), local=30.0)
    events: list[BarEvent] = []
    for local in (125.0, 125.4):
        events += engine.handle(ServerTime(START + round(local * SECOND), local, local), local)
    events += arrive(engine, trade(12, 125.5), local=125.5)
    assert summaries(events)[0] == ("CLOSE", 0, True, 2)
