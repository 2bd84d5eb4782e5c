"""A gap is followed from the jump in ids to its end, whatever the repair makes of it meanwhile."""

from candled.domain.id_ranges import IdRanges
from candled.engine.continuity import FILLED_KEPT, GapBook


class Ids:
    """Ids seen, given up and, of those below the horizon, missing."""

    def __init__(self, horizon: int) -> None:
        self.seen, self.given_up, self.horizon, self.book = IdRanges(), IdRanges(), horizon, GapBook()

    def note(self) -> None:
        missing = [p for hole in self.seen.missing(1, self.horizon) for p in self.given_up.missing(*hole)]
        self.book.note(missing, self.seen.covers)

    def see(self, first: int, last: int) -> None:
        self.seen.add(first, last)
        self.horizon = max(self.horizon, last)
        self.note()

    @property
    def counts(self) -> tuple[int, int]:
        return self.book.found, self.book.filled


def test_paged_fill_is_one_gap() -> None:
    """A gap that is filled page by page counts once, with the range that it had."""
    ids = Ids(0)
    ids.see(1, 10)
    ids.see(5011, 5020)
    for first in range(11, 5011, 1000):
        assert ids.counts == (1, 0)
        ids.see(first, first + 999)
    assert ids.counts == (1, 1)
    assert list(ids.book.newest_filled) == [(11, 5010)]


def test_split_gap_counts_once() -> None:
    """A gap that is filled from within is split, and counts once."""
    ids = Ids(0)
    ids.see(1, 10)
    ids.see(31, 40)
    ids.see(18, 22)
    ids.see(11, 17)
    assert ids.counts == (1, 0)
    ids.see(23, 30)
    assert ids.counts == (1, 1)
    assert list(ids.book.newest_filled) == [(11, 30)]


def test_a_gap_that_grows_is_the_same_gap() -> None:
    ids = Ids(0)
    ids.see(1, 10)
    ids.horizon = 20
    ids.note()
    ids.horizon = 30
    ids.note()
    ids.see(11, 30)
    assert ids.counts == (1, 1)
    assert list(ids.book.newest_filled) == [(11, 30)]


def test_gaps_apart_are_counted_apart() -> None:
    ids = Ids(0)
    ids.see(1, 10)
    ids.see(21, 30)
    ids.see(41, 50)
    assert ids.counts == (2, 0)
    ids.see(31, 40)
    assert ids.counts == (2, 1)


def test_gap_with_unfillable_ids_is_not_filled() -> None:
    """A gap of which ids were given up does not count as filled."""
    ids = Ids(0)
    ids.see(1, 10)
    ids.see(21, 30)
    ids.given_up.add(15, 15)
    ids.see(11, 14)
    ids.see(16, 20)
    assert ids.counts == (1, 0)


def test_only_the_newest_filled_gaps_are_remembered() -> None:
    ids = Ids(0)
    for number in range(FILLED_KEPT + 5):
        ids.see(number * 10 + 5, number * 10 + 10)
        ids.see(number * 10 + 1, number * 10 + 4)
    assert len(ids.book.newest_filled) == FILLED_KEPT
    assert ids.book.newest_filled[-1] == (FILLED_KEPT * 10 + 41, FILLED_KEPT * 10 + 44)
