"""Metrics whose cause a daemon on its own cannot be given at will: each is made to happen to its part alone."""

import errno
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import trio

from candled.domain.feed_event import FeedEvent, ServerTime, TradesArrived
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.feed.binance.feed import BinanceFeed
from candled.feed.interface import Instrument
from candled.feed.repair import Repairer
from candled.history import HistorySettings, open_history
from candled.history.files import Files
from candled.metrics import (
    ENGINE_METRICS,
    FEED_METRICS,
    HISTORY_METRICS,
    QUEUE_METRICS,
    REPAIR_METRICS,
    STREAM_METRICS,
    TableCollector,
)
from candled.stream.subscription import Selection
from tests.feed.test_repair import KLINES_FROM, Lacks, Source
from tests.history import bars as history_bars
from tests.stream.support import Recorder, World, close, minute, update

START = 1_779_000_000 * 1_000_000 // MINUTE * MINUTE


def shown(table: Any, statistics: Any) -> dict[str, float]:
    """What ``/metrics`` shows of a part: the sum over the labels of each metric, counters by their full name."""
    sums: dict[str, float] = {}
    for family in TableCollector(table, lambda: statistics).collect():
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def trade(first_id: int, last_id: int, *, symbol: str = "BTCUSDT", time: int = START) -> Trade:
    return Trade(symbol, first_id, last_id, 10**8, 10**8, time, False)


def engine_given(*batches: Iterable[Trade]) -> Engine:
    """An engine that knows the exchange's clock and was given these batches of the stream."""
    engine = Engine(("BTCUSDT",))
    for second in (0, 2, 4):
        engine.handle(ServerTime(START + second * 1_000_000, float(second)), float(second))
    for batch in batches:
        trades = list(batch)
        engine.handle(TradesArrived(trades, START + 4_000_000, 4.0), 4.0)
    return engine


async def an_aggregate_overlaps_what_was_seen(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 8)], [trade(7, 10)]))


async def a_trade_is_dated_far_ahead(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5, time=START + 120 * MINUTE)]))


async def a_trade_comes_of_a_symbol_that_nobody_asked_for(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5, symbol="XYZUSDT")]))


async def the_engine_stands_still(_directory: Path) -> dict[str, float]:
    feed = BinanceFeed(
        instruments=[Instrument("BTCUSDT", "TRADING", 2, 5)],
        stream="trade",
        stream_urls=(),
        connections=1,
        source=Source(1),
        connect=_nowhere,
        rng=random.Random(1),
    )
    send, receive = trio.open_memory_channel[FeedEvent](1)
    with send, receive:
        for _ in range(2):
            feed._hand_over([trade(5, 5)], START, 0.0, send)
    return shown(FEED_METRICS, feed)


async def _nowhere(_host: str, _port: int, _tls: bool) -> trio.abc.Stream:
    raise AssertionError("nothing is to be connected")


async def trades_wait_for_the_engine(_directory: Path) -> dict[str, float]:
    send, receive = trio.open_memory_channel[int](5)
    with send, receive:
        send.send_nowait(1)
        return shown(QUEUE_METRICS, {"engine": send.statistics()})


async def the_daemon_was_away_for_long(_directory: Path) -> dict[str, float]:
    lacks = Lacks(501, 500 + 4 * KLINES_FROM)
    repairer = Repairer(Source(100_000), lacks, lacks.submit, {}, random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repairer.run)
        await lacks.content.wait()
        nursery.cancel_scope.cancel()
    return shown(REPAIR_METRICS, repairer.counts)


async def a_client_is_slow(_directory: Path) -> dict[str, float]:
    world = World()
    _slow_stream(world)
    world.publish(update(minute(0, trades=1)), update(minute(0, trades=2)))
    return shown(STREAM_METRICS, world.hub.statistics())


async def a_client_is_frozen(_directory: Path) -> dict[str, float]:
    world = World(backlog_max=2)
    _slow_stream(world)
    world.publish(*(close(minute(number), number + 1) for number in range(3)))
    return shown(STREAM_METRICS, world.hub.statistics())


async def a_closed_bar_is_not_stored_yet(_directory: Path) -> dict[str, float]:
    world = World()
    world.publish(close(minute(0), 1))
    return shown(STREAM_METRICS, world.hub.statistics())


def _slow_stream(world: World) -> None:
    subscription = world.hub.subscribe(Selection(), Recorder(ready=False))
    world.hub.go_live(subscription)
    while subscription.take(world.now, 100):
        pass


class FullDisk(Files):
    """No file can be finished, but for those that the directory begins with."""

    full = False

    def sync(self, path: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().sync(path)


async def the_disk_is_full(directory: Path) -> dict[str, float]:
    files = FullDisk()
    settings = HistorySettings(publish_delay=0.0, retry_delay_max=0.1)
    async with (
        open_history(directory, exchange="x", settings=settings, files=files) as history,
        trio.open_nursery() as nursery,
    ):
        send, receive = trio.open_memory_channel[Any](1)
        await nursery.start(history.serve, receive)
        files.full = True
        async with send:
            await send.send(history_bars.events([history_bars.minute(0)], (history.epoch << 32) + 1))
            while not history.statistics().write_errors:
                await trio.sleep(0.01)
            found = shown(HISTORY_METRICS, history.statistics())
            files.full = False
    return found


CAUSES: Mapping[str, Callable[[Path], Awaitable[dict[str, float]]]] = {
    "candled_overlapping_aggregates_total": an_aggregate_overlaps_what_was_seen,
    "candled_misdated_trades_total": a_trade_is_dated_far_ahead,
    "candled_unknown_trades_total": a_trade_comes_of_a_symbol_that_nobody_asked_for,
    "candled_feed_dropped_batches_total": the_engine_stands_still,
    "candled_queue_items": trades_wait_for_the_engine,
    "candled_repair_klines_total": the_daemon_was_away_for_long,
    "candled_stream_conflated_total": a_client_is_slow,
    "candled_stream_fell_behind_total": a_client_is_frozen,
    "candled_stream_unstored_bars": a_closed_bar_is_not_stored_yet,
    "candled_history_write_errors_total": the_disk_is_full,
}
"""What moves each of them."""
