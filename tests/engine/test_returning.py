"""Minutes that left memory and are read back: requested once, and their ids found until they are there."""

from hypothesis import given
from hypothesis import strategies as st

from candled.engine.returning import Returning

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def test_a_minute_is_requested_once() -> None:
    requested: list[int] = []
    returning = Returning(requested.append)
    returning.want(60, 5, 5)
    returning.want(60, 7, 8)
    returning.recheck(60)

    assert requested == [60]
    assert returning.take(60, None) == [(5, 5), (7, 8)]
    assert not returning


def test_a_minute_that_may_repeat_is_of_use_if_it_is_empty() -> None:
    returning = Returning(lambda _: None)
    returning.recheck(60)

    assert returning.may_repeat(60)
    assert returning.take(60, None) is None
    assert not returning.may_repeat(60)


@given(st.lists(st.tuples(st.integers(0, 5), RANGES)), st.sets(st.integers(0, 5)), RANGES)
def test_ids_wait_until_their_minute_is_there(
    wanted: list[tuple[int, tuple[int, int]]], come: set[int], asked: tuple[int, int]
) -> None:
    returning = Returning(lambda _: None)
    for open_time, ids in wanted:
        returning.want(open_time, *ids)
    for open_time in come:
        returning.take(open_time, None)

    waiting = [ids for open_time, ids in wanted if open_time not in come]
    assert returning.holds(*asked) == any(first <= asked[1] and last >= asked[0] for first, last in waiting)
