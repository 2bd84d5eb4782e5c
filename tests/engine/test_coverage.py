"""Which trades count, and what their ids prove."""

import random

from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE
from candled.domain.trade import Trade
from candled.engine.continuity import Sighting
from candled.engine.coverage import Around, Coverage


def trade(
    first: int, last: int | None = None, *, price: int = 10**8, quantity: int = 10**8, time: int = 0
) -> Trade:
    return Trade("X", first, first if last is None else last, price, quantity, time, False)


def stated(price: int = 2, quantity: int = 6) -> Coverage:
    coverage = Coverage()
    coverage.state_decimals(price, quantity)
    return coverage


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 4)), max_size=40))
def test_each_id_counts_once(rows: list[tuple[int, int]]) -> None:
    """Whatever comes in whatever order: an id is counted by at most one accepted trade."""
    coverage, counted = stated(), set[int]()
    for first, size in [(1, 1), *rows]:
        ids = set(range(first, first + size))
        sighting = coverage.accept(trade(first, first + size - 1))
        if sighting is Sighting.NEW:
            assert not ids & counted
            counted |= ids
        else:
            assert (sighting is Sighting.DUPLICATE) == (ids <= counted)
    missing = {id_ for a, b in coverage.continuity.missing for id_ in range(a, b + 1)}
    assert not missing & counted


def test_an_inexact_aggregate_leaves_its_ids_missing() -> None:
    """Its fills are to be fetched one by one, also if it is the first that comes."""
    coverage = stated(5, 4)
    assert coverage.accept(trade(7, 9)) is Sighting.INEXACT
    assert coverage.continuity.missing == [(7, 9)]
    for id_ in (7, 8, 9):
        assert coverage.accept(trade(id_)) is Sighting.NEW
    assert coverage.accept(trade(7, 9)) is Sighting.DUPLICATE
    assert coverage.continuity.missing == []


def test_without_a_statement_aggregates_are_declined() -> None:
    """The exchange's step is not known, and an aggregate's own digits prove nothing."""
    assert Coverage().accept(trade(7, 9)) is Sighting.INEXACT


def test_an_aggregate_of_one_fill_is_that_fill() -> None:
    """It counts whatever its decimals."""
    assert stated(5, 4).accept(trade(7, 7, price=3459 * 10**3, quantity=10**4)) is Sighting.NEW


def test_a_finer_trade_raises_doubt_before_it_counts() -> None:
    """Aggregates taken since the oldest one are doubted once, when a trade shows finer decimals."""
    coverage, doubts = stated(5, 3), list[int]()
    coverage.on_doubt = doubts.append
    coverage.accept(trade(1, time=5))
    coverage.accept(trade(2, 3, time=20))
    coverage.accept(trade(4, 6, time=10))
    assert doubts == []
    coverage.accept(trade(7, quantity=10**4))
    assert doubts == [10]
    coverage.accept(trade(8, quantity=10**3))
    assert doubts == [10]
    assert coverage.accept(trade(9, 10)) is Sighting.INEXACT


def test_a_missing_id_leaves_its_minute_undecided() -> None:
    """A minute is decided when no id between its neighbours may still come."""
    coverage = stated()
    for id_ in (1, 2, 5, 6):
        coverage.accept(trade(id_))
    assert coverage.is_undecided(Around(2, 5, None))
    assert not coverage.is_undecided(Around(1, 2, None))
    coverage.continuity.give_up(3, 4, "gone")
    assert not coverage.is_undecided(Around(2, 5, None))
    assert not coverage.proves(Around(2, 5, None), NO_TRADE, NO_TRADE, 0)


@given(st.integers(0, 2**32))
def test_order_does_not_change_what_is_proven(seed: int) -> None:
    """The same trades in any order prove the same."""
    rng = random.Random(seed)
    rows = [trade(id_) for id_ in range(2, 20) if rng.random() < 0.8]
    verdicts = []
    for _ in range(2):
        coverage = stated()
        coverage.accept(trade(1))
        for row in rows:
            coverage.accept(row)
        verdicts.append([coverage.proves(Around(n, n + 3, None), n + 1, n + 2, 0) for n in range(1, 16)])
        rng.shuffle(rows)
    assert verdicts[0] == verdicts[1]
