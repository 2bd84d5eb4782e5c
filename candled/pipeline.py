"""The way of a trade from the exchange to its bars: feed, repair and engine, wired together."""

import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import attrs
import trio

from candled.aggregator import Aggregator, EngineWishes, StoredBars, Submitted
from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import FeedEvent
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.engine.engine import Engine
from candled.engine.rollup import RollUp
from candled.feed.binance.feed import BinanceFeed
from candled.feed.interface import Connect, ExchangeDescription, TradeSource
from candled.feed.listings import Listings, ListingWatch
from candled.feed.repair import Repairer, RepairWays
from candled.lags import Lags
from candled.settings import DaemonSettings

FEED_EVENTS: Final = 2_000
"""Batches that may wait for the engine; what finds no room is fetched again later."""
REBUILD_MINUTES: Final = 7 * 1440
"""How far back from the newest stored bar an incomplete one is rebuilt at a start."""
LOOK_BACK_BARS: Final = 30_000
"""Stored bars looked through at a start, of all symbols together, for minutes that are not there at all."""
LOOK_BACK_MINUTES_MIN: Final = 240
"""Of each symbol at least so many."""


class Stored(StoredBars, Protocol):
    """What of the history is read back, at a start too."""

    async def newest_bars(self) -> Mapping[str, Bar]:
        """The newest stored 1-minute bar of each symbol."""

    async def incomplete_bars(self, symbol: str, since: int, limit: int) -> list[Bar]:
        """Stored 1-minute bars that are not complete, oldest first."""


class Audience(Protocol):
    """Who is told of bars."""

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Take bar events of all intervals, at once."""

    def wanted(self, symbol: str) -> Collection[str]:
        """Intervals of a symbol whose forming bars somebody watches."""


@attrs.frozen
class Pipeline:
    """The parts under way."""

    engine: Engine
    rollup: RollUp
    feed: BinanceFeed
    listings: Listings
    repairer: Repairer
    stored: Stored
    waiting: Callable[[], trio.MemoryChannelStatistics]
    """The queue of events for the engine."""

    async def add(self, description: ExchangeDescription) -> None:
        """Make bars of these symbols too, going on from what is stored of them."""
        await restore_symbols(list(description.instruments), self.engine, self.rollup, self.stored)
        self.listings.add(description)
        self._follow()

    def remove(self, symbol: str) -> None:
        """Make no more bars of this symbol; its forming bar is let go."""
        self.engine.remove(symbol)
        self.rollup.forget(symbol)
        self.listings.forget(symbol)
        self._follow()

    def _follow(self) -> None:
        self.feed.follow([self.listings.instruments[symbol] for symbol in self.engine.symbols])


async def restore(
    settings: DaemonSettings, stored: Stored, next_position: Callable[[], int]
) -> tuple[Engine, RollUp]:
    """An engine and a roll-up that go on from the stored bars."""
    engine = Engine(
        close_grace=round(settings.close_grace * MICROSECONDS),
        next_position=next_position,
    )
    rollup = RollUp()
    await restore_symbols(settings.symbols, engine, rollup, stored)
    return engine, rollup


async def restore_symbols(symbols: Collection[str], engine: Engine, rollup: RollUp, stored: Stored) -> None:
    """Let engine and roll-up make bars of these symbols too, going on from what is stored of them.

    Of each symbol that is the newest bar, and before it all from the oldest that is to be rebuilt.
    """
    newest = await stored.newest_bars()
    look_back = max(LOOK_BACK_MINUTES_MIN, min(REBUILD_MINUTES, LOOK_BACK_BARS // max(1, len(symbols))))
    for symbol in symbols:
        last = newest.get(symbol)
        if last is None:
            engine.add(symbol)
            continue
        bars = await _bars_to_go_on_from(symbol, last, look_back, stored)
        for interval, start in rollup.seed_ranges(last.close_time).items():
            limit = (last.close_time - start) // MINUTE + 1
            rollup.seed(symbol, await stored.bars(symbol, interval, start, last.close_time, limit))
        engine.add(symbol, bars)


async def _bars_to_go_on_from(symbol: str, last: Bar, look_back: int, stored: Stored) -> list[Bar]:
    oldest = last.close_time - REBUILD_MINUTES * MINUTE
    incomplete = await stored.incomplete_bars(symbol, oldest, 1)
    since = last.close_time - look_back * MINUTE
    if incomplete:
        since = min(since, incomplete[0].open_time - MINUTE)
    bars = await stored.bars(symbol, ONE_MINUTE.name, since, last.close_time, REBUILD_MINUTES + 1)
    for number, bar in enumerate(bars):
        hole_after = number + 1 < len(bars) and bars[number + 1].open_time > bar.close_time
        if not bar.complete or hole_after:
            return bars[number:]
    return [last]


@asynccontextmanager
async def open_pipeline(
    settings: DaemonSettings,
    description: ExchangeDescription,
    engine: Engine,
    rollup: RollUp,
    *,
    source: TradeSource,
    stored: Stored,
    hub: Audience,
    closed: trio.MemorySendChannel[list[BarEvent]],
    connect: Connect,
    rng: random.Random,
    feed_events: int = FEED_EVENTS,
    ways: RepairWays | None = None,
    lags: Lags | None = None,
) -> AsyncIterator[Pipeline]:
    """Trades become bars while inside. On leaving the feed stops first, and what it brought is still handled.

    Args:
        settings: which symbols, which stream, over how many connections.
        description: what the exchange says of itself and of the symbols.
        engine: makes 1-minute bars.
        rollup: makes longer ones.
        source: where missing trades are fetched.
        stored: where bars that left memory are read back.
        hub: told of every bar event.
        closed: takes closed 1-minute bars to the history; closed at the end.
        connect: opens byte streams to the exchange's websockets.
        rng: jitter.
        feed_events: how many batches may wait for the engine.
        ways: how gaps are filled, by their size.
        lags: told how long the stages of a trade's way take.
    """
    send, receive = trio.open_memory_channel[FeedEvent | Submitted](feed_events)

    async def submit(event: FeedEvent) -> None:
        submitted = Submitted(event)
        await send.send(submitted)
        await submitted.handled.wait()

    listings = Listings(description)
    repairer = Repairer(source, EngineWishes(engine, listings.is_listed), submit, listings.instruments, rng, ways)
    watch = ListingWatch(source, listings, on_change=repairer.wake)
    feed = BinanceFeed(
        instruments=[description.instruments[symbol] for symbol in settings.symbols],
        stream=settings.stream,
        stream_urls=settings.stream_urls,
        connections=settings.connections,
        source=source,
        connect=connect,
        rng=rng,
        is_listed=listings.is_listed,
        on_silence=watch.look_soon,
    )
    aggregator = Aggregator(
        engine,
        rollup,
        publish=hub.publish,
        wanted=hub.wanted,
        wake_repair=repairer.wake,
        stored=stored,
        lags=lags or Lags(),
    )
    async with trio.open_nursery() as engine_room:
        engine_room.start_soon(aggregator.run, receive, closed)
        async with send, trio.open_nursery() as field:
            field.start_soon(feed.run, send.clone())
            field.start_soon(repairer.run)
            field.start_soon(watch.run)
            try:
                yield Pipeline(engine, rollup, feed, listings, repairer, stored, send.statistics)
            finally:
                field.cancel_scope.cancel()
