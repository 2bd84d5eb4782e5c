"""Quote volumes: truncated per fill to the decimals of the exchange, or exact where it rounds none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.limits import EXACT_QUOTE_MAX, MINUTE_TRADES_MAX, PRICE_MAX, QUANTITY_MAX
from candled.domain.numbers import DECIMALS, PRODUCT_DECIMALS, format_decimals, format_units
from candled.domain.trade import Trade
from candled.engine.minute import Minute
from candled.history.columns import bars_from_rows, rows_from_events
from candled.stream.web.forms import bar_form

TIME = 1_700_000_040_000_000
MINUTES_OF_A_MONTH = 31 * 1440

units = st.integers(0, 10**12)


def bar_of(*trades: Trade, quote_decimals: int) -> Bar:
    minute = Minute("X", TIME // MINUTE * MINUTE, quote_decimals=quote_decimals)
    for trade in trades:
        minute.add(trade)
    return minute.closed_bar(previous_id=NO_TRADE, previous_close=None, proven=False, revision=0)


def trade(id_: int, price: int, quantity: int) -> Trade:
    return Trade("X", id_, id_, price, quantity, TIME, buyer_is_maker=id_ % 2 == 0)


@given(st.lists(st.tuples(units, units), min_size=1, max_size=20))
def test_exact_quote_volume_is_the_sum_of_products(numbers: list[tuple[int, int]]) -> None:
    """With sixteen decimals nothing is rounded, whatever price and quantity."""
    bar = bar_of(*(trade(n, *each) for n, each in enumerate(numbers)), quote_decimals=PRODUCT_DECIMALS)
    exact = sum(Decimal(format_units(price)) * Decimal(format_units(quantity)) for price, quantity in numbers)
    assert Decimal(format_decimals(bar.quote_volume, bar.quote_decimals)) == exact


def test_eight_decimals_are_truncated_fill_by_fill() -> None:
    """As Binance does, and as before."""
    fills = trade(0, 3_459_000, 20_000), trade(1, 3_459_000, 80_000)
    assert bar_of(*fills, quote_decimals=DECIMALS).quote_volume == 691 + 2767
    assert bar_of(*fills, quote_decimals=PRODUCT_DECIMALS).quote_volume == 3_459_000 * 100_000


def test_merged_bars_keep_the_decimals() -> None:
    """A longer bar adds up what its minutes have, digit for digit."""
    bar = bar_of(trade(0, 1, 1), quote_decimals=PRODUCT_DECIMALS)
    merged = merge_bars([bar], INTERVALS["5m"])
    assert (merged.quote_volume, merged.quote_decimals) == (1, PRODUCT_DECIMALS)


@pytest.mark.parametrize("quote_decimals", [DECIMALS, PRODUCT_DECIMALS])
def test_rows_keep_the_decimals(quote_decimals: int) -> None:
    """What is stored is what is read, and the column says its scale."""
    bar = bar_of(trade(7, PRICE_MAX, 123), quote_decimals=quote_decimals)
    rows = rows_from_events([BarEvent(BarEventKind.CLOSE, bar, TIME, 1)])
    assert rows.schema.field("quote_volume").type.scale == quote_decimals
    assert bars_from_rows(rows, "1m") == [bar]


def test_rows_of_two_scales_are_refused() -> None:
    """A table has one scale: bars of two exchanges do not go into one directory."""
    bars = [bar_of(trade(1, 1, 1), quote_decimals=decimals) for decimals in (DECIMALS, PRODUCT_DECIMALS)]
    with pytest.raises(ValueError, match="8, 16"):
        rows_from_events([BarEvent(BarEventKind.CLOSE, bar, TIME, 1) for bar in bars])


def test_outputs_write_every_decimal() -> None:
    """Clients get the exact number as text."""
    bar = bar_of(trade(1, 1, 1), quote_decimals=PRODUCT_DECIMALS)
    assert bar_form(bar)["quote_volume"] == "0.0000000000000001"


def test_exact_limits_fit_the_column() -> None:
    """The largest exact minute fits 38 digits, and so does a month of them."""
    largest = EXACT_QUOTE_MAX * MINUTE_TRADES_MAX * 10**DECIMALS
    assert largest * MINUTES_OF_A_MONTH < 10**38
    assert PRICE_MAX * QUANTITY_MAX > EXACT_QUOTE_MAX * 10**DECIMALS
