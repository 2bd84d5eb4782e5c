"""Metrics whose cause a daemon on its own cannot be given at will: each is made to happen to its part alone."""

import errno
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import trio
import trustme

from candled.daemon.metrics.bars import ENGINE_METRICS
from candled.daemon.metrics.exchange import FEED_METRICS, REPAIR_METRICS
from candled.daemon.metrics.outputs import GRPC_METRICS, HISTORY_METRICS, HTTP_METRICS, STREAM_METRICS
from candled.daemon.metrics.process import QUEUE_METRICS
from candled.domain.feed_event import DecimalsStated, FeedEvent, NewestTradeStated, ServerTime, TradesArrived
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.id_watch import CANDIDATE_TRADES
from candled.feed.adapter import Decoded, Instrument
from candled.feed.binance.adapter import ADAPTER
from candled.feed.feed import Feed
from candled.history import HistorySettings, open_history
from candled.history.durable_io import Files
from candled.stream.admission import ConnectionLimits
from candled.stream.grpc.limits import Limits
from candled.stream.subscription import Selection
from candled.stream.web.connection import HttpTimes
from candled.telemetry.table import TableCollector
from tests.feed.test_repair import KLINES_FROM, Lacks, Source, make_repairer
from tests.history import bars as history_bars
from tests.stream.support import Recorder, World, close, minute, open_service, update
from tests.stream.test_security import write_certificate
from tests.web.test_connections import get, open_port, read_to_the_end

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


def engine_given(*batches: Iterable[Trade], decimals: tuple[int, int] = (2, 5)) -> Engine:
    """An engine that knows the exchange's clock and was given these batches of the stream."""
    engine = Engine(("BTCUSDT",))
    engine.handle(DecimalsStated("BTCUSDT", *decimals), 0.0)
    for second in range(-12, 5, 2):
        engine.handle(ServerTime(START + second * 1_000_000, float(second), float(second)), float(second))
    for batch in batches:
        trades = list(batch)
        engine.handle(TradesArrived(trades, {"BTCUSDT": START + 4_000_000}, 4.0), 4.0)
    return engine


async def an_aggregate_overlaps_what_was_seen(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 8)], [trade(7, 10)], decimals=(0, 8)).statistics())


async def an_aggregate_of_fine_products_comes(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 8)], decimals=(5, 4)).statistics())


async def a_trade_is_dated_before_its_predecessor(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5)], [trade(6, 6, time=START - 60 * MINUTE)]).statistics())


async def a_trade_is_dated_far_ahead(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5, time=START + 120 * MINUTE)]).statistics())


async def a_symbol_is_an_hour_ahead(_directory: Path) -> dict[str, float]:
    engine = engine_given([trade(5, 5)])
    engine.time.observe({"BTCUSDT": START + 60 * MINUTE}, 4.0)
    return shown(ENGINE_METRICS, engine.statistics())


async def an_id_is_far_ahead(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5)], [trade(10**9, 10**9)]).statistics())


async def ids_are_reset(_directory: Path) -> dict[str, float]:
    engine = engine_given([trade(10**9, 10**9)])
    for number in range(CANDIDATE_TRADES):
        later = trade(number, number, time=START + 2_000_000 + number)
        engine.handle(TradesArrived([later], {"BTCUSDT": START + 4_000_000}, 4.0), 4.0)
    engine.handle(NewestTradeStated("BTCUSDT", later), 4.0)
    return shown(ENGINE_METRICS, engine.statistics())


async def a_trade_comes_of_a_symbol_that_nobody_asked_for(_directory: Path) -> dict[str, float]:
    return shown(ENGINE_METRICS, engine_given([trade(5, 5, symbol="XYZUSDT")]).statistics())


async def the_engine_stands_still(_directory: Path) -> dict[str, float]:
    feed = Feed(
        ADAPTER,
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
            feed.intake.take(Decoded([trade(5, 5)], {"BTCUSDT": START}), 0.0, send)
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
    repairer = make_repairer(Source(100_000), lacks)
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


async def a_client_says_nothing(_directory: Path) -> dict[str, float]:
    async with (
        open_service(World(clock=trio.current_time)) as server,
        await trio.open_tcp_stream(server.host, server.port),
    ):
        while not server.statistics().admission.pending:
            await trio.sleep(0.01)
        return shown(GRPC_METRICS, server.statistics())


async def clients_open_too_many_connections(_directory: Path) -> dict[str, float]:
    limits = Limits(connections=ConnectionLimits(pending_per_address=0))
    async with open_service(World(clock=trio.current_time), limits) as server:
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await read_to_the_end(stream)
        return shown(GRPC_METRICS, server.statistics())


async def a_client_sends_no_tls(directory: Path) -> dict[str, float]:
    files = write_certificate(directory, trustme.CA())
    async with open_service(World(clock=trio.current_time), files=files) as server:
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await read_to_the_end(stream)
        while not server.statistics().cuts["handshake"]:
            await trio.sleep(0.01)
        return shown(GRPC_METRICS, server.statistics())


async def browsers_open_too_many_connections(_directory: Path) -> dict[str, float]:
    async with open_port(ConnectionLimits(per_address=0)) as port:
        await port.ask(get("/metrics"))
        return shown(HTTP_METRICS, port.counts)


async def a_browser_never_ends_its_request(_directory: Path) -> dict[str, float]:
    async with open_port(times=HttpTimes(request=0.1)) as port, await port.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        await read_to_the_end(stream)
        return shown(HTTP_METRICS, port.counts)


CAUSES: Mapping[str, Callable[[Path], Awaitable[dict[str, float]]]] = {
    "candled_overlapping_aggregates_total": an_aggregate_overlaps_what_was_seen,
    "candled_inexact_aggregates_total": an_aggregate_of_fine_products_comes,
    "candled_misdated_trades_total": a_trade_is_dated_before_its_predecessor,
    "candled_held_trades": a_trade_is_dated_far_ahead,
    "candled_time_known": a_trade_is_dated_far_ahead,
    "candled_time_moves_total": a_trade_is_dated_far_ahead,
    "candled_time_quarantined": a_symbol_is_an_hour_ahead,
    "candled_time_disagreements_total": a_symbol_is_an_hour_ahead,
    "candled_ids_refused_total": an_id_is_far_ahead,
    "candled_id_epochs_total": ids_are_reset,
    "candled_unknown_trades_total": a_trade_comes_of_a_symbol_that_nobody_asked_for,
    "candled_feed_dropped_batches_total": the_engine_stands_still,
    "candled_queue_items": trades_wait_for_the_engine,
    "candled_repair_klines_total": the_daemon_was_away_for_long,
    "candled_stream_conflated_total": a_client_is_slow,
    "candled_stream_fell_behind_total": a_client_is_frozen,
    "candled_stream_unstored_bars": a_closed_bar_is_not_stored_yet,
    "candled_history_write_errors_total": the_disk_is_full,
    "candled_grpc_connections_pending": a_client_says_nothing,
    "candled_grpc_connections_refused_total": clients_open_too_many_connections,
    "candled_grpc_connections_cut_total": a_client_sends_no_tls,
    "candled_http_connections_refused_total": browsers_open_too_many_connections,
    "candled_http_connections_cut_total": a_browser_never_ends_its_request,
}
"""What moves each of them."""
