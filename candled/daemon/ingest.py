"""Ingest: the tasks that read the exchange and send what they read to the aggregator.

The feed sends trades as they happen, the repair sends the ones that were missed, and the listing watch notices
when a symbol is halted or gone. The feed never waits for the engine: when the channel is full it drops the batch,
whose ids become a gap that the repair fetches.
"""

import random
from collections.abc import Collection

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.aggregator import Submitted
from candled.daemon.catch_up import log_catch_up
from candled.daemon.missing_data import EngineMissingData
from candled.domain.feed_event import FeedEvent
from candled.engine.engine import Engine
from candled.feed.adapter import TRADING, Connect, ExchangeDescription, TradeSource
from candled.feed.feed import Feed
from candled.feed.instruments import Listings, ListingWatch
from candled.feed.registry import find_adapter
from candled.feed.repair.context import RepairContext, Submit
from candled.feed.repair.plan import RepairWays
from candled.feed.repair.repairer import Repairer


@attrs.frozen
class Ingest:
    """The parts that read the exchange, wired to one channel; ``run`` does the work."""

    feed: Feed
    listings: Listings
    repairer: Repairer
    submit: Submit
    """Hands an event to the engine and returns when it was handled."""
    _watch: ListingWatch
    _engine: Engine
    _events: trio.MemorySendChannel[FeedEvent | Submitted]

    async def run(self) -> None:
        """Send trades to the aggregator until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.feed.run, self._events.clone())
            nursery.start_soon(self.repairer.run)
            nursery.start_soon(self._watch.run)
            nursery.start_soon(log_catch_up, self._minutes_left)

    def follow(self, symbols: Collection[str]) -> None:
        """Read the streams of these symbols and of no others."""
        self.feed.follow([self.listings.instruments[symbol] for symbol in symbols])

    def _minutes_left(self) -> dict[str, int]:
        """Return the minutes without a bar of each symbol that is traded: of the others there are no klines."""
        return {
            found.symbol: found.minutes_left
            for found in self._engine.statistics().symbols
            if self.listings.status(found.symbol) == TRADING
        }


def make_ingest(
    settings: DaemonSettings,
    description: ExchangeDescription,
    engine: Engine,
    *,
    source: TradeSource,
    events: trio.MemorySendChannel[FeedEvent | Submitted],
    connect: Connect,
    rng: random.Random,
    ways: RepairWays | None = None,
) -> Ingest:
    """Wire feed, repair and listing watch of one exchange.

    Args:
        settings: which symbols, which stream, over how many connections.
        description: what the exchange said of itself and of the symbols.
        engine: read for what it misses.
        source: the exchange's REST side.
        events: takes feed events to the aggregator; the caller closes it.
        connect: opens byte streams to the exchange's websockets.
        rng: jitter.
        ways: how gaps are filled, by their size.
    """

    async def submit(event: FeedEvent) -> None:
        submitted = Submitted(event)
        await events.send(submitted)
        await submitted.handled.wait()

    listings = Listings(description)
    adapter = find_adapter(settings.exchange)
    watch = ListingWatch(source, listings, on_change=lambda: repairer.wake())
    feed = Feed(
        adapter,
        instruments=[description.instruments[symbol] for symbol in settings.symbols],
        stream=settings.stream,
        stream_urls=settings.stream_urls,
        connections=settings.connections,
        source=source,
        connect=connect,
        rng=rng,
        is_listed=listings.is_listed,
        on_quiet=watch.look_soon,
        websocket_library=settings.websocket_library,
    )
    repairer = Repairer(
        RepairContext(
            source=source,
            capabilities=adapter.capabilities,
            missing_data=EngineMissingData(engine, listings.is_listed),
            submit=submit,
            instruments=listings.instruments,
            reads_aggregates=feed.reads_aggregates,
        ),
        rng,
        ways,
    )
    return Ingest(feed, listings, repairer, submit, watch, engine, events)
