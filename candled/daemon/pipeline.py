"""Ingest and aggregator, joined by one memory channel: trades go in, bars come out."""

import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.aggregator import Aggregator, Submitted
from candled.daemon.ingest import Ingest, make_ingest
from candled.daemon.restore import read_symbols
from candled.daemon.time_watch import TimeWatch
from candled.domain.event import BarEvent
from candled.domain.feed_event import DecimalsStated, FeedEvent, SymbolRemoved
from candled.domain.storage import BarSource
from candled.engine.engine import Engine
from candled.feed.adapter import Connect, ExchangeDescription, TradeSource
from candled.feed.feed import Feed
from candled.feed.instruments import Listings
from candled.feed.repair.plan import RepairWays
from candled.feed.repair.repairer import Repairer
from candled.stream.unstored import UnstoredTail
from candled.telemetry.latency import LatencyHistograms

FEED_EVENTS: Final = 2_000
"""Batches that may wait for the engine; what finds no room is fetched again later."""


class Audience(Protocol):
    """Where bar events are published."""

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Take bar events of all intervals, without waiting."""

    def wanted(self, symbol: str) -> Collection[str]:
        """Intervals of a symbol whose forming bars somebody watches."""


@attrs.frozen
class Pipeline:
    """Ingest and engine at work."""

    engine: Engine
    ingest: Ingest
    stored: BarSource
    waiting: Callable[[], trio.MemoryChannelStatistics]
    """Statistics of the queue between ingest and aggregator."""

    @property
    def feed(self) -> Feed:
        """The streams."""
        return self.ingest.feed

    @property
    def listings(self) -> Listings:
        """What the exchange says of the symbols."""
        return self.ingest.listings

    @property
    def repairer(self) -> Repairer:
        """Fetches what was missed."""
        return self.ingest.repairer

    async def add(self, description: ExchangeDescription) -> None:
        """Make bars of these symbols too, each from its stored bars on."""
        for added in await read_symbols(list(description.instruments), self.stored):
            await self.ingest.submit(added)
        for stated in _decimals(description):
            await self.ingest.submit(stated)
        self.listings.add(description)
        self.ingest.follow(self.engine.symbols)

    async def remove(self, symbol: str) -> None:
        """Stop making bars of this symbol; its forming bar is discarded."""
        await self.ingest.submit(SymbolRemoved(symbol))
        self.listings.forget(symbol)
        self.ingest.follow(self.engine.symbols)


@asynccontextmanager
async def open_pipeline(
    settings: DaemonSettings,
    description: ExchangeDescription,
    engine: Engine,
    *,
    source: TradeSource,
    stored: BarSource,
    hub: Audience,
    unstored: UnstoredTail,
    closed: trio.MemorySendChannel[list[BarEvent]],
    connect: Connect,
    rng: random.Random,
    feed_events: int = FEED_EVENTS,
    ways: RepairWays | None = None,
    latency: LatencyHistograms | None = None,
) -> AsyncIterator[Pipeline]:
    """Make bars of trades while inside. On leaving, ingest stops first and the queue is worked off.

    Args:
        settings: which symbols, which stream, over how many connections.
        description: what the exchange said of itself and of the symbols.
        engine: makes the bars.
        source: the exchange's REST side.
        stored: where bars that left memory are read back.
        hub: takes every bar event.
        unstored: closed bars that ``hub`` took and ``stored`` may lack.
        closed: takes closed 1-minute bars to the writer; closed at the end.
        connect: opens byte streams to the exchange's websockets.
        rng: jitter.
        feed_events: how many batches may wait for the engine.
        ways: how gaps are filled, by their size.
        latency: takes how long the stages of a trade's way take.
    """
    engine.wanted = hub.wanted
    send, receive = trio.open_memory_channel[FeedEvent | Submitted](feed_events)
    ingest = make_ingest(
        settings, description, engine, source=source, events=send, connect=connect, rng=rng, ways=ways
    )
    aggregator = Aggregator(
        engine,
        publish=hub.publish,
        wake_repair=ingest.repairer.wake,
        stored=stored,
        unstored=unstored,
        latency=latency or LatencyHistograms(),
        follow_time=TimeWatch(engine.time, ingest.feed.read_clock_soon).look,
        first=_decimals(description),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aggregator.run, receive, closed)
        # Ingest has a nursery of its own: leaving cancels it and closes the channel, which ends the aggregator
        # once the queue is empty.
        async with send, trio.open_nursery() as ingest_nursery:
            ingest_nursery.start_soon(ingest.run)
            try:
                yield Pipeline(engine, ingest, stored, send.statistics)
            finally:
                ingest_nursery.cancel_scope.cancel()


def _decimals(description: ExchangeDescription) -> list[DecimalsStated]:
    return [
        DecimalsStated(instrument.symbol, instrument.price_decimals, instrument.quantity_decimals)
        for instrument in description.instruments.values()
    ]
