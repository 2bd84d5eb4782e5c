"""Binance spot: what it offers, what its answers prove, and what it limits."""

from typing import Final

from candled.domain.interval import MINUTE
from candled.feed.adapter import Capabilities, Weights
from candled.feed.binance.rest_rows import PAGE

CAPABILITIES: Final = Capabilities(
    streams=("trade", "aggTrade"),
    page=PAGE,
    kline_page=PAGE,
    klines_carry_trade_count=True,
    aggregates_exact=True,
    empty_minutes=True,
    states_newest_ids=False,
    quote_decimals=8,
    weights=Weights(trades=25, aggregates=4, klines=2, reserve=150),
    connection_lifetime=23.5 * 3600,  # the exchange ends it at 24 h
    keepalive=20.0,
    streams_per_connection=1_024,
    attempts=(250, 300.0),  # the exchange allows 300 in five minutes
    message_seconds=0.3,  # the exchange takes five a second
    requests_at_once=10,
    rest_lag_max=5 * MINUTE,
)
