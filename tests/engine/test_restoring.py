"""How a symbol continues from its stored bars, without an engine."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE
from candled.engine.restoring import RestorePlan, last_id_before, plan_restore

START = 1_700_006_400_000_000


def stored(number: int, first: int, last: int, *, previous: int | None = None, complete: bool = True) -> Bar:
    """The bar of trades ``first..last``; an empty one after ``first - 1`` if there are none."""
    count = last - first + 1
    return Bar(
        "X", "1m", START + number * MINUTE, START + (number + 1) * MINUTE, 7, 7, 7, 7, count, count, count, 0, 0,
        first if count else NO_TRADE, last if count else NO_TRADE,
        first - 1 if previous is None else previous, True, complete,
    )  # fmt: skip


def numbers(bars: tuple[Bar, ...]) -> list[int]:
    return [(bar.open_time - START) // MINUTE for bar in bars]


def seen(plan: RestorePlan) -> list[tuple[int, int]]:
    """Ids that count as seen after the plan was carried out."""
    ids = IdRanges()
    ids.add(plan.floor, max(plan.floor, plan.horizon))
    for first, last in plan.unseen:
        ids.discard(first, last)
    return list(ids)


def test_the_newest_bar_alone_is_resumed() -> None:
    """Its ids are known, and trades after it continue it."""
    plan = plan_restore([stored(5, 10, 14)])
    assert (numbers(plan.resumed), numbers(plan.rebuilt)) == ([5], [])
    assert (plan.floor, plan.horizon, plan.wanted_start) == (9, 14, None)
    assert (plan.origin, plan.end) == (START + 5 * MINUTE, START + 6 * MINUTE)
    assert seen(plan) == [(9, 14)]


def test_an_incomplete_bar_is_rebuilt_whole() -> None:
    """Its ids count as not seen, and its neighbours come back for its proof."""
    bars = [stored(n, 10 * n, 10 * n + 9) for n in range(6)]
    bars[2] = replace(bars[2], complete=False)
    plan = plan_restore(bars)
    assert (numbers(plan.rebuilt), numbers(plan.resumed)) == ([2], [1, 3, 5])
    assert plan.unseen == ((20, 29),)


def test_interleaved_bars_are_rebuilt_together() -> None:
    """Id 29 lies among those of the complete minute before: the ids of both are fetched again."""
    bars = [stored(n, 10 * n, 10 * n + 9) for n in range(6)]
    bars[2] = replace(stored(2, 20, 30), trade_count=10)
    bars[3] = stored(3, 29, 39, previous=30, complete=False)
    plan = plan_restore(bars)
    assert (numbers(plan.rebuilt), numbers(plan.resumed)) == ([2, 3], [1, 4, 5])
    assert seen(plan) == [(plan.floor, 19), (40, 59)]


def test_a_minute_that_is_not_there_is_withheld() -> None:
    """The bars on both sides of the hole come back, and the ids between them are not seen."""
    plan = plan_restore([stored(0, 1, 5), stored(1, 6, 9), stored(4, 15, 19), stored(5, 20, 22)])
    assert plan.withheld == ((START + 2 * MINUTE, START + 3 * MINUTE),)
    assert numbers(plan.resumed) == [1, 4, 5]
    assert plan.unseen == ((10, 14),)


def test_the_first_bar_of_all_wants_its_start() -> None:
    """An incomplete bar before which nothing is known asks for the trade before it."""
    plan = plan_restore([stored(0, 5, 9, previous=NO_TRADE, complete=False), stored(1, 10, 12)])
    assert plan.wanted_start == START
    assert plan.floor == 5
    assert seen(plan) == [(10, 12)]


def test_a_complete_first_bar_wants_nothing() -> None:
    """A bar that begins with id 0 may be complete though no trade is before it."""
    plan = plan_restore([stored(0, 0, 9, previous=NO_TRADE)])
    assert (plan.wanted_start, plan.floor) == (None, 0)


def test_bar_closed_before_a_repair() -> None:
    """It closed before a repair of the bar before it: the repaired ids are not fetched again."""
    plan = plan_restore([stored(0, 1, 5), stored(1, 8, 9, previous=3, complete=False)])
    assert plan.unseen == ((6, 9),)
    assert dict(plan.known_before)[START + MINUTE] == 5


def test_an_empty_bar_carries_the_id_before_it() -> None:
    """The highest id before a bar is never one of its own."""
    assert last_id_before(stored(0, 10, 9, previous=9), 12) == 12
    assert last_id_before(stored(0, 10, 14), 12) == 9


def test_first_bar_and_the_close_before() -> None:
    """The open of a traded one is the price of its own first trade."""
    assert plan_restore([stored(0, 1, 3, complete=False)]).close_before is None
    empty = stored(0, 10, 9, complete=False)
    assert plan_restore([empty]).close_before == empty.open


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 2)), min_size=1, max_size=12))
def test_every_minute_is_restored_once(shape: list[tuple[int, bool, int]]) -> None:
    """Each bar is rebuilt, resumed, or stays out of memory; incomplete ones are unseen and complete ones seen."""
    bars, number, next_id = [], 0, 100
    for count, complete, hole in shape:
        bars.append(stored(number, next_id, next_id + count - 1, complete=complete))
        next_id += count
        number += 1 + hole
    plan = plan_restore(bars)
    rebuilt, resumed = set(numbers(plan.rebuilt)), set(numbers(plan.resumed))
    assert rebuilt == {(bar.open_time - START) // MINUTE for bar in bars if not bar.complete}
    assert not rebuilt & resumed
    withheld = {n for first, last in plan.withheld for n in numbers_between(first, last)}
    assert withheld == set(range(number - shape[-1][2])) - {(bar.open_time - START) // MINUTE for bar in bars}
    ids = IdRanges()
    for first, last in seen(plan):
        ids.add(first, last)
    for bar in bars:
        if bar.is_empty:
            continue
        if bar.complete:
            assert ids.covers(bar.first_trade_id, bar.last_trade_id)
        else:
            assert not ids.overlaps(bar.first_trade_id, bar.last_trade_id)


def numbers_between(first: int, last: int) -> range:
    return range((first - START) // MINUTE, (last - START) // MINUTE + 1)
