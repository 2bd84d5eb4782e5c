"""Names alone say what a file holds, and whether it counts."""

import pytest

from candled.domain.interval import DAY
from candled.history.segments.names import (
    Recent,
    Segment,
    live_recents,
    live_segments,
    parse_recent,
    parse_segment,
)


def day(number: int, sequence: int, days: int = 1, symbol: str = "A") -> Segment:
    return Segment(symbol, number * DAY, (number + days) * DAY, sequence)


@pytest.mark.parametrize(
    "segment", [day(20_000, 3), day(0, 1, 40, "币"), Segment("A", 31 * DAY, 59 * DAY, 10**17)]
)
def test_segment_name_round_trip(segment: Segment) -> None:
    """A segment's name has all that is known of it."""
    assert segment == parse_segment(segment.symbol, segment.name)


def test_recent_name_round_trip() -> None:
    """A recent file's name has all that is known of it."""
    assert Recent(1, 2, 3) == parse_recent(Recent(1, 2, 3).name)


@pytest.mark.parametrize(
    "name",
    [
        "x.parquet",
        "2026-01-02_2026-01-01_1.parquet",
        "2026-13-01_2026-14-01_1.parquet",
        "1_2_0.parquet.tmp",
        "lost+found",
    ],
)
def test_other_names_are_no_files_of_ours(name: str) -> None:
    assert parse_segment("A", name) is None
    assert parse_recent(name) is None


def test_wider_segment_supersedes() -> None:
    """A wider segment with a higher sequence supersedes those that it covers."""
    days = [day(number, number) for number in range(1, 5)]
    month = day(1, 10, 3)
    assert [month, days[3]] == live_segments([*days, month])
    assert [day(1, 11), month] != live_segments([day(1, 11), month])


def test_a_newer_version_of_the_same_publications_counts() -> None:
    assert [Recent(1, 5, 1)] == live_recents([Recent(1, 5), Recent(2, 2), Recent(1, 5, 1), Recent(5, 5)])
