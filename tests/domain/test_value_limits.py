"""The limits of the domain follow from the columns of the history: what is let in can always be stored."""

import pyarrow as pa
import pytest

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE
from candled.domain.limits import (
    AGGREGATE_TRADES_MAX,
    EXCHANGE_TIME_MAX,
    EXCHANGE_TIME_MIN,
    MINUTE_TRADES_MAX,
    PRICE_MAX,
    PRODUCT_MAX,
    QUANTITY_MAX,
    QUOTE_MAX,
    QUOTE_VOLUME_MAX,
    TRADE_ID_MAX,
    VOLUME_MAX,
    trade_fits,
)
from candled.domain.numbers import DECIMALS, ONE, quote_units
from candled.domain.trade import Trade
from candled.engine.minute import Minute
from candled.history.columns import PRICE, QUOTE_VOLUME, VOLUME, rows_from_events

TIME = 1_700_000_000_000_000
MINUTES_OF_A_MONTH = 31 * 1440


def test_the_columns_hold_the_limits() -> None:
    """Each limit is below the first number that its column cannot hold."""
    for column, limit in ((PRICE, PRICE_MAX), (VOLUME, VOLUME_MAX), (QUOTE_VOLUME, QUOTE_VOLUME_MAX)):
        assert column.scale == DECIMALS
        assert limit < 10**column.precision
    assert pa.scalar(2**63 - 1, pa.int64()).as_py() == TRADE_ID_MAX


def test_the_price_limit_is_the_column() -> None:
    """No price that the column holds is refused."""
    assert 10**PRICE.precision - 1 == PRICE_MAX


def test_a_minute_of_the_largest_trades_fits() -> None:
    """As many trades as a minute can have, each of the largest size, do not overflow its sums."""
    assert QUANTITY_MAX * MINUTE_TRADES_MAX <= VOLUME_MAX
    assert QUOTE_MAX * MINUTE_TRADES_MAX <= QUOTE_VOLUME_MAX


def test_a_month_of_the_largest_minutes_fits() -> None:
    """The longest interval's sum fits the type that the database adds up in: 38 digits."""
    for limit in (VOLUME_MAX, QUOTE_VOLUME_MAX):
        assert limit * MINUTES_OF_A_MONTH < 10**38


def test_the_largest_bar_is_stored() -> None:
    """A bar with every number at its limit becomes a row."""
    bar = Bar(
        *("X", "1m", EXCHANGE_TIME_MAX - MINUTE, EXCHANGE_TIME_MAX),
        *(PRICE_MAX, PRICE_MAX, PRICE_MAX, PRICE_MAX),
        *(VOLUME_MAX, QUOTE_VOLUME_MAX, TRADE_ID_MAX, VOLUME_MAX, QUOTE_VOLUME_MAX),
        *(TRADE_ID_MAX, TRADE_ID_MAX, TRADE_ID_MAX),
        closed=True,
    )
    table = rows_from_events([BarEvent(BarEventKind.CLOSE, bar, 0, 1)])
    assert table.num_rows == 1


def test_the_largest_trade_has_the_largest_quote() -> None:
    """The product limit is that of the quote volume which a minute adds up."""
    price = PRICE_MAX
    quantity = PRODUCT_MAX // price
    assert trade_fits(0, 0, price, quantity, TIME)
    minute = Minute("X", TIME // MINUTE * MINUTE)
    minute.add(Trade("X", 0, 0, price, quantity, TIME, False))
    assert minute.quote_volume == quote_units(price, quantity) <= QUOTE_MAX


@pytest.mark.parametrize(
    ("first_id", "last_id", "price", "quantity", "time"),
    [
        (0, 0, 0, 0, TIME),
        (TRADE_ID_MAX, TRADE_ID_MAX, PRICE_MAX, ONE, TIME),
        (5, 4 + AGGREGATE_TRADES_MAX, 1, QUANTITY_MAX, TIME),
        (1, 1, 1, 1, EXCHANGE_TIME_MIN),
        (1, 1, 1, 1, EXCHANGE_TIME_MAX - 1),
    ],
)
def test_a_trade_at_a_limit_fits(first_id: int, last_id: int, price: int, quantity: int, time: int) -> None:
    """The limits are inclusive."""
    assert trade_fits(first_id, last_id, price, quantity, time)


@pytest.mark.parametrize(
    ("first_id", "last_id", "price", "quantity", "time"),
    [
        (NO_TRADE, NO_TRADE, 1, 1, TIME),
        (2**63, 2**63, 1, 1, TIME),
        (5, 4, 1, 1, TIME),
        (5, 5 + AGGREGATE_TRADES_MAX, 1, 1, TIME),
        (1, 1, PRICE_MAX + 1, 1, TIME),
        (1, 1, 1, QUANTITY_MAX + 1, TIME),
        (1, 1, PRICE_MAX, QUANTITY_MAX, TIME),
        (1, 1, -1, 1, TIME),
        (1, 1, 1, -1, TIME),
        (1, 1, 1, 1, EXCHANGE_TIME_MIN - 1),
        (1, 1, 1, 1, EXCHANGE_TIME_MAX),
        (1, 1, 1, 1, 10**18),
    ],
)
def test_a_trade_past_a_limit_does_not_fit(
    first_id: int, last_id: int, price: int, quantity: int, time: int
) -> None:
    """Each limit is checked by itself, and the product too."""
    assert not trade_fits(first_id, last_id, price, quantity, time)
