"""Limits of the domain for every value from outside.

Each boundary checks its input against these, so the code behind it can rely on them.
"""

from typing import Final

from candled.domain.interval import DAY
from candled.domain.numbers import ONE

# --- Times, names and reads ---

TIME_MIN: Final = 0
"""Earliest time that a request may name, microseconds since the epoch: 1970, which asks for everything."""

TIME_MAX: Final = 47_482 * DAY
"""Latest time that a request may name, microseconds since the epoch: the beginning of the year 2100."""

SYMBOL_BYTES_MAX: Final = 80
"""Length of a symbol in UTF-8: percent-encoded after ``symbol=`` it still fits a folder's name of 255 bytes."""

READ_MINUTES_MAX: Final = 12 * 31 * 1_440
"""Minutes that one read may span, a year, or those of one bar: reading a longer bar means reading its minutes."""


def is_time(time: int) -> bool:
    """Return whether a time lies within the limits."""
    return TIME_MIN <= time <= TIME_MAX


def is_symbol(text: str) -> bool:
    """Return whether a text can be a symbol: printable, one word, not too long. Any script will do."""
    return 0 < len(text) <= SYMBOL_BYTES_MAX and text.isprintable() and " " not in text and _is_short(text)


def _is_short(text: str) -> bool:
    # Printable text holds no lone surrogates, so it can be encoded.
    return len(text.encode()) <= SYMBOL_BYTES_MAX


# --- Numbers, ids and times of trades and bars ---
#
# Numbers are in units of 10^-8. They follow from the columns of the history, and a test,
# ``tests/domain/test_value_limits.py``, ties them together. The limits of one trade are so far below the
# columns of a minute that ``MINUTE_TRADES_MAX`` trades of the largest size fit, and a month of such
# minutes fits the type that a query adds them up in: no sum ever has to be checked again.

PRICE_MAX: Final = 10**10 * ONE - 1
"""Highest price that the columns of a bar hold."""
QUANTITY_MAX: Final = 10**12 * ONE - 1
"""Largest quantity of a trade or an aggregate: ten times what counting 10^-8 in 64 bits can state."""
QUOTE_MAX: Final = 10**17 * ONE - 1
"""Largest price x quantity of a trade or an aggregate."""
PRODUCT_MAX: Final = QUOTE_MAX * ONE
"""The same as a product of two numbers in units, which saves a division for every trade."""
EXACT_QUOTE_MAX: Final = 10**9 * ONE
"""The same where quote volumes are exact: of 38 digits, sixteen are decimals then."""
EXACT_PRODUCT_MAX: Final = EXACT_QUOTE_MAX * ONE
TRADE_ID_MAX: Final = 2**63 - 1
AGGREGATE_TRADES_MAX: Final = 1_000_000
"""Trades in one aggregate."""

MINUTE_TRADES_MAX: Final = 10**8
VOLUME_MAX: Final = QUANTITY_MAX * MINUTE_TRADES_MAX
"""Largest volume of a minute."""
QUOTE_VOLUME_MAX: Final = QUOTE_MAX * MINUTE_TRADES_MAX
"""Largest quote volume of a minute."""

EXCHANGE_TIME_MIN: Final = 14_610 * DAY
"""2010-01-01: no exchange that candled reads is older."""
EXCHANGE_TIME_MAX: Final = TIME_MAX
"""2100-01-01, exclusive."""

EVENT_LEAD_MAX: Final = 1_000_000
"""By which a trade may be later than the message that states it, microseconds."""

ID_JUMP_MAX: Final = 100_000
"""Ids that may be missing between two trades of the same moment, as a connection lost them: a single row whose id
lies further ahead is not believed."""


def trade_fits(first_id: int, last_id: int, price: int, quantity: int, time: int) -> bool:
    """Return whether a trade or an aggregate lies within all limits."""
    return (
        0 <= first_id <= last_id <= TRADE_ID_MAX
        and last_id - first_id < AGGREGATE_TRADES_MAX
        and 0 <= price <= PRICE_MAX
        and 0 <= quantity <= QUANTITY_MAX
        and price * quantity <= PRODUCT_MAX
        and EXCHANGE_TIME_MIN <= time < EXCHANGE_TIME_MAX
    )
