"""The root nursery, where the parts meet. It reads like the way of a trade.

feed --events--> engine --bars--> stream, for whoever listens, and history, for good.
"""

import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import attrs
import structlog
import trio
from prometheus_client.registry import Collector

from candled.backfill import backfill_new
from candled.domain.event import BarEvent, positions_of
from candled.domain.shards import parse_shards
from candled.engine.engine import Engine
from candled.engine.rollup import RollUp
from candled.errors import UserError
from candled.feed.backoff import Backoff
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.interface import ExchangeDescription, SourceRefusedError, SourceUnavailableError
from candled.feed.websocket import connect_tcp
from candled.history import DurableHistory, HistorySettings, open_history
from candled.history.directory import read_identity
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
    rng = random.Random()  # noqa: S311 - jitter
    vitals = Vitals(_symbols_elsewhere(settings))
    shown = _Shown()
    async with open_rest(settings.rest_urls, settings.rest_weight_per_minute) as rest, trio.open_nursery() as http:
        counts = HttpCounts()
        collectors = make_collectors(
            status=vitals.status, rest=rest, http=counts, logs=logs, parts=lambda: shown.parts
        )
        http_address = await http.start(_serve_http, settings, vitals, collectors, counts, shown)
        await _serve_bars(settings, stop, reload, rest, vitals, http_address, shown, rng, task_status)
        http.cancel_scope.cancel()


def _symbols_elsewhere(settings: DaemonSettings) -> dict[str, str]:
    if not settings.shards:
        return {}
    return parse_shards(settings.shards).elsewhere(settings.shard, settings.shard_address)


async def _serve_bars(
    settings: DaemonSettings,
    stop: trio.Event,
    reload: Reload | None,
    rest: BinanceRest,
    vitals: Vitals,
    http_address: str,
    shown: "_Shown",
    rng: random.Random,
    task_status: trio.TaskStatus[Addresses],
) -> None:
    description = None
    async with _until(stop):
        patience = FIRST_ANSWER_SECONDS if read_identity(settings.data_dir) else float("inf")
        with trio.move_on_after(patience):
            description = await _describe(rest, settings, vitals, rng)
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
        lags = Lags()
        await writer.start(
            partial(history.serve, stored=lambda position: lags.kept(position, trio.current_time())),
            receive_closed,
        )
        vitals.keeping(history)
        next_position = positions_of(history.epoch)
        async with send_closed:
            stored = await history.symbols()
            new = [symbol for symbol in settings.symbols if symbol not in stored]
            if new:
                # Without stored bars of every symbol there is less to serve than to find out.
                async with _until(stop):
                    if description is None:
                        description = await _describe(rest, settings, vitals, rng)
                        history.bind(description.identity)
                    if settings.backfill_hours > 0:
                        await backfill_new(new, settings.backfill_hours, rest, history, next_position)
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
                status=vitals.status,
                files=SecurityFiles(
                    certificate=settings.grpc_tls_certificate,
                    key=settings.grpc_tls_key,
                    client_authority=settings.grpc_tls_client_authority,
                    tokens=settings.tokens_file,
                ),
            ) as grpc:
                shown.chart = ChartSource(hub, history, vitals.status)
                log.info("serving", grpc=grpc.address, http=http_address, symbols=list(settings.symbols))
                task_status.started(Addresses(grpc.address, http_address))
                if description is None:
                    async with _until(stop):
                        description = await _describe(rest, settings, vitals, rng)
                        history.bind(description.identity)
                if description is not None and not stop.is_set():
                    await _read_trades(
                        settings,
                        description,
                        engine,
                        rollup,
                        rest=rest,
                        history=history,
                        hub=hub,
                        grpc=grpc,
                        closed=send_closed,
                        lags=lags,
                        next_position=next_position,
                        vitals=vitals,
                        shown=shown,
                        stop=stop,
                        reload=reload,
                        rng=rng,
                    )
                vitals.stopping = True


async def _read_trades(
    settings: DaemonSettings,
    description: ExchangeDescription,
    engine: Engine,
    rollup: RollUp,
    *,
    rest: BinanceRest,
    history: DurableHistory,
    hub: Hub,
    grpc: GrpcServer,
    closed: trio.MemorySendChannel[list[BarEvent]],
    lags: Lags,
    next_position: Callable[[], int],
    vitals: Vitals,
    shown: "_Shown",
    stop: trio.Event,
    reload: Reload | None,
    rng: random.Random,
) -> None:
    async with (
        open_pipeline(
            settings,
            description,
            engine,
            rollup,
            source=rest,
            stored=history,
            hub=hub,
            closed=closed.clone(),
            connect=connect_tcp,
            rng=rng,
            lags=lags,
        ) as pipeline,
        trio.open_nursery() as attendants,
    ):
        vitals.reading(pipeline)
        queues = {"engine": pipeline.waiting, "history": closed.statistics}
        shown.parts = Parts(engine, pipeline.feed, pipeline.repairer, hub, history, grpc, lags, queues)
        if reload is not None:
            reloader = Reloader(
                settings,
                reload.reread,
                pipeline=pipeline,
                source=rest,
                history=history,
                hub=hub,
                closed=closed,
                next_position=next_position,
                show_shards=lambda new: setattr(vitals, "elsewhere", _symbols_elsewhere(new)),
                rng=rng,
            )
            attendants.start_soon(reloader.run, reload.requests)
        await stop.wait()
        vitals.stopping = True
        attendants.cancel_scope.cancel()


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


async def _serve_http(
    settings: DaemonSettings,
    vitals: Vitals,
    collectors: Sequence[Collector],
    counts: HttpCounts,
    shown: "_Shown",
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    await serve_http(
        settings.http_address,
        not_ready_reasons=vitals.not_ready_reasons,
        collectors=collectors,
        tokens=BearerTokens(settings.tokens_file) if settings.tokens_file else None,
        chart=(lambda: shown.chart) if settings.chart else None,
        counts=counts,
        task_status=task_status,
    )


@attrs.define
class _Shown:
    """What the HTTP port shows once bars are served: it opens before that, to say why there are none."""

    chart: ChartSource | None = None
    parts: Parts | None = None


async def _describe(
    rest: BinanceRest, settings: DaemonSettings, vitals: Vitals, rng: random.Random
) -> ExchangeDescription:
    """Ask the exchange for itself and the symbols, until it answers."""
    backoff = Backoff(rng)
    while True:
        try:
            description = await rest.describe(settings.symbols)
        except SourceUnavailableError as error:
            delay = backoff.next()
            vitals.waiting = f"The exchange does not answer: {error}."
            log.warning(
                "cannot reach the exchange, trying again", reason=str(error), retry_in_seconds=round(delay, 1)
            )
            await trio.sleep(delay)
        except SourceRefusedError as error:
            raise UserError(f"The exchange refuses to describe the symbols: {error.args[0]}.") from error
        else:
            description.check(settings.symbols)
            return description
