"""What trade ids prove, and what they do not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE
from candled.domain.proof import assign_ids_by_count, counts_meet, is_proven, prove_run, prove_traded


def ids(*ranges: tuple[int, int]) -> IdRanges:
    seen = IdRanges()
    for first, last in ranges:
        seen.add(first, last)
    return seen


def bar(number: int, count: int, first: int = NO_TRADE, last: int = NO_TRADE) -> Bar:
    return Bar(
        "X", "1m", number * MINUTE, (number + 1) * MINUTE, 1, 1, 1, 1, count, count, count, 0, 0,
        first, last, NO_TRADE, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "proven"),
    [
        (ids((9, 13)), True),
        (ids((9, 10), (12, 13)), False),  # one of its own is missing
        (ids((9, 12)), False),  # the trade after it is known of, but was not seen
        (ids((10, 13)), False),  # the one before it was not seen
    ],
)
def test_every_id_around_is_needed(seen: IdRanges, proven: bool) -> None:
    """A bar of trades 10 to 12 between 9 and 13 is complete only with all five."""
    assert is_proven(seen, 9, 13, 10, 12) is proven


def test_an_unknown_neighbour_proves_nothing() -> None:
    """Without a trade before, or after, a bar may lack its first or last trades."""
    seen = ids((0, 100))
    assert not is_proven(seen, NO_TRADE, 13, 10, 12)
    assert not is_proven(seen, 9, None, 10, 12)
    assert not is_proven(seen, 9, None)


def test_nothing_comes_before_id_zero() -> None:
    """A bar that begins with id 0 needs no trade before it."""
    assert is_proven(ids((0, 3)), NO_TRADE, 3, 0, 2)
    assert not is_proven(ids((0, 0), (2, 3)), NO_TRADE, 3, 0, 2)


def test_an_empty_minute_is_proven_by_its_neighbours() -> None:
    """No id between the trade before and the trade after is missing, so there was no trade."""
    assert is_proven(ids((9, 10)), 9, 10)
    assert is_proven(ids((9, 12)), 9, 12)  # placeholders between
    assert not is_proven(ids((9, 9), (11, 11)), 9, 11)


def test_interleaved_minutes_are_proven_together() -> None:
    """Trades 99 100 102 and 101 103 of two minutes: a missing id inside may belong to either."""
    first, second = bar(0, 3, 99, 102), bar(1, 2, 101, 103)
    assert [b.complete for b in prove_traded([first, second], ids((98, 104)), 98, 104)] == [True, True]
    lacking = ids((98, 99), (101, 104))
    assert [b.complete for b in prove_traded([first, second], lacking, 98, 104)] == [False, False]


def test_counted_trades_without_ids_are_not_proven() -> None:
    """A kline that counts trades nobody saw is not complete, though no id around it is missing."""
    assert [b.complete for b in prove_traded([bar(0, 1)], ids((9, 10)), 9, 10)] == [False]


def test_bars_carry_the_highest_id_before_them() -> None:
    """``previous_trade_id`` passes through empty bars."""
    bars = prove_traded([bar(0, 1, 10, 10), bar(1, 0), bar(2, 1, 11, 11)], ids((9, 12)), 9, 12)
    assert [b.previous_trade_id for b in bars] == [9, 10, 10]
    assert all(b.complete for b in bars)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=10), st.integers(0, 2), st.integers(0, 2))
def test_counts_meet_only_if_nothing_is_missing(counts: list[int], lost_before: int, lost_after: int) -> None:
    """Trades that are not known on either side of a run of klines keep it from being proven."""
    klines = [bar(number, count) for number, count in enumerate(counts)]
    before, after = 100, 100 + sum(counts) + 1
    assert counts_meet(klines, before + 1, after)
    assert counts_meet(klines, before - lost_before + 1, after + lost_after) == (lost_before == lost_after == 0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=10))
def test_counting_assigns_each_id_once(counts: list[int]) -> None:
    """Ids run on from bar to bar, and empty bars have none."""
    bars = assign_ids_by_count([bar(number, count) for number, count in enumerate(counts)], 50)
    listed = [id_ for b in bars if not b.is_empty for id_ in range(b.first_trade_id, b.last_trade_id + 1)]
    assert listed == list(range(50, 50 + sum(counts)))
    assert all(b.first_trade_id == NO_TRADE for b in bars if b.is_empty)


def test_run_without_an_id_before() -> None:
    """Klines are counted from a known id or not at all."""
    (found,) = prove_run([bar(0, 3)], NO_TRADE, 13)
    assert (found.first_trade_id, found.complete) == (NO_TRADE, False)


def test_run_without_an_id_after() -> None:
    """Counted ids are kept, and wait for the trade that proves them."""
    (found,) = prove_run([bar(0, 3)], 9, None)
    assert (found.first_trade_id, found.last_trade_id, found.complete) == (10, 12, False)


@given(st.integers(0, 2**32))
def test_losing_ids_never_proves_more(seed: int) -> None:
    """What is proven with some ids is proven with all of them, and a lost id spoils its neighbourhood."""
    rng = random.Random(seed)
    bars, next_id = [], 10
    for number in range(6):
        count = rng.randrange(4)
        bars.append(bar(number, count, next_id, next_id + count - 1) if count else bar(number, 0))
        next_id += count
    lost = rng.randrange(10, next_id) if next_id > 10 else next_id
    all_ids, some = ids((9, next_id)), ids((9, next_id))
    some.discard(lost, lost)
    assert all(b.complete for b in prove_traded(bars, all_ids, 9, next_id))
    for found in prove_traded(bars, some, 9, next_id):
        spoiled = found.first_trade_id - 1 <= lost <= found.last_trade_id + 1
        assert found.is_empty or found.complete is not spoiled
