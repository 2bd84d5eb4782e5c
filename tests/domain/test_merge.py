"""Longer bars are exact, associative merges of shorter ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.interval import MINUTE, parse_interval

HOUR = 1_700_006_400_000_000


def minute(number: int, *, count: int = 1, price: int = 100, first_id: int = 1, revision: int = 0) -> Bar:
    at = HOUR + number * MINUTE
    ids = (first_id, first_id + count - 1) if count else (NO_TRADE, NO_TRADE)
    return Bar(
        "X", "1m", at, at + MINUTE, price, price + 2, price - 2, price + 1, 5 * count, 7 * count, count,
        3 * count, 4 * count, *ids, first_id - 1, True, True, revision,
    )  # fmt: skip


@st.composite
def hours(draw: st.DrawFn) -> list[Bar]:
    bars, next_id = list[Bar](), 1
    for number in range(60):
        count = draw(st.integers(0, 3))
        bar = minute(number, count=count, price=draw(st.integers(10, 1000)), first_id=next_id)
        if not count and bars:
            close = bars[-1].close
            bar = replace(bar, open=close, high=close, low=close, close=close)
        next_id += count
        bars.append(bar)
    return bars


@given(hours())
def test_merging_is_associative(bars: list[Bar]) -> None:
    """An hour of minutes equals an hour of quarters."""
    hour, quarter, five = parse_interval("1h"), parse_interval("15m"), parse_interval("5m")
    fives = [merge_bars(bars[i : i + 5], five) for i in range(0, 60, 5)]
    quarters = [merge_bars(fives[i : i + 3], quarter) for i in range(0, 12, 3)]
    assert merge_bars(quarters, hour) == merge_bars(bars, hour)


@given(hours())
def test_empty_minutes_add_nothing(bars: list[Bar]) -> None:
    """Minutes without trades change neither prices nor sums of a longer bar."""
    hour = parse_interval("1h")
    traded = [bar for bar in bars if not bar.is_empty]
    if traded:
        merged = merge_bars(bars, hour)
        assert (merged.open, merged.close) == (traded[0].open, traded[-1].close)
        assert merged.high == max(bar.high for bar in traded)
        assert merged.low == min(bar.low for bar in traded)


def test_complete_needs_every_minute() -> None:
    """A longer bar is complete only if each of its minutes is there and complete."""
    five = parse_interval("5m")
    bars = [minute(number, first_id=number + 1) for number in range(5)]
    assert merge_bars(bars, five).complete
    assert not merge_bars(bars[:2] + bars[3:], five).complete
    assert not merge_bars([*bars[:4], replace(bars[4], complete=False)], five).complete


def test_a_longer_bar_closes_with_its_last_minute() -> None:
    five = parse_interval("5m")
    bars = [minute(number, first_id=number + 1) for number in range(5)]
    assert merge_bars(bars, five).closed
    assert not merge_bars(bars[:4], five).closed
    assert not merge_bars([*bars[:4], replace(bars[4], closed=False)], five).closed


def test_revision_is_a_sum() -> None:
    """The revision of a longer bar is the sum of its minutes' revisions."""
    bars = [minute(number, first_id=number + 1, revision=number) for number in range(5)]
    assert merge_bars(bars, parse_interval("5m")).revision == 10


def test_all_minutes_empty_gives_the_previous_close() -> None:
    bars = [replace(minute(n, count=0), open=9, high=9, low=9, close=9) for n in range(5)]
    merged = merge_bars(bars, parse_interval("5m"))
    assert (merged.open, merged.high, merged.low, merged.close, merged.trade_count) == (9, 9, 9, 9, 0)
    assert (merged.first_trade_id, merged.last_trade_id) == (NO_TRADE, NO_TRADE)


@pytest.mark.parametrize("numbers", [[], [1, 0], [0, 0], [4, 5]])
def test_bars_that_do_not_belong_together_are_refused(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"merge|order|fit"):
        merge_bars([minute(number) for number in numbers], parse_interval("5m"))
