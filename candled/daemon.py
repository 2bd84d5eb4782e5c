"""The root nursery, where the parts meet. It reads like the way of a trade.

feed --events--> engine --bars--> stream, for whoever listens, and history, for good.
"""

import random
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs
import structlog
import trio
from prometheus_client.registry import Collector

from candled.backfill import backfill
from candled.domain.event import BarEvent, positions_of
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.shards import parse_shards
from candled.errors import UserError
from candled.feed.backoff import Backoff
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.interface import ExchangeDescription, SourceRefusedError, SourceUnavailableError
from candled.feed.websocket import connect_tcp
from candled.history import DurableHistory, open_history
from candled.lags import Lags
from candled.logs import LogCounts
from candled.metrics import Parts, make_collectors
from candled.pipeline import open_pipeline, restore
from candled.settings import DaemonSettings
from candled.stream.access import BearerTokens
from candled.stream.grpc.security import SecurityFiles
from candled.stream.grpc.server import open_grpc_server
from candled.stream.hub import Hub
from candled.stream.web.application import HttpCounts
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http
from candled.vitals import Vitals

CLOSED_BATCHES: Final = 20_000
"""Lists of closed bars that may wait for the disk; with no room left the engine waits, and the feed drops."""
log = structlog.get_logger(__name__)


@attrs.frozen
class Addresses:
    """Where the daemon listens, as ``host:port``."""

    grpc: str
    http: str


async def run_daemon(
    settings: DaemonSettings,
    *,
    logs: LogCounts | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM or SIGINT, then end in order.

    Arguments:
        settings: see there.
        logs: counts of log lines, for the metrics.
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
            await serve_daemon(settings, stop, starting, logs=logs, task_status=task_status)
            nursery.cancel_scope.cancel()


async def serve_daemon(
    settings: DaemonSettings,
    stop: trio.Event,
    starting: trio.CancelScope,
    *,
    logs: LogCounts | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until ``stop`` is set. Nested nurseries are the order of the end: the feed first, the history last.

    Arguments:
        settings: see there.
        stop: set to end in order.
        starting: cancelled to give up before trades flow.
        logs: counts of log lines, for the metrics.
        task_status: started with the bound addresses once bars can be streamed and queried.
    """
    rng = random.Random()  # noqa: S311 - jitter
    vitals = Vitals(_symbols_elsewhere(settings))
    shown = _Shown()
    async with open_rest(settings.rest_urls, settings.rest_weight_per_minute) as rest, trio.open_nursery() as http:
        http_counts = HttpCounts()
        collectors = make_collectors(
            status=vitals.status, rest=rest, http=http_counts, logs=logs, parts=lambda: shown.parts
        )
        http_address = await http.start(_serve_http, settings, vitals, collectors, http_counts, shown)
        description = None
        with starting:
            description = await _describe(rest, settings, vitals, rng)
        if description is not None:
            await _serve_bars(settings, stop, rest, description, vitals, http_address, shown, rng, task_status)
        http.cancel_scope.cancel()


def _symbols_elsewhere(settings: DaemonSettings) -> dict[str, str]:
    if not settings.shards:
        return {}
    return parse_shards(settings.shards).elsewhere(settings.shard, settings.shard_address)


async def _serve_bars(
    settings: DaemonSettings,
    stop: trio.Event,
    rest: BinanceRest,
    description: ExchangeDescription,
    vitals: Vitals,
    http_address: str,
    shown: "_Shown",
    rng: random.Random,
    task_status: trio.TaskStatus[Addresses],
) -> None:
    async with (
        open_history(settings.data_dir, exchange=description.identity) as history,
        trio.open_nursery() as writer,
    ):
        send_closed, receive_closed = trio.open_memory_channel[list[BarEvent]](CLOSED_BATCHES)
        lags = Lags()
        await writer.start(
            partial(history.serve, stored=lambda position: lags.kept(position, trio.current_time())),
            receive_closed,
        )
        next_position = positions_of(history.epoch)
        await _backfill_new_symbols(settings, rest, history, next_position)
        engine, rollup = await restore(settings, history, next_position)
        hub = Hub(
            clock=trio.current_time,
            snapshot=rollup.forming,
            symbols=lambda: list(engine.symbols),
            stored=history,
            backlog_max=settings.grpc_backlog_max,
            streams_max=settings.grpc_streams_max,
        )
        async with (
            send_closed,
            open_grpc_server(
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
            ) as grpc,
            open_pipeline(
                settings,
                description,
                engine,
                rollup,
                source=rest,
                stored=history,
                hub=hub,
                closed=send_closed.clone(),
                connect=connect_tcp,
                rng=rng,
                lags=lags,
            ) as pipeline,
        ):
            vitals.serving(description, pipeline, history)
            shown.chart = ChartSource(hub, history, vitals.status)
            queues = {"engine": pipeline.waiting, "history": send_closed.statistics}
            shown.parts = Parts(engine, pipeline.feed, pipeline.repairer, hub, history, grpc, lags, queues)
            log.info("serving", grpc=grpc.address, http=http_address, symbols=list(settings.symbols))
            task_status.started(Addresses(grpc.address, http_address))
            await stop.wait()
            vitals.stopping = True


async def _backfill_new_symbols(
    settings: DaemonSettings, rest: BinanceRest, history: DurableHistory, next_position: Callable[[], int]
) -> None:
    """Give symbols that have no bar yet some to begin with; where the exchange does not answer, go without."""
    if settings.backfill_hours <= 0:
        return
    known = await history.newest_bars()
    try:
        end = ONE_MINUTE.floor(await rest.server_time())
        start = end - round(settings.backfill_hours * 60) * MINUTE
        for symbol in settings.symbols:
            if symbol not in known:
                bars = await backfill(rest, history, symbol, start, end, next_position)
                log.info("backfilled", symbol=symbol, bars=bars)
    except (SourceUnavailableError, SourceRefusedError) as error:
        log.warning("cannot backfill", reason=str(error))


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
