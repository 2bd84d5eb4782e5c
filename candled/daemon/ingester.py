"""Role ``ingest``: reads the exchange, builds bars, and puts them on the bus. Any number run, none leads.

The root nursery of this role, from the outside in: HTTP port, connection to the bus, reader of the log, and the
same pipeline as in every daemon. There is no data directory: the engine continues from the log's bars, which are
read into memory at the start, and the exchange's REST side has what was missed.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Final

import attrs
import structlog
import trio

from candled.backfill.from_exchange import backfill_new
from candled.bus.incarnation import LogState
from candled.bus.ingest_bus import REPORT_SECONDS, IngestBus
from candled.bus.messages import PayloadError, Subjects, decode_events
from candled.bus.nats.connection import Nats, NoAnswerError
from candled.bus.nats.jetstream import JetStream, JetStreamError, LogOptions, LogReader, LogReplacedError
from candled.bus.roster import IngesterStatus
from candled.config.settings import DaemonSettings
from candled.daemon.backfill_progress import BackfillProgress
from candled.daemon.bus_connection import open_bus, process_name
from candled.daemon.exchange import open_exchange, wait_for_exchange
from candled.daemon.lifecycle import Lifecycle, ServingParts
from candled.daemon.metrics import make_collectors
from candled.daemon.pipeline import Pipeline, open_pipeline
from candled.daemon.ports import serve_http_port
from candled.daemon.readiness import Readiness
from candled.daemon.reload import Reloader
from candled.daemon.restore import restore
from candled.daemon.roles import Addresses, Reload, RoleContext, cancelled_by
from candled.daemon.sync_check import SyncCheck
from candled.daemon.writer import CLOSED_BATCHES
from candled.domain.event import UPDATE, BarEvent
from candled.domain.interval import ONE_MINUTE
from candled.engine.engine import Engine
from candled.errors import UserError
from candled.feed.adapter import Connect, ExchangeDescription, RestClient
from candled.history.replica import Replica
from candled.stream.unstored import UnstoredTail
from candled.stream.web.application import HttpCounts
from candled.telemetry.latency import LatencyHistograms
from candled.telemetry.logging import LogCounts
from candled.telemetry.watchdog import LoopWatch, open_watchdog

RETRY_SECONDS: Final = 0.5
"""Between tries to make or to find the log."""
SYMBOLS_TOGETHER: Final = 400
"""Symbols whose states one report has: it takes some milliseconds to make."""
_DAY_SECONDS: Final = 86_400
_log = structlog.get_logger(__name__)


async def serve_ingester(
    context: RoleContext, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run role ``ingest``. See ``ServeRole``."""
    settings = context.settings
    rng = random.Random()  # noqa: S311 - jitter, and names that only must differ
    name = f"{process_name(settings)}-{rng.getrandbits(32):08x}"
    with open_watchdog(settings.loop_held_max) as loop:
        async with (
            open_exchange(settings, context.proxies) as exchange,
            open_bus(settings, name, rng) as nats,
            trio.open_nursery() as ports,
        ):
            about = f"It is an ingester of {settings.exchange} at {exchange.rest_urls[0]}."
            lifecycle = Lifecycle(about, context.observe_start)
            ingester = _Ingester(
                settings=settings,
                name=name,
                reload=context.reload,
                rest=exchange.rest,
                nats=nats,
                connect=exchange.connect,
                lifecycle=lifecycle,
                readiness=Readiness(lifecycle, {}),
                rng=rng,
                sync=SyncCheck(settings.bus_monitor_urls),
            )
            http_address = await ports.start(ingester.serve_http, loop, context.logs)
            _log.info("starting", role="ingest", name=name, symbols=list(settings.symbols), http=http_address)
            exchange.log_routes()
            async with cancelled_by(context.stop):
                await ingester.run(partial(task_status.started, Addresses("", http_address)))
            lifecycle.stop()
            ports.cancel_scope.cancel()


@attrs.frozen
class _BusWriter:
    """Takes closed bars into memory and to the log."""

    replica: Replica
    bus: IngestBus

    async def store(self, events: Sequence[BarEvent]) -> None:
        """See ``BarWriter``."""
        await trio.lowlevel.checkpoint()
        self.replica.take(events)
        self.bus.close(events)

    async def serve(self, receive: trio.MemoryReceiveChannel[list[BarEvent]]) -> None:
        """Store what comes through the channel until it is closed."""
        async with receive:
            async for events in receive:
                await self.store(events)


@attrs.frozen(kw_only=True)
class _Ingester:
    """One run of an ingester."""

    settings: DaemonSettings
    name: str
    reload: Reload | None
    rest: RestClient
    nats: Nats
    connect: Connect
    lifecycle: Lifecycle
    readiness: Readiness
    rng: random.Random
    sync: SyncCheck
    latency: LatencyHistograms = attrs.Factory(LatencyHistograms)

    async def run(self, started: Callable[[], None]) -> None:
        """Build bars until cancelled."""
        description = await wait_for_exchange(self.rest, self.settings.symbols, self.lifecycle, self.rng)
        description.check(self.settings.symbols)
        self.lifecycle.read_log()
        await self.sync.begin()
        state = await self.find_log(description.identity)
        replica = Replica(state.identity, self.settings.bus_bars_max)
        engine: Engine | None = None
        bus = IngestBus(
            self.nats,
            Subjects(self.settings.exchange),
            rank=self.settings.ingest_rank,
            hedge=self.settings.ingest_hedge,
            symbols=len(self.settings.symbols),
            forming=lambda: [] if engine is None else _forming(engine),
        )
        async with trio.open_nursery() as nursery:
            following = _LogFollower(self, bus, replica, description.identity)
            await nursery.start(following.run, state)
            writer = _BusWriter(replica, bus)
            next_position = count(replica.stored_position + 1).__next__
            await self._backfill(replica, writer, next_position)
            engine = await restore(self.settings, replica, next_position)
            send, receive = trio.open_memory_channel[list[BarEvent]](CLOSED_BATCHES)
            nursery.start_soon(writer.serve, receive)
            nursery.start_soon(bus.run)
            nursery.start_soon(self.sync.run)
            self._show(engine, replica, bus)
            async with send, self._make_bars(description, engine, replica, bus, send, next_position) as pipeline:
                self.lifecycle.go_live(pipeline, send.statistics)
                started()
                await self._report(bus, engine)

    async def find_log(self, exchange: str) -> LogState:
        """Return the log; make it if there is none.

        Raises:
            UserError: it holds bars of another exchange.
        """
        settings = self.settings
        subjects = Subjects(settings.exchange)
        options = LogOptions(
            name=subjects.stream,
            subjects=subjects.every_close,
            exchange=exchange,
            replicas=settings.bus_replicas,
            age_seconds=settings.bus_days * _DAY_SECONDS,
        )
        while True:
            await self._wait_for_bus()
            try:
                state = await JetStream(self.nats).ensure_log(options, self.rng)
            except (NoAnswerError, JetStreamError) as error:
                self.lifecycle.read_log(f"JetStream does not give the log {options.name}: {error}.")
                _log.warning("log not found, trying again", stream=options.name, reason=str(error))
                await trio.sleep(RETRY_SECONDS)
            else:
                break
        if state.exchange != exchange:
            raise UserError(
                f"The log {options.name} on the bus holds bars of {state.exchange}, and this is {exchange}: "
                "use another bus, or remove that stream."
            )
        return state

    async def _wait_for_bus(self) -> None:
        with trio.move_on_after(RETRY_SECONDS):
            await self.nats.wait_connected()
        while not self.nats.is_connected:
            self.lifecycle.read_log(self.nats.failure)
            with trio.move_on_after(RETRY_SECONDS):
                await self.nats.wait_connected()

    async def _backfill(self, replica: Replica, writer: _BusWriter, next_position: Callable[[], int]) -> None:
        hours = self.settings.backfill_hours
        stored = await replica.symbols()
        new = [symbol for symbol in self.settings.symbols if symbol not in stored]
        if new and hours > 0:
            progress = BackfillProgress(self.lifecycle, new, hours)
            await backfill_new(new, hours, self.rest, replica, writer, next_position, progress.show)

    def _show(self, engine: Engine, replica: Replica, bus: IngestBus) -> None:
        parts = ServingParts(engine=engine, stored=replica, unwritable_reason=bus.not_ready_reason, bus=bus)
        self.lifecycle.serve_stored(parts)

    @asynccontextmanager
    async def _make_bars(
        self,
        description: ExchangeDescription,
        engine: Engine,
        replica: Replica,
        bus: IngestBus,
        closed: trio.MemorySendChannel[list[BarEvent]],
        next_position: Callable[[], int],
    ) -> AsyncIterator[Pipeline]:
        """Run feed and engine, and reloads of the settings, while inside."""
        async with (
            open_pipeline(
                self.settings,
                description,
                engine,
                source=self.rest,
                stored=replica,
                hub=bus,
                unstored=UnstoredTail(replica),
                closed=closed.clone(),
                connect=self.connect,
                rng=self.rng,
                latency=self.latency,
            ) as pipeline,
            trio.open_nursery() as attendants,
        ):
            if self.reload is not None:
                reloader = Reloader(
                    self.settings,
                    self.reload.reread,
                    pipeline=pipeline,
                    source=self.rest,
                    history=replica,
                    hub=bus,
                    closed=closed,
                    next_position=next_position,
                    show_shards=lambda _settings: None,
                    rng=self.rng,
                )
                attendants.start_soon(reloader.run, self.reload.requests)
            yield pipeline
            attendants.cancel_scope.cancel()

    async def _report(self, bus: IngestBus, engine: Engine) -> None:
        """Say on the bus how this ingester fares, until cancelled; of many symbols, of some at a time."""
        first = 0
        while True:
            names = tuple(engine.symbols)
            first = first if first < len(names) else 0
            status = self.readiness.status(frozenset(names[first : first + SYMBOLS_TOGETHER]))
            status = attrs.evolve(
                status,
                process=process_name(self.settings),
                notices=(*status.notices, *self.sync.notices()),
            )
            bus.report(IngesterStatus(self.name, self.settings.ingest_rank, names, status))
            first += SYMBOLS_TOGETHER
            await trio.sleep(REPORT_SECONDS)

    async def serve_http(
        self, loop: LoopWatch, logs: LogCounts | None, *, task_status: trio.TaskStatus[str]
    ) -> None:
        """Serve health and metrics until cancelled."""
        counts = HttpCounts()
        collectors = make_collectors(
            lifecycle=self.lifecycle,
            status=self.readiness.status,
            rest=self.rest,
            http=counts,
            latency=self.latency,
            loop=loop,
            logs=logs,
        )
        reasons = self.readiness.not_ready_reasons
        await serve_http_port(self.settings, counts, collectors, reasons, task_status=task_status)


@attrs.frozen
class _LogFollower:
    """Reads the log for as long as the ingester runs, and fills it again if it was replaced."""

    ingester: _Ingester
    bus: IngestBus
    replica: Replica
    exchange: str

    async def run(self, state: LogState, *, task_status: trio.TaskStatus[None]) -> None:
        """Read until cancelled; started once everything is read that the log has."""
        start = state.before_newest(self.ingester.settings.bus_bars_max)
        self.replica.start_at(start)
        async with trio.open_nursery() as nursery:
            reader = self._reader(state, start, into_memory=True)
            nursery.start_soon(self._follow, reader)
            await reader.caught_up.wait()
            task_status.started()

    def _reader(self, state: LogState, position: int, *, into_memory: bool) -> LogReader:
        def take(sequence: int, payload: bytes) -> None:
            try:
                events = decode_events(payload, sequence)
            except PayloadError as error:
                _log.error("entry of the log refused", sequence=sequence, reason=str(error))
                return
            for event in events:
                self.bus.read(sequence, event.bar)
            if into_memory and not reader.caught_up.is_set():
                self.replica.take(events)

        stream = Subjects(self.ingester.settings.exchange).stream
        reader = LogReader(JetStream(self.ingester.nats), stream, state, take, position)
        return reader

    async def _follow(self, reader: LogReader) -> None:
        while True:
            try:
                await reader.run()
            except LogReplacedError as error:
                _log.error("log replaced", reason=str(error))
            state = await self.ingester.find_log(self.exchange)
            is_other = state.identity != reader.identity or state.last < reader.position
            # Bars of another log are not in this one, so they are offered to it; those that were removed by
            # their age stay removed.
            self.bus.start_over(list(self.replica.newest_events()) if is_other else [])
            reader = self._reader(state, 0, into_memory=False)


def _forming(engine: Engine) -> list[BarEvent]:
    """Return the forming 1-minute bars as updates."""
    now = engine.time.now(trio.current_time()) if engine.time.known else 0
    bars = (engine.forming(symbol, ONE_MINUTE.name) for symbol in engine.symbols)
    return [BarEvent(UPDATE, bar, now) for bar in bars if bar is not None]
