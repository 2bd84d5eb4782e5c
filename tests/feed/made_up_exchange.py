"""The least that an adapter can be: an exchange that sends trades as lists and answers from a list of its own.

A trade follows from its id: one each ten seconds. There are no aggregates, klines, heartbeats or limits worth a
mention; every fourth message is lost. Read it beside "Add an exchange" in CONTRIBUTING.md.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import attrs
import httpcore
import trio

from candled.domain.interval import MINUTE
from candled.domain.limits import trade_fits
from candled.domain.numbers import parse_units
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed import adapter
from candled.feed.refusals import RefusalBook

BEGIN = 1_700_000_000_000_000
PAUSE = 10_000_000
PAGE = 500
CAPABILITIES = adapter.Capabilities(
    streams=("trade",),
    page=PAGE,
    kline_page=1,
    klines_carry_trade_count=False,
    aggregates_exact=False,
    empty_minutes=False,
    states_newest_ids=False,
    quote_decimals=16,
    weights=adapter.Weights(trades=1, aggregates=1, klines=1, reserve=10),
    connection_lifetime=float("inf"),
    keepalive=30.0,
    streams_per_connection=100,
    attempts=(100, 60.0),
    message_seconds=0.0,
    requests_at_once=2,
    rest_lag_max=MINUTE,
)


def now() -> int:
    """The exchange's clock."""
    return BEGIN + round(trio.current_time() * 1_000_000)


def row(trade_id: int) -> list[object]:
    """A trade as the exchange writes it: id, price, quantity, time, whether the buyer was the maker."""
    return [
        trade_id,
        f"{100 + trade_id % 7}.5",
        f"0.{trade_id % 9 + 1}",
        BEGIN + trade_id * PAUSE,
        trade_id % 2 == 0,
    ]


def read(fields: Sequence[object], symbol: str) -> Trade:
    """Make a trade of a row; raises ``ValueError`` for one that is none."""
    trade_id, price, quantity, time, maker = fields
    if type(trade_id) is not int or type(time) is not int or not isinstance(maker, bool):
        raise ValueError("no trade")
    trade = Trade(symbol, trade_id, trade_id, parse_units(str(price)), parse_units(str(quantity)), time, maker)
    if not trade_fits(trade_id, trade_id, trade.price, trade.quantity, time):
        raise ValueError("no trade that fits")
    return trade


@attrs.define
class MadeUpRest:
    """See ``RestClient``."""

    requests: int = 0
    failures: int = 0
    bytes: int = 0
    refusals: RefusalBook = attrs.Factory(RefusalBook)
    capabilities: adapter.Capabilities = CAPABILITIES
    weight_used: int = 0
    weight_limit: int = 600

    async def server_time(self) -> int:
        return now()

    async def describe(self, symbols: Sequence[str]) -> adapter.ExchangeDescription:
        known = {"A/B": adapter.Instrument("A/B", adapter.TRADING, 1, 1)}
        return adapter.ExchangeDescription("made-up", known, list(known))

    async def trades(self, symbol: str, first_id: int, limit: int) -> adapter.TradePage:
        await trio.lowlevel.checkpoint()
        self.requests += 1
        last = min((now() - BEGIN) // PAUSE, first_id + limit - 1)
        return adapter.TradePage([read(row(trade_id), symbol) for trade_id in range(first_id, last + 1)])

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> adapter.TradePage:
        return await self.aggregates_from(symbol, max(0, -((BEGIN - time) // PAUSE)), limit)

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> adapter.TradePage:
        return await self.trades(symbol, cursor, limit)

    async def newest(self, symbol: str) -> Trade | None:
        return (await self.trades(symbol, (now() - BEGIN) // PAUSE, 1)).trades[-1]

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> adapter.KlinePage:
        return adapter.KlinePage([])


@attrs.frozen
class MadeUpAdapter:
    """See ``ExchangeAdapter``."""

    name: str = "made-up"
    identity: str = "made-up"
    defaults: adapter.Defaults = adapter.Defaults(
        symbols=("A/B",), stream_urls=("ws://made-up",), rest_urls=("http://made-up",), rest_weight_per_minute=600
    )
    capabilities: adapter.Capabilities = CAPABILITIES

    def channel(self, instrument: adapter.Instrument, stream: str) -> str:
        return instrument.symbol

    def subscribe(self, base_url: str, channels: Sequence[str]) -> adapter.Subscription:
        return adapter.Subscription(base_url, tuple(channels))

    def decode(self, frames: Iterable[str | bytes]) -> adapter.Decoded:
        decoded = adapter.Decoded()
        for frame in frames:
            try:
                symbol, *fields = json.loads(frame)
                decoded.trades.append(read(fields, symbol))
            except (ValueError, TypeError):
                decoded.refused.append(Refused(Refusal.FORM, repr(frame[:60])))
        decoded.event_times = {trade.symbol: trade.time for trade in decoded.trades}
        return decoded

    @asynccontextmanager
    async def open_rest(
        self,
        base_urls: Sequence[str] = (),
        weight_per_minute: int | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> AsyncIterator[MadeUpRest]:
        yield MadeUpRest()


ADAPTER = MadeUpAdapter()
