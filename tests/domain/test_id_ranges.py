"""A set of ids as ranges behaves as the set it stands for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from candled.domain.id_ranges import IdRanges

spans = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
changes = st.lists(st.tuples(st.sampled_from(["add", "discard"]), spans), max_size=30)


@given(changes, spans)
def test_ranges_are_a_set(history: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]) -> None:
    """Ranges agree with a set of ids, whatever is added and removed."""
    ranges, ids = IdRanges(), set[int]()
    for change, (first, last) in history:
        span = set(range(first, last + 1))
        if change == "add":
            ranges.add(first, last)
            ids |= span
        else:
            ranges.discard(first, last)
            ids -= span
    first, last = asked
    span = set(range(first, last + 1))
    assert {id_ for a, b in ranges for id_ in range(a, b + 1)} == ids
    assert ranges.covers(first, last) == (span <= ids)
    assert ranges.overlaps(first, last) == bool(span & ids)
    assert {id_ for a, b in ranges.missing(first, last) for id_ in range(a, b + 1)} == span - ids
    assert ranges.last == (max(ids) if ids else None)


@given(changes)
def test_ranges_are_sorted_and_apart(history: list[tuple[str, tuple[int, int]]]) -> None:
    """Ranges are sorted, and no two touch."""
    ranges = IdRanges()
    for change, span in history:
        getattr(ranges, change)(*span)
    listed = list(ranges)
    assert all(a <= b for a, b in listed)
    assert all(b + 1 < c for (_, b), (c, _) in itertools.pairwise(listed))
    assert len(ranges) == len(listed)
