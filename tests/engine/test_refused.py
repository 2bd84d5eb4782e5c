"""Refused trades exist: their ids are gaps with a reason, and what they touch is not complete."""

from candled.domain.feed_event import RangeUnfillable, TradesArrived, TradesRefused, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.status import GapState
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from tests.engine.oracle import agreed

START = 1_700_006_400_000_000


def trade(number: int, minute: int = 0) -> Trade:
    return Trade("X", number, number, 100, 10**8, START + minute * MINUTE + number * 1000, False)


def engine_with(*trades: Trade) -> Engine:
    engine = agreed(Engine(["X"]), START + 2 * MINUTE + MINUTE)
    engine.handle(TradesArrived(list(trades), {}, 0.0), 0.0)
    engine.symbols["X"].start_found(0)
    return engine


def test_refused_trade_is_a_gap() -> None:
    """It is wanted, and the status says why it was not taken."""
    engine = engine_with(trade(0), trade(1))
    engine.handle(TradesRefused("X", 2, 2, "price out of range"), 0.0)
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == [(2, 2)]
    assert [(gap.state, gap.reason) for gap in engine.statistics().symbols[0].gaps] == [
        (GapState.OPEN, "refused: price out of range")
    ]


def test_rest_replaces_a_refused_trade() -> None:
    """Nothing is left of the refusal."""
    engine = engine_with(trade(0), trade(1))
    engine.handle(TradesRefused("X", 2, 2, "price out of range"), 0.0)
    engine.handle(TradesRepaired("X", [trade(2)]), 0.0)
    assert engine.symbols["X"].continuity.missing == []
    assert [gap.state for gap in engine.statistics().symbols[0].gaps] == [GapState.FILLED]


def test_refused_trade_leaves_its_bar_incomplete() -> None:
    """Given up, the gap says that it was refused on the stream and over REST."""
    engine = engine_with(trade(0), trade(1))
    engine.handle(TradesRefused("X", 2, 2, "price out of range"), 0.0)
    engine.handle(RangeUnfillable("X", 2, 2, "refused: time out of range"), 0.0)
    events = engine.handle(TradesArrived([trade(3), trade(4, 1), trade(5, 2)], {}, 0.0), 0.0)
    closed = {event.bar.open_time: event.bar for event in events if event.bar.closed}
    assert not closed[START].complete
    (gap,) = engine.statistics().symbols[0].gaps
    assert gap.state is GapState.UNFILLABLE
    assert gap.reason == "refused: price out of range on the stream; refused: time out of range"


def test_refused_id_far_ahead() -> None:
    """No gap of a billion comes of one row that is wrong in other ways too."""
    engine = engine_with(trade(0), trade(1))
    engine.handle(TradesRefused("X", 2 + ID_JUMP_MAX, 2 + ID_JUMP_MAX, "x"), 0.0)
    engine.handle(TradesRefused("X", 2**63 - 1, 2**63 - 1, "x"), 0.0)
    assert engine.symbols["X"].continuity.missing == []


def test_refused_copy_is_no_gap() -> None:
    """Two connections may differ: one good copy is enough."""
    engine = engine_with(trade(0), trade(1))
    engine.handle(TradesRefused("X", 1, 1, "price out of range"), 0.0)
    assert engine.statistics().symbols[0].gaps == ()


def test_what_is_remembered_of_refusals_is_bounded() -> None:
    """However many rows are refused, memory does not grow with them."""
    engine = engine_with(trade(0), trade(1))
    for number in range(2, 5000):
        engine.handle(TradesRefused("X", number, number, "x"), 0.0)
    symbol = engine.symbols["X"]
    assert symbol.continuity.missing == [(2, 4999)]
    assert symbol.continuity.refusals_known <= 1000
