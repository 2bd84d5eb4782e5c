"""The plan chooses, from gaps, weights and the budget, what is worth its weight. Plain: no clock, no exchange."""

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from candled.feed.adapter import Capabilities
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.repair.plan import (
    BUDGET_SECONDS,
    EDGE_IDS,
    Budget,
    Gap,
    Need,
    Plan,
    RepairWays,
    Way,
    early_weight,
    make_plan,
    pages,
)

WAYS = RepairWays()
WEIGHTS = CAPABILITIES.weights
COUNTLESS = attrs.evolve(CAPABILITIES, klines_carry_trade_count=False)


def budget(*, used: int = 0, used_early: int = 0, symbols: int = 3, limit: int = 3000) -> Budget:
    return Budget(limit=limit, used=used, used_early=used_early, symbols=symbols)


def planned(*needs: Need, capabilities: Capabilities = CAPABILITIES, now: float = 100.0, **spent: int) -> Plan:
    return make_plan(needs, budget(**spent), capabilities, WAYS, now)


def ways(plan: Plan) -> list[tuple[str, Way]]:
    return [(step.symbol, step.way) for step in plan.steps]


def closed(symbol: str = "A", **changes: Any) -> Need:
    """A gap of one id in a minute that has closed."""
    return attrs.evolve(Need(symbol=symbol, gaps=((10, 10),), forming_from=50, countable=True), **changes)


def forming(symbol: str = "A", **changes: Any) -> Need:
    """A gap of one id in the minute that is forming."""
    return attrs.evolve(Need(symbol=symbol, gaps=((60, 60),), forming_from=50), **changes)


def test_closed_minutes_are_counted() -> None:
    """The klines of closed minutes weigh least and prove all that is missing inside."""
    (step,) = planned(closed()).steps
    assert (step.way, step.weight) == (Way.COUNT, WEIGHTS.klines)


def test_klines_without_counts_are_not_counted() -> None:
    """An exchange whose klines carry no count is asked for the trades."""
    assert ways(planned(closed(), capabilities=COUNTLESS)) == [("A", Way.TRADES)]


def test_uncountable_gap_is_fetched() -> None:
    """What counting did not account for comes as a page of raw trades."""
    (step,) = planned(closed(countable=False)).steps
    assert (step.way, step.gaps, step.is_early) == (Way.TRADES, ((10, 10),), False)


def test_exact_aggregates_are_cheapest() -> None:
    """Whole aggregates are fetched as such where their sums are exact, and else as trades."""
    need = closed(countable=False, reads_aggregates=True)
    assert ways(planned(attrs.evolve(need, aggregates_exact=True))) == [("A", Way.AGGREGATES)]
    assert ways(planned(need)) == [("A", Way.TRADES)]
    in_vain = attrs.evolve(need, aggregates_exact=True, raw_only=frozenset({10}))
    assert ways(planned(in_vain)) == [("A", Way.TRADES)]


def test_long_gaps_have_their_own_ways() -> None:
    """Aggregates fill a long gap, klines the whole minutes of a very long one."""
    long = closed(gaps=((1, WAYS.aggregates_from),), forming_from=10**6, countable=False, aggregates_exact=True)
    assert ways(planned(long)) == [("A", Way.AGGREGATES)]
    very_long = attrs.evolve(long, gaps=((1, WAYS.klines_from),))
    assert ways(planned(very_long)) == [("A", Way.KLINES)]
    assert ways(planned(attrs.evolve(very_long, trades_only=frozenset({1})))) == [("A", Way.AGGREGATES)]


def test_newest_page_is_first() -> None:
    """Of gaps on several pages the newest are fetched first."""
    need = closed(gaps=((10, 10), (20, 20), (5000, 5000)), forming_from=9000, countable=False)
    (step,) = planned(need).steps
    assert step.gaps == ((5000, 5000),)


def test_live_symbols_are_first() -> None:
    """Symbols whose stream is connected come before those that are down, closed minutes before forming ones."""
    plan = planned(forming("A"), closed("B", is_live=False), closed("C"))
    assert [step.symbol for step in plan.steps] == ["C", "B", "A"]


def test_urgent_weight_is_not_taken_by_others() -> None:
    """When the budget does not hold the most urgent step, nothing cheaper overtakes it."""
    used = 3000 - WEIGHTS.reserve - WEIGHTS.trades + 1
    plan = planned(closed("A", countable=False), forming("B"), closed("C", is_live=False), used=used)
    assert plan.steps == ()
    assert 0 < plan.wait < BUDGET_SECONDS


def test_forming_minutes_wait_when_close_needs_all() -> None:
    """With 500 symbols the weight is kept for the close; with 3 a page is fetched at once."""
    assert ways(planned(forming(), symbols=500)) == []
    assert ways(planned(forming(), symbols=3)) == [("A", Way.TRADES)]


def test_forming_minutes_get_pages_evenly() -> None:
    """A symbol's next page waits until pages of its kind stay within their share of a minute's weight."""
    allowed = early_weight(budget(), CAPABILITIES)
    spacing = BUDGET_SECONDS * WEIGHTS.trades / allowed
    assert ways(planned(forming(early_at=100.0 - spacing / 2))) == []
    assert ways(planned(forming(early_at=100.0 - spacing))) == [("A", Way.TRADES)]
    assert ways(planned(forming(), used_early=round(allowed))) == []


def test_absence_is_fetched_at_once() -> None:
    """A long gap before the forming minute does not wait its turn, so that a restart soon shows whole bars."""
    need = closed(gaps=((49 - EDGE_IDS, 49),), countable=False, early_at=99.9)
    (step,) = planned(need).steps
    assert step.is_absence
    assert ways(planned(need, symbols=500)) == [], "it is counted when the minute closes"


gaps_drawn = st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 30)), max_size=30).map(
    lambda drawn: _ascending(drawn)
)


def _ascending(drawn: list[tuple[int, int]]) -> list[Gap]:
    gaps, at = [], 0
    for pause, size in drawn:
        first = at + pause + 1
        gaps.append((first, first + size))
        at = first + size
    return gaps


@given(gaps_drawn)
def test_pages_hold_every_gap_once(gaps: list[Gap]) -> None:
    """Each gap begins within the page of the first one beside it, and none is left out."""
    found = pages(gaps, 1000, 5000)
    assert [gap for page in found for gap in page] == gaps
    assert all(first < page[0][0] + 1000 for page in found for first, _ in page)


needs_drawn = st.builds(
    lambda symbol, gaps, split, flags: Need(
        symbol=symbol,
        gaps=tuple(gaps),
        forming_from=split,
        countable=flags[0],
        is_live=flags[1],
        reads_aggregates=flags[2],
        aggregates_exact=flags[3],
        settles=flags[4],
    ),
    st.text("ABC", min_size=1, max_size=3),
    gaps_drawn,
    st.none() | st.integers(0, 50_000),
    st.tuples(*[st.booleans()] * 5),
)


@given(st.lists(needs_drawn, max_size=40), st.integers(0, 3200), st.integers(1, 600))
def test_plan_never_exceeds_its_budget(needs: list[Need], used: int, symbols: int) -> None:
    """Whatever is missing, the steps weigh no more than is left besides the reserve."""
    plan = planned(*needs, used=used, symbols=symbols)
    assert sum(step.weight for step in plan.steps) <= max(0, 3000 - WEIGHTS.reserve - used)
    if any(need.gaps or need.settles for need in needs) and not plan.steps:
        assert plan.wait > 0
