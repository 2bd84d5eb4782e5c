"""A feed on an exchange in memory, on the clock of the test, and what came of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import trio

from candled.domain.feed_event import FeedEvent, StreamLive, StreamLost, TradeExists, TradesArrived
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import DAY
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange, Limits
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from candled.feed.adapter import ExchangeAdapter
from candled.feed.binance.adapter import ADAPTER
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.feed import Feed

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
START = 20_400 * DAY + DAY // 2


@attrs.define
class Received:
    """Events that a feed emitted, as an engine would receive them."""

    seen: dict[str, IdRanges] = attrs.Factory(dict)
    lives: list[tuple[str, ...]] = attrs.Factory(list)
    losses: list[tuple[str, ...]] = attrs.Factory(list)
    exists: dict[str, int] = attrs.Factory(dict)

    def receive(self, event: FeedEvent) -> None:
        match event:
            case TradesArrived(trades=trades):
                for trade in trades:
                    self.seen.setdefault(trade.symbol, IdRanges()).add(trade.first_id, trade.last_id)
            case StreamLive(symbols=symbols):
                self.lives.append(symbols)
            case StreamLost(symbols=symbols):
                self.losses.append(symbols)
            case TradeExists(symbol=symbol, trade_id=trade_id):
                self.exists[symbol] = trade_id

    def last(self, symbol: str) -> int:
        """Highest id that came."""
        return (self.seen[symbol].last if symbol in self.seen else None) or -1


@attrs.define
class Network:
    """Connections to the exchange, each with when and where to it was made."""

    memory: MemoryExchange
    made: list[tuple[float, str]] = attrs.Factory(list)
    streams: list[Any] = attrs.Factory(list)
    """Their ends in memory, which can be cut."""
    down: set[str] = attrs.Factory(set)
    """Hosts that refuse connections."""
    failures: dict[str, Exception] = attrs.Factory(dict)
    """What connecting to a host raises."""
    seconds: float = 1.0
    """How long it takes to connect, so that trades are missed by whoever lets go too early."""

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        self.made.append((trio.current_time(), host))
        await trio.sleep(self.seconds)
        if host in self.down:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(f"{host} is down")
        if host in self.failures:
            raise self.failures[host]
        stream = await self.memory.connect(host, port, tls)
        self.streams.append(stream)
        return stream

    @property
    def hosts(self) -> list[str]:
        return [host for _, host in self.made]


@attrs.define
class Stand:
    """All of it."""

    exchange: Exchange
    network: Network
    rest: BinanceRest
    feed: Feed
    received: Received

    async def until(self, condition: Callable[[], bool], seconds: float = 1800.0) -> None:
        """Wait, on the mock clock, until something is so."""
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(0.5)

    async def hears_each(self, symbols: Sequence[str] = SYMBOLS, seconds: float = 1800.0) -> None:
        """Wait until a further trade of each of them came."""
        before = {symbol: self.received.last(symbol) for symbol in symbols}
        await self.until(lambda: all(self.received.last(s) > before[s] for s in symbols), seconds)

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """Trade ids that did not come, between the first and the last that did."""
        seen = self.received.seen[symbol]
        return seen.missing(next(iter(seen))[0], self.received.last(symbol))


def make_exchange(
    symbols: Sequence[str] = SYMBOLS, *, rate: float = 1.0, limits: Limits | None = None
) -> Exchange:
    clock = ExchangeClock(START, trio.current_time)
    return Exchange(SyntheticMarket(1, symbols, rate=rate), clock, limits=limits)


@asynccontextmanager
async def open_feed(
    exchange: Exchange,
    symbols: Sequence[str] = SYMBOLS,
    *,
    connections: int = 1,
    stream_urls: Sequence[str] = ("ws://a", "ws://b"),
    prepare: Callable[[Network], Awaitable[None]] | None = None,
    lifetime: float = 80_000.0,
    adapter: ExchangeAdapter = ADAPTER,
) -> AsyncIterator[Stand]:
    """A feed that reads, for as long as it is inside."""
    async with (
        open_memory_exchange(exchange) as memory,
        open_rest(["http://a"], 6000, memory.backend()) as rest,
        trio.open_nursery() as nursery,
    ):
        network = Network(memory)
        if prepare is not None:
            await prepare(network)
        description = await rest.describe(symbols)
        feed = Feed(
            adapter,
            instruments=[description.instruments[symbol] for symbol in symbols],
            stream="trade",
            stream_urls=stream_urls,
            connections=connections,
            source=rest,
            connect=network.connect,
            rng=Random(1),
            lifetime=lifetime,
        )
        received = Received()
        send, receive = trio.open_memory_channel[FeedEvent](10_000)

        async def listen() -> None:
            async for event in receive:
                received.receive(event)

        nursery.start_soon(listen)
        nursery.start_soon(feed.run, send)
        yield Stand(exchange, network, rest, feed, received)
        nursery.cancel_scope.cancel()
