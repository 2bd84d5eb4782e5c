"""Role ``edge``: serves clients from the bus. Any number run; none keeps anything that another does not have.

An edge reads the log into memory, then follows it and the ingesters' updates. Everything behind that is what every
daemon has: roll-up, hub, gRPC and HTTP port. The sequence of the log is the position of every closed bar, so a
resume token of one edge is valid at all of them. If the log is replaced, the edge ends its streams and starts
over with what it finds.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import structlog
import trio

from candled.bus.edge_bus import EdgeBus
from candled.bus.incarnation import LogState
from candled.bus.messages import PayloadError, Subjects, decode_events
from candled.bus.nats.connection import Nats, NoAnswerError
from candled.bus.nats.jetstream import JetStream, JetStreamError, LogReader, LogReplacedError
from candled.bus.order import RisingBars
from candled.config.settings import DaemonSettings
from candled.daemon.bus_connection import open_bus, process_name
from candled.daemon.edge_status import EdgeStatus
from candled.daemon.metrics import make_edge_collectors
from candled.daemon.older_bars import with_older_bars
from candled.daemon.ports import open_grpc_port, serve_http_port
from candled.daemon.roles import Addresses, RoleContext, cancelled_by
from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent
from candled.domain.interval import MINUTE
from candled.domain.storage import BarSource, BarsUnavailableError
from candled.engine.rollup import RollUp
from candled.history.replica import Replica
from candled.stream.hub import Hub
from candled.stream.turns import Turns
from candled.stream.web.application import HttpCounts
from candled.stream.web.chart import ChartSource
from candled.telemetry.logging import LogCounts
from candled.telemetry.watchdog import LoopWatch, open_watchdog

SEEDED_SYMBOLS_MAX: Final = 100
"""Symbols whose open weeks and months are read from the object store at the start: some queries for each."""
RETRY_SECONDS: Final = 0.25
"""Between looks for the log, and at the ingesters' symbols."""
REPORT_SECONDS: Final = 2.5
"""For the first report of an ingester; without any, the log says which symbols there are."""
CUT_OFF_SECONDS: Final = 0.2
"""Of silence of the bus, until streams are asked to go to another edge."""
CUT_OFF_SECONDS_MAX: Final = 3.2
"""It doubles each time: if the bus is slow, all edges may be cut off, and moving does not help."""
SETTLED_SECONDS: Final = 60.0
"""Since the last time, after which it is short again."""
CUT_OFF_AGAIN_SECONDS: Final = 15.0
"""Until those are asked that began meanwhile: if no edge has the bus, clients wait more than they move."""
AHEAD_SECONDS: Final = 2.0
"""That a resume token may wait until this edge has read as far as the one that gave it."""
_log = structlog.get_logger(__name__)


async def serve_edge(
    context: RoleContext, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run role ``edge``. See ``ServeRole``; an edge does not need the proxies."""
    settings = context.settings
    rng = random.Random()  # noqa: S311 - names that only must differ
    name = process_name(settings)
    with open_watchdog(settings.loop_held_max) as loop:
        async with (
            open_bus(settings, f"{name}-{rng.getrandbits(32):08x}", rng) as nats,
            trio.open_nursery() as ports,
        ):
            edge = _Edge(settings=settings, nats=nats, status=EdgeStatus(nats, name, context.observe_start))
            http_address = await ports.start(edge.serve_http, loop, context.logs)
            _log.info("starting", role="edge", name=name, http=http_address, bus=list(settings.bus_urls))

            def started(grpc_address: str) -> None:
                _log.info("serving", grpc=grpc_address, http=http_address)
                task_status.started(Addresses(grpc_address, http_address))

            async with cancelled_by(context.stop):
                await edge.run(started)
            edge.status.stop()
            ports.cancel_scope.cancel()


@attrs.frozen(kw_only=True)
class _Edge:
    """One run of an edge."""

    settings: DaemonSettings
    nats: Nats
    status: EdgeStatus
    turns: Turns = attrs.Factory(Turns)

    async def run(self, started: Callable[[str], None]) -> None:
        """Serve until cancelled, one log after the other."""
        address = self.settings.grpc_address
        while True:
            state = await self._find_log()
            try:
                async with self._serve(state, address) as bound:
                    if bound != address:
                        address = bound
                    started(address)
                    started = _nothing
                    await trio.sleep_forever()
            except* LogReplacedError as group:
                _log.error("log replaced, starting over", reason=str(group.exceptions[0]))
                self.status.begin("The log on the bus was replaced.")

    async def _find_log(self) -> LogState:
        """Return the log, once an ingester has made it."""
        stream = Subjects(self.settings.exchange).stream
        while True:
            if self.nats.is_connected:
                try:
                    return await JetStream(self.nats).log_state(stream)
                except (NoAnswerError, JetStreamError) as error:
                    self.status.begin(f"The bus does not have the log {stream} yet: {error}.")
            else:
                self.status.begin(self.nats.failure)
            await trio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def _serve(self, state: LogState, address: str) -> AsyncIterator[str]:
        """Read a log and serve clients from it while inside; yields the gRPC port's address."""
        replica = Replica(state.identity, self.settings.bus_bars_max)
        start = state.before_newest(self.settings.bus_bars_max)
        replica.start_at(start)
        stored = await with_older_bars(self.settings, replica, state.exchange)
        feed = _LogFeed(replica)
        reader = LogReader(JetStream(self.nats), Subjects(self.settings.exchange).stream, state, feed.take, start)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            self.status.begin("The log is being read.")
            await reader.caught_up.wait()
            feed.hold()
            bars = await _Bars.restore(self, replica, state, stored)
            feed.pass_to(bars.bus.take_entry)
            nursery.start_soon(bars.bus.run)
            await bars.wait_for_symbols()
            nursery.start_soon(bars.follow_symbols)
            nursery.start_soon(bars.end_streams_when_cut_off)
            async with bars.serve_grpc(address) as bound:
                yield bound
            bars.bus.close()
            nursery.cancel_scope.cancel()

    def chart_source(self) -> ChartSource | str:
        """Return where the chart's bars come from, or why there are none."""
        bars = self.status.bars
        if bars is None:
            return " ".join(self.status.not_ready_reasons())
        return ChartSource(bars.hub, bars.stored, self.status.status, self.turns, self.status.summary)

    async def serve_http(
        self, loop: LoopWatch, logs: LogCounts | None, *, task_status: trio.TaskStatus[str]
    ) -> None:
        """Serve health, metrics and the chart until cancelled."""
        counts = HttpCounts()
        collectors = make_edge_collectors(self.status, http=counts, loop=loop, logs=logs)
        reasons = self.status.not_ready_reasons
        await serve_http_port(
            self.settings, counts, collectors, reasons, self.chart_source, task_status=task_status
        )


def _nothing(_address: str) -> None:
    """Take the place of what is to be called once."""


async def _parts(
    source: BarSource, replica: Replica, symbol: str, interval: str, start: int, end: int
) -> list[Bar]:
    """Return what the roll-up begins with; without the object store what memory has."""
    limit = (end - start) // MINUTE + 1
    try:
        return await source.bars(symbol, interval, start, end, limit)
    except BarsUnavailableError:
        return await replica.bars(symbol, interval, start, end, limit)


class _LogFeed:
    """Where entries of the log go: first into memory, then, after a pause, to the bars."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._take: Callable[[int, bytes], None] = self._into_memory
        self._held: list[tuple[int, bytes]] = []

    def take(self, sequence: int, payload: bytes) -> None:
        """Take the next entry."""
        self._take(sequence, payload)

    def hold(self) -> None:
        """Keep entries from here on."""
        self._take = lambda sequence, payload: self._held.append((sequence, payload))

    def pass_to(self, take: Callable[[int, bytes], None]) -> None:
        """Pass on what was kept, and everything from here on."""
        held, self._held, self._take = self._held, [], take
        for sequence, payload in held:
            take(sequence, payload)

    def _into_memory(self, sequence: int, payload: bytes) -> None:
        try:
            self._replica.take(decode_events(payload, sequence))
        except PayloadError as error:
            _log.error("entry of the log refused", sequence=sequence, reason=str(error))


class _Bars:
    """Bars of one log: from the bus, through the roll-up, to the hub and into memory."""

    def __init__(self, edge: _Edge, replica: Replica, state: LogState, stored: BarSource) -> None:
        settings = edge.settings
        self._edge = edge
        self._replica = replica
        self._rollup = RollUp()
        self._rising = RisingBars()
        self._symbols: list[str] = []
        self.bus = EdgeBus(edge.nats, Subjects(settings.exchange), hold=settings.edge_hold, publish=self._publish)
        self.hub = Hub(
            clock=trio.current_time,
            snapshot=self._rollup.forming,
            symbols=lambda: self._symbols,
            stored=replica,
            oldest_position=lambda: replica.oldest_position,
            backlog_max=settings.grpc_backlog_max,
            streams_max=settings.grpc_streams_max,
        )
        self.exchange = state.exchange
        self.stored = stored

    @classmethod
    async def restore(
        cls, edge: _Edge, replica: Replica, state: LogState, stored: BarSource | None = None
    ) -> "_Bars":
        """Make the bars of a log that was read into memory, and of what is stored before it."""
        bars = cls(edge, replica, state, stored or replica)
        newest = await replica.newest_bars()
        source = bars.stored if len(newest) <= SEEDED_SYMBOLS_MAX else replica
        for symbol, last in newest.items():
            parts = []
            for interval, start in RollUp.seed_ranges(last.close_time).items():
                parts += await _parts(source, replica, symbol, interval, start, last.close_time)
            bars._rollup.seed(symbol, parts)
        closed_until = {symbol: bar.close_time for symbol, bar in newest.items()}
        bars.bus.order.start_at(replica.stored_position, closed_until)
        bars._symbols = sorted(newest)
        return bars

    def _publish(self, events: Sequence[BarEvent]) -> None:
        """Roll up, publish, and remember what closed."""
        self.hub.publish(self._rising.pass_on(self._rollup.apply(events, self.hub.wanted)))
        closed = [event for event in events if event.kind is not UPDATE]
        if closed:
            self._replica.take(closed)
            self._rebuild()

    def _rebuild(self) -> None:
        """Revise longer bars of which the roll-up has no parts any more."""
        for need in self._rollup.take_needed():
            minutes = self._replica.minutes(need.symbol, need.open_time, need.close_time)
            events = self._rollup.rebuild(need.symbol, need.interval, need.open_time, minutes, self.hub.wanted)
            if need.open_time >= self._replica.begin_of(need.symbol):  # else it would lack minutes
                self.hub.publish(self._rising.pass_on(events))

    async def wait_for_symbols(self) -> None:
        """Return once it is known which symbols there are: from the ingesters, or without any from the log."""
        with trio.move_on_after(REPORT_SECONDS):
            while not self.bus.roster.symbols():  # noqa: ASYNC110 - the roster is plain
                await trio.sleep(RETRY_SECONDS)
        while not (self._symbols or self.bus.roster.symbols()):
            self._edge.status.begin("No ingester reports on the bus.")
            await trio.sleep(RETRY_SECONDS)
        self._take_symbols()

    async def follow_symbols(self) -> None:
        """Serve the symbols that ingesters build, until cancelled."""
        while True:
            await trio.sleep(RETRY_SECONDS)
            self._take_symbols()

    async def end_streams_when_cut_off(self) -> None:
        """Have clients go to an edge that has the bus whenever this one has lost it, until cancelled."""
        nats = self._edge.nats
        seconds, ended_at = CUT_OFF_SECONDS, 0.0
        while True:
            await nats.wait_answering(value=True)
            await nats.wait_answering(value=False)
            if trio.current_time() - ended_at > SETTLED_SECONDS:
                seconds = CUT_OFF_SECONDS
            with trio.move_on_after(seconds):
                await nats.wait_answering(value=True)
            while not nats.is_answering:
                _log.warning("cut off from the bus, streams end", streams=self.hub.statistics().subscribers)
                self.hub.send_elsewhere()
                seconds, ended_at = min(seconds * 2, CUT_OFF_SECONDS_MAX), trio.current_time()
                with trio.move_on_after(CUT_OFF_AGAIN_SECONDS):
                    await nats.wait_answering(value=True)

    def _take_symbols(self) -> None:
        found = self.bus.roster.symbols()
        if not found or found == set(self._symbols):
            return
        removed = [symbol for symbol in self._symbols if symbol not in found]
        _log.info("symbols changed", removed=removed, symbols=sorted(found))
        self._symbols = sorted(found)
        for symbol in removed:
            self.hub.forget(symbol)
            self._rollup.forget(symbol)
            self.bus.order.forget(symbol)
            self._rising.forget(symbol)

    @asynccontextmanager
    async def serve_grpc(self, address: str) -> AsyncIterator[str]:
        """Serve the gRPC API while inside; yields its address."""
        edge = self._edge
        async with open_grpc_port(
            edge.settings,
            address,
            hub=self.hub,
            stored=self.stored,
            status=edge.status.status,
            summary=edge.status.summary,
            turns=edge.turns,
            ahead_seconds=AHEAD_SECONDS,
        ) as grpc:
            edge.status.serve(self, grpc.statistics)
            yield grpc.address
