"""Bars become exact columns and come back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar
from candled.history.columns import bars_from_rows, positions_from_rows, rows_from_events
from tests.history.bars import events, minute

price = st.integers(0, 10**18 - 1)
volume = st.integers(0, 10**28 - 1)
quote = st.integers(0, 10**38 - 1)
trade_id = st.integers(NO_TRADE, 2**62)


@st.composite
def any_bar(draw: st.DrawFn) -> Bar:
    open_time = draw(st.integers(0, 4_000_000_000)) * 1_000_000
    return Bar(
        symbol=draw(st.text("AB1币é'%= ", min_size=1, max_size=12)),
        interval="1m",
        open_time=open_time,
        close_time=open_time + 60_000_000,
        open=draw(price),
        high=draw(price),
        low=draw(price),
        close=draw(price),
        volume=draw(volume),
        quote_volume=draw(quote),
        trade_count=draw(st.integers(0, 2**60)),
        taker_buy_volume=draw(volume),
        taker_buy_quote_volume=draw(quote),
        first_trade_id=draw(trade_id),
        last_trade_id=draw(trade_id),
        previous_trade_id=draw(trade_id),
        closed=True,
        complete=draw(st.booleans()),
        revision=draw(st.integers(0, 2**40)),
    )


@given(st.lists(any_bar(), max_size=5))
def test_bars_come_back_digit_for_digit(bars: list[Bar]) -> None:
    rows = rows_from_events(events(bars, 7))
    assert bars == bars_from_rows(rows, "1m")
    assert list(range(7, 7 + len(bars))) == positions_from_rows(rows)


def test_slice_has_its_own_rows() -> None:
    """A slice of an Arrow table is read from its own offset."""
    bars = [minute(number) for number in range(5)]
    assert bars[2:4] == bars_from_rows(rows_from_events(events(bars, 1)).slice(2, 2), "1m")


def test_overflow_names_the_bar() -> None:
    """A number too large for its column is refused, with the bar named."""
    bar = minute(0)
    huge = Bar(**{**{name: getattr(bar, name) for name in bar.__struct_fields__}, "high": 10**18})
    with pytest.raises(ValueError, match=r"high 10000000000.00000000 of BTCUSDT .* too large"):
        rows_from_events(events([huge], 1))
