"""The root nursery, where the parts meet. It reads like the way of a trade.

feed --events--> engine --bars--> stream, for whoever listens, and history, for good.
"""

import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import attrs
import structlog
import trio

from candled.backfill import backfill_new
from candled.domain.event import BarEvent, positions_of
from candled.domain.shards import parse_shards
from candled.domain.status import GapState
from candled.engine.engine import Engine
from candled.engine.rollup import RollUp
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.interface import ExchangeDescription, SourceUnavailableError
from candled.feed.introduction import introduce
from candled.feed.websocket import connect_tcp
from candled.history import DurableHistory, HistorySettings, open_history
from candled.history.directory import read_identity
from candled.history.unfillable import Unfillable
from candled.lags import Lags
from candled.logs import LogCounts
from candled.metrics import Parts, make_collectors
from candled.pipeline import open_pipeline, restore
from candled.reload import Reloader
from candled.settings import DaemonSettings
from candled.stream.access import BearerTokens
from candled.stream.grpc.security import SecurityFiles
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from candled.stream.hub import Hub
from candled.stream.web.application import HttpCounts
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http
from candled.vitals import Vitals

FIRST_ANSWER_SECONDS: Final = 0.5
"""What was stored before is served after so long a wait for the exchange at the start."""
CLOSED_BATCHES: Final = 20_000
"""Lists of closed bars that may wait for the disk; with no room left the engine waits, and the feed drops."""
RECORD_SECONDS: Final = 5.0
"""Between looks at which trades have been given up."""
log = structlog.get_logger(__name__)


@attrs.frozen
class Addresses:
    """Where the daemon listens, as ``host:port``."""

    grpc: str
    http: str


@attrs.frozen
class Reload:
    """How the settings are read again, and whenever that is asked for."""

    reread: Callable[[], DaemonSettings]
    requests: trio.MemoryReceiveChannel[None]


async def run_daemon(
    settings: DaemonSettings,
    *,
    reread: Callable[[], DaemonSettings] | None = None,
    logs: LogCounts | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM or SIGINT, then end in order.

    Arguments:
        settings: see there.
        reread: reads them again on SIGHUP; without it, SIGHUP does what it does to any process.
        logs: counts of log lines, for the metrics.
        task_status: started with the bound addresses once bars can be streamed and queried.

    Raises:
        UserError: something outside candled keeps it from working; the text says what to change.
    """
    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reread else [])]
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            ask_to_reload, reload_requests = trio.open_memory_channel[None](1)

            async def wait_for_signal() -> None:
                async for number in signals:
                    if number == signal.SIGHUP:
                        with suppress(trio.WouldBlock):  # one that waits is enough
                            ask_to_reload.send_nowait(None)
                        continue
                    log.info("stopping", signal=signal.Signals(number).name)
                    stop.set()

            nursery.start_soon(wait_for_signal)
            reload = Reload(reread, reload_requests) if reread else None
            await serve_daemon(settings, stop, reload=reload, logs=logs, task_status=task_status)
            nursery.cancel_scope.cancel()


async def serve_daemon(
    settings: DaemonSettings,
    stop: trio.Event,
    *,
    reload: Reload | None = None,
    logs: LogCounts | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until ``stop`` is set. Nested nurseries are the order of the end: the feed first, the history last.

    Arguments:
        settings: see there.
        stop: set to end in order.
        reload: reads the settings again while bars are served.
        logs: counts of log lines, for the metrics.
        task_status: started with the bound addresses once bars can be streamed and queried.
    """
    async with (
        open_rest(settings.rest_urls, settings.rest_weight_per_minute) as rest,
        trio.open_nursery() as http,
    ):
        vitals = Vitals(_symbols_elsewhere(settings))
        daemon = _Daemon(settings=settings, stop=stop, reload=reload, rest=rest, vitals=vitals)
        http_address = await http.start(daemon.serve_http, logs)
        await daemon.serve_bars(http_address, task_status)
        http.cancel_scope.cancel()


@attrs.define(kw_only=True)
class _Bars:
    """Where bars are made and kept, and who is told of them."""

    engine: Engine
    rollup: RollUp
    history: DurableHistory
    hub: Hub
    closed: trio.MemorySendChannel[list[BarEvent]]
    next_position: Callable[[], int]


@attrs.define(kw_only=True)
class _Daemon:
    """One run of the daemon: its phases, from the inside of its HTTP port to the last trade."""

    settings: DaemonSettings
    stop: trio.Event
    reload: Reload | None
    rest: BinanceRest
    vitals: Vitals
    lags: Lags = attrs.Factory(Lags)
    rng: random.Random = attrs.Factory(random.Random)
    """Jitter."""
    chart: ChartSource | None = None
    """What the HTTP port draws once bars are served: it opens before that, to say why there are none."""
    parts: Parts | None = None
    """What the metrics are read from, once trades are read."""

    async def serve_http(self, logs: LogCounts | None, *, task_status: trio.TaskStatus[str]) -> None:
        """Health, metrics and the chart, as long as the process lives."""
        counts = HttpCounts()
        await serve_http(
            self.settings.http_address,
            not_ready_reasons=self.vitals.not_ready_reasons,
            collectors=make_collectors(
                status=self.vitals.status, rest=self.rest, http=counts, logs=logs, parts=lambda: self.parts
            ),
            tokens=BearerTokens(self.settings.tokens_file) if self.settings.tokens_file else None,
            chart=(lambda: self.chart) if self.settings.chart else None,
            counts=counts,
            task_status=task_status,
        )

    async def serve_bars(self, http_address: str, task_status: trio.TaskStatus[Addresses]) -> None:
        """Open the history, serve what it has, and read trades until the end."""
        settings, stop = self.settings, self.stop
        # What was stored before is served soon, whether or not the exchange answers.
        description = await self._introduced(FIRST_ANSWER_SECONDS if read_identity(settings.data_dir) else None)
        if stop.is_set():
            return
        async with (
            open_history(
                settings.data_dir,
                exchange=description.identity if description else "",
                settings=HistorySettings.of(settings),
            ) as history,
            trio.open_nursery() as writer,
        ):
            send_closed, receive_closed = trio.open_memory_channel[list[BarEvent]](CLOSED_BATCHES)
            await writer.start(
                partial(history.serve, stored=lambda position: self.lags.kept(position, trio.current_time())),
                receive_closed,
            )
            self.vitals.keeping(history)
            async with send_closed:
                next_position = positions_of(history.epoch)
                stored = await history.symbols()
                new = [symbol for symbol in settings.symbols if symbol not in stored]
                if new:
                    # Without stored bars of every symbol there is less to serve than to find out.
                    description = description or await self._introduced()
                    async with _until(stop):
                        if description is not None:
                            history.bind(description.identity)
                            if settings.backfill_hours > 0:
                                hours = settings.backfill_hours
                                await backfill_new(new, hours, self.rest, history, next_position)
                    if stop.is_set():
                        return
                engine, rollup = await restore(settings, history, next_position)
                hub = Hub(
                    clock=trio.current_time,
                    snapshot=rollup.forming,
                    symbols=lambda: list(engine.symbols),
                    stored=history,
                    backlog_max=settings.grpc_backlog_max,
                    streams_max=settings.grpc_streams_max,
                )
                async with open_grpc_server(
                    settings.grpc_address,
                    hub=hub,
                    stored=history,
                    status=self.vitals.status,
                    files=SecurityFiles(
                        certificate=settings.grpc_tls_certificate,
                        key=settings.grpc_tls_key,
                        client_authority=settings.grpc_tls_client_authority,
                        tokens=settings.tokens_file,
                    ),
                ) as grpc:
                    self.chart = ChartSource(hub, history, self.vitals.status)
                    log.info("serving", grpc=grpc.address, http=http_address, symbols=list(settings.symbols))
                    task_status.started(Addresses(grpc.address, http_address))
                    description = description or await self._introduced()
                    if description is not None:
                        history.bind(description.identity)
                        bars = _Bars(
                            engine=engine,
                            rollup=rollup,
                            history=history,
                            hub=hub,
                            closed=send_closed,
                            next_position=next_position,
                        )
                        await self._read_trades(description, bars, grpc)
                    self.vitals.stopping = True

    async def _read_trades(self, description: ExchangeDescription, bars: _Bars, grpc: GrpcServer) -> None:
        """Feed the engine until ``stop`` is set."""
        async with (
            open_pipeline(
                self.settings,
                description,
                bars.engine,
                bars.rollup,
                source=self.rest,
                stored=bars.history,
                hub=bars.hub,
                closed=bars.closed.clone(),
                connect=connect_tcp,
                rng=self.rng,
                lags=self.lags,
            ) as pipeline,
            trio.open_nursery() as attendants,
        ):
            self.vitals.reading(pipeline)
            queues = {"engine": pipeline.waiting, "history": bars.closed.statistics}
            self.parts = Parts(
                bars.engine, pipeline.feed, pipeline.repairer, bars.hub, bars.history, grpc, self.lags, queues
            )
            attendants.start_soon(_record_unfillable, bars)
            if self.reload is not None:
                reloader = Reloader(
                    self.settings,
                    self.reload.reread,
                    pipeline=pipeline,
                    source=self.rest,
                    history=bars.history,
                    hub=bars.hub,
                    closed=bars.closed,
                    next_position=bars.next_position,
                    show_shards=self._show_shards,
                    rng=self.rng,
                )
                attendants.start_soon(reloader.run, self.reload.requests)
            await self.stop.wait()
            self.vitals.stopping = True
            attendants.cancel_scope.cancel()

    def _show_shards(self, settings: DaemonSettings) -> None:
        self.vitals.elsewhere = _symbols_elsewhere(settings)

    async def _introduced(self, patience: float | None = None) -> ExchangeDescription | None:
        """What the exchange says of itself; None if the daemon is to stop, or after so many seconds."""
        description = None
        async with _until(self.stop):
            with trio.move_on_after(float("inf") if patience is None else patience):
                description = await introduce(self.rest, self.settings.symbols, self.rng, self._note_waiting)
        return None if self.stop.is_set() else description

    def _note_waiting(self, error: SourceUnavailableError, delay: float) -> None:
        self.vitals.waiting = f"The exchange does not answer: {error}."
        log.warning("cannot reach the exchange, trying again", reason=str(error), retry_in_seconds=round(delay, 1))


async def _record_unfillable(bars: _Bars) -> None:
    """Until cancelled: what the exchange does not have is kept beside the bars that lack it, with the reason."""
    while True:
        await trio.sleep(RECORD_SECONDS)
        await bars.history.record_unfillable(
            [
                Unfillable(symbol.symbol, gap.first_id, gap.last_id, gap.reason)
                for symbol in bars.engine.symbols.values()
                for gap in symbol.continuity.gaps()
                if gap.state is GapState.UNFILLABLE
            ]
        )


def _symbols_elsewhere(settings: DaemonSettings) -> dict[str, str]:
    if not settings.shards:
        return {}
    return parse_shards(settings.shards).elsewhere(settings.shard, settings.shard_address)


@asynccontextmanager
async def _until(stop: trio.Event) -> AsyncIterator[None]:
    """What is inside is given up once ``stop`` is set."""
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        yield
        nursery.cancel_scope.cancel()
