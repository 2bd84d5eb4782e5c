"""The root nursery, where the parts meet: ingest -> aggregator -> hub (gRPC, web) and writer.

A run goes through the phases of ``lifecycle.Phase``, one method of ``_Daemon`` for each. The parts are opened
from the outside in, and nesting is the order of the end: ingest stops first, the aggregator works off its queue,
streams end with a point to resume from, the writer stores what is left, the data directory is released.
"""

import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from candled.backfill.from_exchange import backfill_new
from candled.config.exposure import http_exposure
from candled.config.settings import DaemonSettings
from candled.config.shards import parse_shards
from candled.daemon.backfill_progress import BackfillProgress
from candled.daemon.exchange import Exchange, open_exchange, wait_for_exchange
from candled.daemon.lifecycle import Lifecycle, ServingParts
from candled.daemon.metrics import make_collectors
from candled.daemon.pipeline import open_pipeline
from candled.daemon.ports import closed_at_end, open_grpc_port, serve_http_port
from candled.daemon.private_attributes import require_private_attributes
from candled.daemon.queued_writer import QueuedWriter
from candled.daemon.readiness import Readiness
from candled.daemon.refetch import refetch_lost
from candled.daemon.reload import Reloader
from candled.daemon.restore import restore
from candled.daemon.roles import Addresses, Reload, RoleContext, cancelled_by
from candled.daemon.store import Store, open_store
from candled.daemon.writer import record_unfillable
from candled.engine.engine import Engine
from candled.feed.adapter import Connect, ExchangeDescription, RestClient
from candled.feed.instruments import keep_unlisted
from candled.history.directory import check_not_held, read_identity
from candled.stream.grpc.server import GrpcServer
from candled.stream.hub import Hub
from candled.stream.turns import Turns
from candled.stream.web.application import HttpCounts
from candled.stream.web.chart import ChartSource
from candled.telemetry.latency import LatencyHistograms
from candled.telemetry.logging import LogCounts
from candled.telemetry.watchdog import LoopWatch, open_watchdog

if TYPE_CHECKING:
    from candled.daemon.object_storage import Claim

FIRST_ANSWER_SECONDS: Final = 0.5
"""Seconds to wait for the exchange at a start before stored bars are served without it."""
log = structlog.get_logger(__name__)


async def serve_daemon(
    context: RoleContext, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run role ``all``. See ``ServeRole``."""
    settings = context.settings
    check_not_held(settings.data_dir)
    await require_private_attributes()
    with open_watchdog(settings.loop_held_max) as loop:
        async with open_exchange(settings, context.proxies) as exchange, trio.open_nursery() as ports:
            about = (
                f"It is candled {version('candled')} with bars in {settings.data_dir}, "
                f"on {settings.exchange} at {exchange.rest_urls[0]}."
            )
            daemon = _Daemon(
                settings=settings,
                stop=context.stop,
                reload=context.reload,
                rest=exchange.rest,
                loop=loop,
                connect=exchange.connect,
                lifecycle=Lifecycle(about, context.observe_start),
            )
            http_address = await ports.start(daemon.serve_http, context.logs)
            _log_start(settings, exchange, http_address)
            await daemon.run(http_address, task_status)
            ports.cancel_scope.cancel()


@attrs.frozen(kw_only=True)
class _Serving:
    """What answers from the history, and is ready for trades."""

    engine: Engine
    hub: Hub
    grpc: GrpcServer


def _log_start(settings: DaemonSettings, exchange: Exchange, http_address: str) -> None:
    log.info(
        "starting",
        version=version("candled"),
        data_dir=str(settings.data_dir.absolute()),
        exchange=list(exchange.rest_urls),
        symbols=list(settings.symbols),
        http=http_address,
    )
    exchange.log_routes()
    exposure = http_exposure(settings)
    if exposure is not None:
        log.warning("http port is open", reason=exposure)


def _symbols_elsewhere(settings: DaemonSettings) -> dict[str, str]:
    if not settings.shards:
        return {}
    return parse_shards(settings.shards).elsewhere(settings.shard, settings.shard_address)


@attrs.frozen(kw_only=True)
class _Daemon:
    """One run of the daemon, a method for each phase."""

    settings: DaemonSettings
    stop: trio.Event
    reload: Reload | None
    rest: RestClient
    loop: LoopWatch
    connect: Connect
    """Opens byte streams to the exchange's websockets."""
    lifecycle: Lifecycle
    readiness: Readiness = attrs.field(
        default=attrs.Factory(
            lambda self: Readiness(self.lifecycle, _symbols_elsewhere(self.settings)), takes_self=True
        )
    )
    latency: LatencyHistograms = attrs.Factory(LatencyHistograms)
    rng: random.Random = attrs.Factory(random.Random)
    """Jitter."""
    turns: Turns = attrs.Factory(Turns)
    """Which client may read stored bars next, over both ports."""

    async def run(self, http_address: str, task_status: trio.TaskStatus[Addresses]) -> None:
        """Go through the phases until ``stop`` is set."""
        # Stored bars are served soon, whether or not the exchange answers.
        is_old = read_identity(self.settings.data_dir) is not None
        description = await self._wait_for_exchange(FIRST_ANSWER_SECONDS if is_old else None)
        if self.stop.is_set():
            return
        if description is not None and not is_old:  # before a directory is made for a mistyped symbol
            description.check(self.settings.symbols)
        claim = await self._claim_history(description)
        if self.stop.is_set():
            return
        self.lifecycle.open_store()
        identity = description.identity if description else ""
        async with open_store(self.settings, identity, claim, self.latency, self.rng) as store:
            stored = await store.history.symbols()
            description = await self._backfill(store, description, stored)
            if self.stop.is_set():
                return
            async with self._serve_stored(store) as serving:
                log.info("serving", grpc=serving.grpc.address, http=http_address)
                task_status.started(Addresses(serving.grpc.address, http_address))
                description = description or await self._wait_for_exchange()
                if description is not None:
                    store.history.bind(description.identity)
                    description = keep_unlisted(description, self.settings.symbols, stored)
                    await self._make_bars(description, store, serving)
                self.lifecycle.stop()

    async def serve_http(self, logs: LogCounts | None, *, task_status: trio.TaskStatus[str]) -> None:
        """Serve health, metrics and the chart until cancelled."""
        counts = HttpCounts()
        collectors = make_collectors(
            lifecycle=self.lifecycle,
            status=self.readiness.status,
            rest=self.rest,
            http=counts,
            latency=self.latency,
            loop=self.loop,
            logs=logs,
        )
        reasons = self.readiness.not_ready_reasons
        await serve_http_port(
            self.settings, counts, collectors, reasons, self._chart_source, task_status=task_status
        )

    def _chart_source(self) -> ChartSource | str:
        serving = self.lifecycle.serving
        if serving is None or serving.hub is None:
            return " ".join(self.readiness.not_ready_reasons())
        return ChartSource(serving.hub, serving.stored, self.readiness.status, self.turns, self.readiness.summary)

    async def _wait_for_exchange(self, patience: float | None = None) -> ExchangeDescription | None:
        """Return what the exchange says of itself; None if it is to stop, or after ``patience`` seconds."""
        description = None
        async with cancelled_by(self.stop):
            with trio.move_on_after(float("inf") if patience is None else patience):
                description = await wait_for_exchange(self.rest, self.settings.symbols, self.lifecycle, self.rng)
        return None if self.stop.is_set() else description

    async def _claim_history(self, description: ExchangeDescription | None) -> "Claim | None":
        """Restore what only the object store has, and claim it; None without one, or if it is to stop."""
        if self.settings.history_url is None:
            return None
        from candled.daemon.object_storage import claim_history  # not before it is needed: a library of its own

        async with cancelled_by(self.stop):
            identity = description.identity if description else ""
            return await claim_history(self.settings, identity, self.lifecycle.open_store, self.rng)
        return None

    async def _backfill(
        self, store: Store, description: ExchangeDescription | None, stored: Collection[str]
    ) -> ExchangeDescription | None:
        """Fetch bars of symbols that have none; returns what the exchange says of itself, if it was asked."""
        new = [symbol for symbol in self.settings.symbols if symbol not in stored]
        if not new:
            return description
        if description is None:  # there is nothing to serve of a new symbol, so the exchange is waited for
            description = await self._wait_for_exchange()
        hours = self.settings.backfill_hours
        async with cancelled_by(self.stop):
            if description is not None:
                store.history.bind(description.identity)
                description.check(new)
                if hours > 0:
                    progress = BackfillProgress(self.lifecycle, new, hours)
                    await backfill_new(
                        new, hours, self.rest, store.history, store.history, store.next_position, progress.show
                    )
        return description

    @asynccontextmanager
    async def _serve_stored(self, store: Store) -> AsyncIterator[_Serving]:
        """Serve stored bars over gRPC and the chart while inside; on leaving, every stream ends in order."""
        settings, history = self.settings, store.history
        engine = await restore(settings, history, store.next_position)
        hub = Hub(
            clock=trio.current_time,
            snapshot=engine.forming,
            symbols=lambda: list(engine.symbols),
            stored=history,
            unstored=store.unstored,
            backlog_max=settings.grpc_backlog_max,
            streams_max=settings.grpc_streams_max,
        )
        async with (
            closed_at_end(self.turns),
            open_grpc_port(
                settings,
                settings.grpc_address,
                hub=hub,
                stored=history,
                status=self.readiness.status,
                summary=self.readiness.summary,
                turns=self.turns,
            ) as grpc,
        ):
            self.lifecycle.serve_stored(
                ServingParts(
                    engine=engine,
                    stored=history,
                    hub=hub,
                    unwritable_reason=history.not_ready_reason,
                    store_statistics=history.statistics,
                    grpc_statistics=grpc.statistics,
                    upload_statistics=store.uploads,
                )
            )
            yield _Serving(engine=engine, hub=hub, grpc=grpc)

    async def _make_bars(self, description: ExchangeDescription, store: Store, serving: _Serving) -> None:
        """Run ingest and aggregator until ``stop`` is set."""
        async with (
            open_pipeline(
                self.settings,
                description,
                serving.engine,
                source=self.rest,
                stored=store.history,
                hub=serving.hub,
                unstored=store.unstored,
                closed=store.closed.clone(),
                connect=self.connect,
                rng=self.rng,
                latency=self.latency,
            ) as pipeline,
            trio.open_nursery() as attendants,
        ):
            self.lifecycle.go_live(pipeline, store.closed.statistics)
            attendants.start_soon(record_unfillable, store.history, serving.engine)
            attendants.start_soon(
                refetch_lost,
                store.history,
                self.rest,
                QueuedWriter(store.closed),
                store.next_position,
                pipeline.listings.is_listed,
                self.rng,
            )
            if self.reload is not None:
                reloader = Reloader(
                    self.settings,
                    self.reload.reread,
                    pipeline=pipeline,
                    source=self.rest,
                    history=store.history,
                    hub=serving.hub,
                    closed=store.closed,
                    next_position=store.next_position,
                    show_shards=self._show_shards,
                    rng=self.rng,
                )
                attendants.start_soon(reloader.run, self.reload.requests)
            await self.stop.wait()
            self.lifecycle.stop()
            attendants.cancel_scope.cancel()

    def _show_shards(self, settings: DaemonSettings) -> None:
        self.readiness.set_elsewhere(_symbols_elsewhere(settings))
