"""Names of the columns of stored bars, for SQL: ``columns`` has their types, and imports Arrow for them."""

from typing import Final

NUMBER_COLUMNS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""What a bar says of its trades, ids left out."""
BAR_COLUMNS: Final = (
    "symbol",
    "interval",
    "open_time",
    "close_time",
    *NUMBER_COLUMNS,
    "first_trade_id",
    "last_trade_id",
    "closed",
    "complete",
    "revision",
)
"""Columns of the view ``bars``, in order."""
ROW_COLUMNS: Final = (
    "symbol",
    "open_time",
    "close_time",
    *NUMBER_COLUMNS,
    "first_trade_id",
    "last_trade_id",
    "previous_trade_id",
    "complete",
    "revision",
    "position",
)
"""Columns of files with more than one symbol, in order."""
