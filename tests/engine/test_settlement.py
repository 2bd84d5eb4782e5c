"""What the exchange's klines decide about minutes in which no trade was seen."""

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import MINUTE
from candled.engine.coverage import Around
from candled.engine.settlement import Adopt, CloseEmpty, Decision, Skip, Wait, decide

START = 1_700_006_400_000_000


def at(number: int) -> int:
    return START + number * MINUTE


def kline(number: int, count: int = 0) -> Bar:
    return Bar(
        "X", "1m", at(number), at(number + 1), 5, 5, 5, 5, count, count, count, 0, 0,
        NO_TRADE, NO_TRADE, NO_TRADE, True,
    )  # fmt: skip


@attrs.frozen
class Stand:
    """What is known around the minutes that are decided."""

    id_before: int = 10
    id_after: int | None = None
    to_come: bool = False
    frontier: int = 0
    undecided: frozenset[int] = frozenset()
    withheld: frozenset[int] = frozenset()
    """Numbers of minutes that were passed over."""

    def decide(self, klines: dict[int, Bar | None]) -> list[Decision]:
        return decide(
            {at(number): row for number, row in klines.items()},
            {at(number) for number in klines if number not in self.undecided},
            at(self.frontier),
            lambda _open_time: Around(self.id_before, self.id_after, 5),
            lambda _first, _last: self.to_come,
            lambda open_time: (open_time - START) // MINUTE in self.withheld,
        )


def test_empty_klines_close_their_minutes_in_order() -> None:
    """Each settled minute makes the next one the frontier."""
    decisions = Stand().decide({0: kline(0), 1: kline(1), 2: None})
    assert decisions == [CloseEmpty(at(0), 5), CloseEmpty(at(1), 5), Skip(at(2))]


def test_nothing_past_an_unsettled_frontier_is_decided() -> None:
    """A minute whose predecessors are still open waits for them."""
    assert Stand(frontier=0).decide({1: kline(1)}) == []
    assert Stand(frontier=0, undecided=frozenset({0})).decide({0: kline(0), 1: kline(1)}) == []


def test_empty_minute_waits_for_an_undecided_one() -> None:
    """Trades may be found there, which would change the price that the empty bars after it repeat."""
    stand = Stand(frontier=9, withheld=frozenset(range(6)))
    assert stand.decide({1: kline(1), 2: kline(2)}) == []
    decided = Stand(frontier=9, withheld=frozenset(range(1, 6))).decide(
        {1: kline(1), 3: kline(3), 4: None, 5: kline(5)}
    )
    assert decided == [CloseEmpty(at(1), 5), Skip(at(4)), CloseEmpty(at(5), 5)]


def test_withheld_minutes_settle_singly() -> None:
    """They do not wait for each other."""
    decisions = Stand(frontier=9, undecided=frozenset({2})).decide({1: kline(1), 2: kline(2), 4: None})
    assert decisions == [CloseEmpty(at(1), 5), Skip(at(4))]


def test_trades_that_may_still_come_are_waited_for() -> None:
    """A kline that counts unseen trades says up to which id they exist, and ends the decisions."""
    decisions = Stand(to_come=True).decide({0: kline(0), 1: kline(1, 3), 2: kline(2), 3: kline(3, 5)})
    assert decisions == [CloseEmpty(at(0), 5), Wait(18)]


def test_counted_trades_need_an_id_before() -> None:
    """The first trade of all is not known: a kline with trades has to wait."""
    assert Stand(id_before=NO_TRADE).decide({0: kline(0, 3)}) == [Wait(NO_TRADE)]


def test_counts_that_meet_both_ids_prove_the_klines() -> None:
    """Trades that are not to be had are accounted for by their klines, with ids."""
    decisions = Stand(id_after=16).decide({0: kline(0, 3), 1: kline(1), 2: kline(2, 2)})
    first, empty, last = decisions
    assert isinstance(first, Adopt)
    assert isinstance(last, Adopt)
    assert empty == CloseEmpty(at(1), 5)
    assert [(b.first_trade_id, b.last_trade_id, b.previous_trade_id) for b in (first.bar, last.bar)] == [
        (11, 13, 10),
        (14, 15, 13),
    ]
    assert all(b.complete and b.revision == 1 for b in (first.bar, last.bar))


def test_counts_that_do_not_meet_prove_nothing() -> None:
    """The kline's numbers are taken, without ids and not complete."""
    (decision,) = Stand(id_after=20).decide({0: kline(0, 3)})
    assert decision == Adopt(replace(kline(0, 3), previous_trade_id=10, revision=1))


def test_klines_of_given_up_newest_trades_are_taken() -> None:
    """Nothing later is known, and none of the counted trades can come: the kline stands, unproven."""
    (decision,) = Stand(to_come=False).decide({0: kline(0, 3)})
    assert isinstance(decision, Adopt)
    assert not decision.bar.complete
