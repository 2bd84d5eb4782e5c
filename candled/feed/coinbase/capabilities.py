"""Coinbase Exchange: what it offers, what its answers prove, and what it limits.

Sources: "REST Rate Limits", "WebSocket Rate Limits", "Get product trades" and "Get product candles" of its API
documents. Its trade ids are contiguous in each product, from 1 on.
"""

from typing import Final

from candled.domain.interval import MINUTE
from candled.domain.numbers import PRODUCT_DECIMALS
from candled.feed.adapter import Capabilities, Weights

PAGE: Final = 1000
"""Most trades of one answer."""
CANDLES: Final = 300
"""Most candles of one answer; a range of more is rejected."""
REQUESTS_PER_SECOND: Final = 10
"""From one address, in public endpoints; bursts of up to 15 are let pass, which is left as a reserve."""

CAPABILITIES: Final = Capabilities(
    streams=("trade",),
    page=PAGE,
    kline_page=CANDLES,
    klines_carry_trade_count=False,
    aggregates_exact=False,
    empty_minutes=False,
    states_newest_ids=True,
    quote_decimals=PRODUCT_DECIMALS,  # it publishes no quote volume, and counts the exact product as executed
    # Every request counts as one. Finding a time takes a few: the exchange knows trades by id alone.
    weights=Weights(trades=1, aggregates=8, klines=1, reserve=60),
    connection_lifetime=float("inf"),
    keepalive=20.0,
    streams_per_connection=100,
    attempts=(8, 1.0),  # the exchange allows 8 a second, and bursts of 20
    message_seconds=0.02,  # the exchange takes a hundred a second
    requests_at_once=5,
    rest_lag_max=5 * MINUTE,
)
