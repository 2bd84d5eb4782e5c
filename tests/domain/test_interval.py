"""Intervals are aligned as the exchange aligns them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import INTERVALS, MINUTE, Interval, parse_interval

times = st.integers(0, 4_000_000_000_000_000) | st.integers(-(2**70), 2**70)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("name", "time", "open_time"),
    [
        ("1m", "2026-11-22T20:50:17", "2026-11-22T20:50:00"),
        ("3m", "2026-11-22T20:50:17", "2026-11-22T20:48:00"),
        ("8h", "2026-11-22T20:50:17", "2026-11-22T16:00:00"),
        ("1d", "2026-11-22T20:50:17", "2026-11-22T00:00:00"),
        ("1w", "2026-11-22T20:50:17", "2026-11-16T00:00:00"),  # a Sunday belongs to the Monday before
        ("1w", "2026-11-23T00:00:00", "2026-11-23T00:00:00"),
        ("1M", "2024-02-29T23:59:59", "2024-02-01T00:00:00"),
        ("1M", "2026-12-31T23:59:59", "2026-12-01T00:00:00"),
    ],
)
def test_floor_agrees_with_the_exchange(name: str, time: str, open_time: str) -> None:
    """A time belongs to the bar that the exchange puts it in."""
    assert parse_interval(name).floor(at(time)) == at(open_time)


@given(times, st.sampled_from(list(INTERVALS.values())))
def test_every_time_lies_in_exactly_one_bar(time: int, interval: Interval) -> None:
    open_time = interval.floor(time)
    end = interval.end(open_time)
    assert open_time <= time < end
    assert interval.floor(open_time) == interval.floor(end - 1) == open_time
    assert interval.floor(end) == end
    assert interval.minutes(open_time) * MINUTE == end - open_time


def test_weeks_and_months() -> None:
    """Weeks begin on Monday, months on the first."""
    week, month = parse_interval("1w"), parse_interval("1M")
    for day in range(0, 3000, 13):
        time = day * 24 * 60 * MINUTE
        monday = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=week.floor(time))
        assert monday.weekday() == 0
        first = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=month.floor(time))
        assert (first.day, first.hour) == (1, 0)


def test_unknown_interval_lists_the_known() -> None:
    """The error of an unknown interval lists those that exist."""
    with pytest.raises(ValueError, match=r"'7m'.*1m 3m 5m"):
        parse_interval("7m")
