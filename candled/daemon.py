"""The root nursery, where the parts meet. It reads like the way of a trade.

feed --events--> engine --bars--> stream, for whoever listens, and history, for good.
"""

import random
import signal
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import attrs
import httpcore
import structlog
import trio

from candled.aggregator import Aggregator, EngineWishes, Submitted
from candled.domain.event import BarEvent
from candled.domain.feed_event import FeedEvent
from candled.domain.bar import NO_TRADE
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.status import DaemonStatus, SymbolStatus
from candled.engine.engine import Engine
from candled.engine.rollup import RollUp
from candled.engine.symbol import SymbolEngine
from candled.errors import UserError
from candled.feed.backoff import Backoff
from candled.feed.binance.feed import BinanceFeed
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.interface import (
    Connect,
    ExchangeDescription,
    Instrument,
    SourceRefusedError,
    SourceUnavailableError,
)
from candled.feed.repair import Repairer
from candled.feed.websocket import connect_tcp
from candled.history import History, open_history
from candled.metrics import STATUS_METRICS, TableCollector
from candled.settings import DaemonSettings
from candled.stream.grpc.server import open_grpc_server
from candled.stream.hub import Hub
from candled.stream.web.server import serve_http

FEED_EVENTS: Final = 2_000
"""Batches that may wait for the engine; what finds no room is fetched again later."""
CLOSED_BATCHES: Final = 20_000
"""Lists of closed bars that may wait for the disk; with no room left the engine waits, and the feed drops."""
REBUILD_MINUTES: Final = 240
"""How far back from the newest stored bar an incomplete one is rebuilt at a start."""
POSITION_BITS: Final = 32
"""Positions of one opening of a data directory; the epoch stands above them."""

log = structlog.get_logger(__name__)


@attrs.frozen
class Addresses:
    """Where the daemon listens, as ``host:port``."""

    grpc: str
    http: str


async def run_daemon(
    settings: DaemonSettings,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM or SIGINT, then end in order.

    Arguments:
        settings: see there.
        task_status: started with the bound addresses once bars can be streamed and queried.

    Raises:
        UserError: something outside candled keeps it from working; the text says what to change.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            starting = trio.CancelScope()

            async def wait_for_signal() -> None:
                async for number in signals:
                    log.info("stopping", signal=signal.Signals(number).name)
                    stop.set()
                    starting.cancel()

            nursery.start_soon(wait_for_signal)
            await serve_daemon(settings, stop, starting, task_status=task_status)
            nursery.cancel_scope.cancel()


async def serve_daemon(
    settings: DaemonSettings,
    stop: trio.Event,
    starting: trio.CancelScope,
    *,
    connect: Connect = connect_tcp,
    network: httpcore.AsyncNetworkBackend | None = None,
    rng: random.Random | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until ``stop`` is set. Nested nurseries are the order of the end: the feed first, the history last.

    Arguments:
        settings: see there.
        stop: set to end in order.
        starting: cancelled to give up before trades flow.
        connect: opens byte streams to the exchange's websockets.
        network: the same for its REST side; None is the machine's network.
        rng: jitter.
        task_status: started with the bound addresses once bars can be streamed and queried.
    """
    rng = rng or random.Random()
    vitals = _Vitals()
    async with open_rest(settings.rest_urls, settings.rest_weight_per_minute, network) as rest:
        async with trio.open_nursery() as http:
            collectors = [TableCollector(STATUS_METRICS, vitals.status)]
            http_address = await http.start(_serve_http, settings, vitals, collectors)
            description = None
            with starting:
                description = await _describe(rest, settings, vitals, rng)
            if description is not None:
                await _serve_bars(
                    settings, stop, rest, description, vitals, http_address, connect, rng, task_status
                )
            http.cancel_scope.cancel()


async def _serve_bars(
    settings: DaemonSettings,
    stop: trio.Event,
    rest: BinanceRest,
    description: ExchangeDescription,
    vitals: "_Vitals",
    http_address: str,
    connect: Connect,
    rng: random.Random,
    task_status: trio.TaskStatus[Addresses],
) -> None:
    async with (
        open_history(settings.data_dir, exchange=description.identity) as history,
        trio.open_nursery() as writer,
    ):
        send_closed, receive_closed = trio.open_memory_channel[list[BarEvent]](CLOSED_BATCHES)
        await writer.start(history.serve, receive_closed)
        engine = Engine(
            close_grace=round(settings.close_grace * MICROSECONDS),
            first_position=(history.epoch << POSITION_BITS) + 1,
        )
        rollup = RollUp()
        await _restore(engine, rollup, history, settings.symbols)
        hub = Hub(
            clock=trio.current_time,
            snapshot=rollup.forming,
            symbols=lambda: list(engine.symbols),
            stored=history,
        )
        vitals.engine, vitals.description, vitals.history = engine, description, history
        async with (
            send_closed,
            open_grpc_server(
                settings.grpc_address, hub=hub, stored=history, status=vitals.status
            ) as grpc,
            trio.open_nursery() as engine_room,
        ):
            send_events, receive_events = trio.open_memory_channel[FeedEvent | Submitted](FEED_EVENTS)
            feed = BinanceFeed(
                instruments=[description.instruments[symbol] for symbol in settings.symbols],
                stream=settings.stream,
                stream_urls=settings.stream_urls,
                connections=settings.connections,
                source=rest,
                connect=connect,
                rng=rng,
            )
            vitals.feed = feed

            async def submit(event: FeedEvent) -> None:
                submitted = Submitted(event)
                await send_events.send(submitted)
                await submitted.handled.wait()

            repairer = Repairer(rest, EngineWishes(engine), submit, description.instruments, rng)
            aggregator = Aggregator(
                engine,
                rollup,
                publish=hub.publish,
                wanted=hub.wanted,
                wake_repair=repairer.wake,
                stored=history,
            )
            engine_room.start_soon(aggregator.run, receive_events, send_closed.clone())
            async with send_events, trio.open_nursery() as field:
                field.start_soon(feed.run, send_events.clone())
                field.start_soon(repairer.run)
                log.info("serving", grpc=grpc.address, http=http_address, symbols=list(settings.symbols))
                task_status.started(Addresses(grpc.address, http_address))
                await stop.wait()
                vitals.stopping = True
                field.cancel_scope.cancel()


async def _serve_http(
    settings: DaemonSettings,
    vitals: "_Vitals",
    collectors: Sequence[TableCollector[DaemonStatus]],
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    await serve_http(
        settings.http_address,
        not_ready_reasons=vitals.not_ready_reasons,
        collectors=collectors,
        task_status=task_status,
    )


async def _describe(
    rest: BinanceRest, settings: DaemonSettings, vitals: "_Vitals", rng: random.Random
) -> ExchangeDescription:
    """Ask the exchange for itself and the symbols, until it answers."""
    backoff = Backoff(rng)
    while True:
        try:
            return await rest.describe(settings.symbols)
        except SourceUnavailableError as error:
            delay = backoff.next()
            vitals.waiting = f"The exchange does not answer: {error}."
            log.warning(
                "cannot reach the exchange, trying again", reason=str(error), retry_in_seconds=round(delay, 1)
            )
            await trio.sleep(delay)
        except SourceRefusedError as error:
            raise UserError(f"The exchange refuses to describe the symbols: {error.args[0]}.") from error


async def _restore(engine: Engine, rollup: RollUp, history: History, symbols: Sequence[str]) -> None:
    """Go on from the stored bars: the newest, and before it all from the oldest that is to be rebuilt."""
    newest = await history.newest_bars()
    for symbol in symbols:
        last = newest.get(symbol)
        if last is None:
            engine.add(symbol)
            continue
        since = last.close_time - REBUILD_MINUTES * MINUTE
        bars = await history.bars(symbol, ONE_MINUTE.name, since, last.close_time, REBUILD_MINUTES)
        incomplete = [number for number, bar in enumerate(bars) if not bar.complete]
        engine.add(symbol, bars[incomplete[0] :] if incomplete else [last])
        for interval, start in rollup.seed_ranges(last.close_time).items():
            limit = (last.close_time - start) // MINUTE + 1
            rollup.seed(symbol, await history.bars(symbol, interval, start, last.close_time, limit))


class _Vitals:
    """What the daemon says of itself, gathered from the parts that are there."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.feed: BinanceFeed | None = None
        self.history: History | None = None
        self.description: ExchangeDescription | None = None
        self.stopping = False
        self.waiting = "The exchange was not reached yet."
        self._start_time = time.time_ns() // 1000
        self._version = version("candled")

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Sentences that say why nobody should rely on the daemon now; none when it is ready."""
        if self.stopping:
            return ("The daemon is stopping.",)
        if self.engine is None or self.history is None or self.feed is None:
            return (self.waiting,)
        reasons = []
        cut_off = [symbol for symbol in self.engine.symbols if symbol not in self.engine.live]
        if cut_off:
            reasons.append(f"No stream is connected for {', '.join(cut_off[:10])}.")
        unwritable = self.history.not_ready_reason()
        if unwritable is not None:
            reasons.append(unwritable)
        return tuple(reasons)

    def status(self) -> DaemonStatus:
        """The daemon at this moment."""
        symbols = self.engine.symbols.values() if self.engine else ()
        return DaemonStatus(
            version=self._version,
            start_time=self._start_time,
            exchange=self.description.identity if self.description else "",
            exchange_time=self.engine.time.now(trio.current_time()) if self.engine else 0,
            not_ready_reasons=self.not_ready_reasons(),
            symbols=tuple(self._symbol_status(symbol) for symbol in symbols),
        )

    def _symbol_status(self, symbol: SymbolEngine) -> SymbolStatus:
        assert self.engine is not None
        instrument: Instrument | None = None
        if self.description is not None:
            instrument = self.description.instruments.get(symbol.symbol)
        last = symbol.last_trade
        return SymbolStatus(
            symbol=symbol.symbol,
            trading_status=instrument.status if instrument else "",
            live=symbol.symbol in self.engine.live,
            last_trade_id=last.last_id if last else NO_TRADE,
            last_trade_time=last.time if last else None,
            last_price=last.price if last else None,
            lag_ms=symbol.lag / 1000,
            reconnects=self.feed.reconnects(symbol.symbol) if self.feed else 0,
            trades=symbol.counts.trades,
            duplicates=symbol.counts.duplicates,
            gaps=symbol.continuity.gaps(),
            gaps_filled=symbol.counts.gaps_filled,
        )
