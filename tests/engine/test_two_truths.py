"""Two sources that say different things of one trade id: its bar is never complete, and both are named."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.feed_event import FeedEvent, SymbolAdded, TradesArrived, TradesRepaired
from candled.domain.interval import MINUTE
from candled.domain.status import Gap, GapState
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity
from candled.engine.engine import Engine
from candled.engine.testimony import REMEMBERED
from tests.engine.oracle import agreed

START = 1_700_006_400_000_000


def trade(number: int, minute: int = 0, last: int | None = None) -> Trade:
    return Trade(
        "X", number, number if last is None else last, 100, 10**8, START + minute * MINUTE + number, False
    )


def live(*trades: Trade) -> FeedEvent:
    return TradesArrived(list(trades), {}, 0.0)


def repaired(*trades: Trade) -> FeedEvent:
    return TradesRepaired("X", list(trades))


def bars_of(engine: Engine, *batches: FeedEvent) -> dict[int, Bar]:
    """The newest closed bars after these batches, by minute."""
    bars = {}
    for batch in batches:
        for event in engine.handle(batch, 0.0):
            if event.bar.closed and event.bar.interval == "1m":
                bars[(event.bar.open_time - START) // MINUTE] = event.bar
    return bars


def begun() -> Engine:
    engine = agreed(Engine(["X"]), START + 100 * MINUTE)
    engine.handle(live(trade(0)), 0.0)
    engine.symbols["X"].start_found(0)
    return engine


OTHERS = (
    replace(trade(2, 1), price=101),
    replace(trade(2, 1), quantity=1),
    replace(trade(2, 1), buyer_is_maker=True),
    replace(trade(2, 1), time=trade(2, 1).time + 1),
)
LATER = (trade(4, 2), trade(5, 3), trade(6, 4))


@pytest.mark.parametrize("other", OTHERS)
def test_a_contradicted_bar_closes_incomplete(other: Trade) -> None:
    """Whatever differs: the first statement stays in the bar, which proves nothing."""
    bars = bars_of(begun(), live(trade(1, 1), trade(2, 1), trade(3, 1)), live(other), live(*LATER))
    assert not bars[1].complete
    assert bars[1].trade_count == 3
    assert bars[3].complete, "bars that it does not touch are proven"


@pytest.mark.parametrize("say", [live, repaired])
def test_a_late_contradiction_takes_the_proof_back(say: Callable[..., FeedEvent]) -> None:
    """A revision says that the bar is not complete, whichever source contradicts."""
    engine = begun()
    before = bars_of(engine, live(trade(1, 1), trade(2, 1), trade(3, 1)), live(*LATER))
    after = bars_of(engine, say(OTHERS[0]))
    assert before[1].complete
    assert not after[1].complete
    assert after[1].revision == before[1].revision + 1


def test_both_statements_are_named() -> None:
    """The status lists the id with what was said of it first and then."""
    engine = begun()
    bars_of(engine, live(trade(1, 1), trade(2, 1), trade(3, 1)), live(OTHERS[0]))
    (gap,) = [gap for gap in engine.statistics().symbols[0].gaps if gap.state is GapState.UNFILLABLE]
    assert (gap.first_id, gap.last_id) == (2, 2)
    assert gap.reason == (
        f"two truths: bought 1.00000000 at 0.00000100, time {trade(2, 1).time}, "
        f"then bought 1.00000000 at 0.00000101, time {trade(2, 1).time}"
    )


def test_a_disputed_trade_is_not_wanted() -> None:
    """No source can settle it: it is neither missing nor counted again."""
    engine = begun()
    bars = bars_of(
        engine,
        live(trade(1, 1), trade(2, 1), trade(3, 1)),
        live(OTHERS[0]),
        repaired(trade(2, 1)),
        repaired(OTHERS[1]),
        live(*LATER),
    )
    assert engine.symbols["X"].continuity.missing == []
    assert bars[1].trade_count == 3
    assert not bars[1].complete


@pytest.mark.parametrize("stated", [*OTHERS, trade(2, 1)])
def test_a_restart_does_not_settle_a_dispute(stated: Trade) -> None:
    """Whatever REST states afterwards is one of the truths: the bar stays as it is, and the reason is known."""
    before = begun()
    stored = bars_of(before, live(trade(1, 1), trade(2, 1), trade(3, 1)), live(OTHERS[0]), live(*LATER))
    disputed = [gap for gap in before.statistics().symbols[0].gaps if gap.is_disputed]
    engine = agreed(Engine(), START + 100 * MINUTE)
    engine.handle(SymbolAdded("X", [stored[minute] for minute in sorted(stored)], disputed=disputed), 0.0)
    fetched = [trade(1, 1), stated, trade(3, 1)]
    after = bars_of(engine, repaired(*fetched), repaired(*fetched), repaired(*LATER), live(trade(7, 5)))
    assert 1 not in after, "no revision says more than what was stored"
    assert after[4].complete
    assert engine.symbols["X"].continuity.missing == []
    assert [gap.reason for gap in engine.statistics().symbols[0].gaps if gap.is_disputed] == [disputed[0].reason]


def test_dispute_of_settled_bars_is_ignored() -> None:
    """Of ids that are not to be fetched again, as of an epoch before, nothing is taken over."""
    stored = bars_of(begun(), live(trade(1, 1), trade(2, 1), trade(3, 1)), live(*LATER))
    engine = agreed(Engine(), START + 100 * MINUTE)
    old = Gap(2, 2, GapState.UNFILLABLE, "two truths", is_disputed=True)
    engine.handle(SymbolAdded("X", [stored[minute] for minute in sorted(stored)], disputed=[old]), 0.0)
    assert engine.statistics().symbols[0].gaps == ()


def test_disputed_ids_stay_disputed() -> None:
    """However the rest of a range comes to be wanted again, no answer settles a dispute."""
    for again in (Continuity.ask_again, Continuity.unsee, Continuity.withdraw):
        continuity = Continuity()
        continuity.anchor(0, 3)
        continuity.see(10, 10)
        continuity.dispute(6, 6, "two truths")
        continuity.give_up(4, 9, "passed over")
        again(continuity, 3 if again is Continuity.withdraw else 4, 9)
        assert continuity.missing == [(4, 5), (7, 9)], again


def test_the_same_statement_is_no_contradiction() -> None:
    """Two connections that agree are the common case."""
    batch = [trade(1, 1), trade(2, 1), trade(3, 1)]
    bars = bars_of(begun(), live(*batch), live(*batch), repaired(*batch), live(*LATER))
    assert bars[1].complete


def test_an_aggregate_is_no_contradiction_of_its_fills() -> None:
    """They are of another form; only the same ids are compared."""
    bars = bars_of(begun(), live(trade(1, 1), trade(2, 1), trade(3, 1)), live(trade(1, 1, last=3)), live(*LATER))
    assert bars[1].complete


def test_memory_is_bounded() -> None:
    """However many trades there were, the number remembered is limited."""
    engine = begun()
    engine.handle(live(*(trade(number, 1) for number in range(1, 3 * REMEMBERED))), 0.0)
    assert len(engine.symbols["X"].coverage.testimony.stated) == REMEMBERED
