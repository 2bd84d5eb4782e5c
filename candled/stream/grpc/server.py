"""The gRPC server, from binding the port to the orderly end of the last stream."""

import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import structlog
import trio
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.reflection.service import ServerReflection

from candled.domain.bar import Bar
from candled.domain.status import DaemonStatus
from candled.domain.storage import BarReader
from candled.stream.accept import accept_connections, connections_max
from candled.stream.admission import Admission, Ticket
from candled.stream.grpc.delivery import Delivery, PlainDelivery
from candled.stream.grpc.internals.bridge import call_trio, open_asyncio, run_asyncio
from candled.stream.grpc.internals.connections import CandleServer, ServerStatistics
from candled.stream.grpc.internals.fast_path import FastDelivery, find_obstacle
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.security import Security, SecurityFiles
from candled.stream.grpc.service import CandleService
from candled.stream.hub import Hub
from candled.stream.sockets import joined, listen
from candled.stream.turns import TurnReader, Turns

_BACKLOG: Final = 1024
_DESCRIPTORS_SHARE: Final = 7 / 8
"""Of the descriptors that clients may use; the HTTP port has the rest."""
_HEALTH_PERIOD: Final = 0.25
_FILES_PERIOD: Final = 1.0
_log = structlog.get_logger(__name__)


@attrs.frozen(slots=True)
class GrpcServer:
    """A server that accepts calls."""

    host: str
    port: int
    statistics: Callable[[], ServerStatistics]

    @property
    def address(self) -> str:
        """``host:port``, as clients dial it."""
        return joined(self.host, self.port)


@asynccontextmanager
async def open_grpc_server(
    address: str,
    *,
    hub: Hub,
    stored: BarReader,
    status: Callable[[], DaemonStatus],
    summary: Callable[[], DaemonStatus] | None = None,
    limits: Limits | None = None,
    files: SecurityFiles | None = None,
    plain: bool = False,
    turns: Turns | None = None,
) -> AsyncIterator[GrpcServer]:
    """Serve the API while inside; yields once it accepts calls.

    On leaving: no new connections, every stream ends with UNAVAILABLE and the point to resume from,
    and connections still open after ``limits.drain_seconds`` are cut.

    Args:
        address: ``host:port``; port 0 takes a free one.
        hub: source of the streams' bars. It is closed on leaving.
        stored: the history.
        status: returns the daemon's status.
        summary: returns it without its symbols, at less cost; health follows its readiness. None: ``status``.
        limits: limits on clients' requests.
        files: certificates and tokens; without them everyone is served in plaintext.
        plain: use grpclib's public interface only, at a fraction of the speed.
        turns: order of reads from the history, shared by all ports; None: of this port alone.

    Raises:
        AddressError: the address is in use, not local, or not of that form.
        UserError: a certificate or the tokens cannot be used.
    """
    limits = limits or Limits()
    stop = trio.Event()
    security = Security(files or SecurityFiles())
    sock = listen(address, setting="grpc_address", backlog=_BACKLOG)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            _serve, sock, hub, stored, status, summary or status, limits, security, plain, turns or Turns(), stop
        )
        try:
            yield server
        finally:
            stop.set()


async def _serve(
    sock: socket.socket,
    hub: Hub,
    stored: BarReader,
    status: Callable[[], DaemonStatus],
    summary: Callable[[], DaemonStatus],
    limits: Limits,
    security: Security,
    plain: bool,
    turns: Turns,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[GrpcServer],
) -> None:
    # Only `stop` ends this task, so that a cancelled daemon still ends its streams properly.
    with trio.socket.from_stdlib_socket(sock) as listener, trio.CancelScope(shield=True):
        async with open_asyncio():
            ready = ServiceStatus()
            delivery = await run_asyncio(_make_delivery, plain)
            service = CandleService(
                hub=hub,
                stored=lambda address, is_stream: _Bridged(
                    TurnReader(stored, turns, address, is_stream=is_stream)
                ),
                status=status,
                summary=summary,
                delivery=delivery,
                limits=limits,
                clock=trio.current_time,
            )
            hub.after_publish(delivery.flush)
            health = Health({service: [ready], OVERALL: [ready]})
            handlers = ServerReflection.extend([service, health])
            connections = limits.connections
            total = connections_max(connections.total, _DESCRIPTORS_SHARE)
            admission = Admission(attrs.evolve(connections, total=total))
            server = await run_asyncio(_make_server, handlers, limits, admission)
            security.guard(server)
            host, port = sock.getsockname()[:2]

            async def adopt(accepted: trio.socket.SocketType, ticket: Ticket) -> None:
                adopted = socket.socket(fileno=accepted.detach())
                await run_asyncio(server.adopt, adopted, security.context, ticket)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept_connections, listener, admission, adopt)
                nursery.start_soon(_follow_readiness, ready, summary)
                nursery.start_soon(_watch_connections, server)
                nursery.start_soon(_watch_files, security)
                task_status.started(GrpcServer(host, port, server.statistics))
                await stop.wait()
                nursery.cancel_scope.cancel()
            listener.close()
            ready.set(False)
            await _drain(server, hub, limits)


async def _make_delivery(plain: bool) -> Delivery:
    obstacle = None if plain else find_obstacle()
    if obstacle is not None:
        _log.warning("fast path off", reason=obstacle)
    return PlainDelivery(_now) if plain or obstacle is not None else FastDelivery(_now)


def _now() -> int:
    return time.time_ns() // 1000


async def _make_server(handlers: Sequence[Any], limits: Limits, admission: Admission) -> CandleServer:
    return CandleServer(handlers, limits, admission)


async def _follow_readiness(ready: ServiceStatus, summary: Callable[[], DaemonStatus]) -> None:
    while True:
        ready.set(not summary().not_ready_reasons)
        await trio.sleep(_HEALTH_PERIOD)


async def _watch_connections(server: CandleServer) -> None:
    while True:
        await trio.sleep(min(server.limits.stall_seconds, server.limits.connections.pending_seconds) / 4)
        server.cut_stalled(time.monotonic())


async def _watch_files(security: Security) -> None:
    while True:
        await trio.sleep(_FILES_PERIOD)
        security.reload()


async def _drain(server: CandleServer, hub: Hub, limits: Limits) -> None:
    hub.close()
    for _ in range(2):
        with trio.move_on_after(limits.drain_seconds / 2):
            while hub.statistics().subscribers:  # noqa: ASYNC110 - the hub is plain, it has nothing to wait for
                await trio.sleep(0.02)
            await trio.sleep(0.05)  # the handlers are still sending their trailers
            break
        hub.stop_waiting()
    server.say_goodbye()
    with trio.move_on_after(1):
        while server.connections:  # noqa: ASYNC110 - asyncio's transports say when they are gone
            await trio.sleep(0.01)
    server.cut_all()
    with trio.move_on_after(1):
        await run_asyncio(server.close_handlers)


class _Bridged(BarReader):
    """The history, awaitable from asyncio handlers."""

    def __init__(self, stored: BarReader) -> None:
        self._stored = stored

    @property
    def history_id(self) -> str:
        return self._stored.history_id

    @property
    def stored_position(self) -> int:
        return self._stored.stored_position

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        return await call_trio(self._stored.bars)(symbol, interval, start, end, limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str] = (), intervals: Sequence[str] = ("1m",), limit: int = 1000
    ) -> list[tuple[int, Bar]]:
        return await call_trio(self._stored.changed_since)(position, symbols, intervals, limit)

    async def incomplete_bars(self, symbol: str, since: int = 0, limit: int = 100_000) -> list[Bar]:
        return await call_trio(self._stored.incomplete_bars)(symbol, since, limit)

    async def newest_bars(self) -> Mapping[str, Bar]:
        return await call_trio(self._stored.newest_bars)()

    async def symbols(self) -> list[str]:
        return await call_trio(self._stored.symbols)()
