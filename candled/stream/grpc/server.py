"""The gRPC server: its life from binding the port to the last stream's orderly end."""

import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
from candled.stream.grpc.bridge import call_trio, open_asyncio, run_asyncio
from candled.stream.grpc.connections import CandleServer, ServerStatistics
from candled.stream.grpc.delivery import Delivery, PlainDelivery
from candled.stream.grpc.fast_path import FastDelivery, check_private_attributes
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.security import Security, SecurityFiles
from candled.stream.grpc.service import CandleService
from candled.stream.history import StoredBars
from candled.stream.hub import Hub
from candled.stream.sockets import joined, listen

_BACKLOG: Final = 1024
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
    stored: StoredBars,
    status: Callable[[], DaemonStatus],
    limits: Limits | None = None,
    files: SecurityFiles | None = None,
    plain: bool = False,
) -> AsyncIterator[GrpcServer]:
    """Serve the API while inside; yields once it accepts calls.

    On leaving: no new connections, every stream ends with UNAVAILABLE and where to resume, what still hangs
    after ``limits.drain_seconds`` is cut.

    Args:
        address: ``host:port``; port 0 takes a free one.
        hub: where the streams get their bars. It is closed on leaving.
        stored: the history.
        status: the daemon at any moment; health follows its readiness.
        limits: what clients may ask for.
        files: certificates and tokens; none serves everybody, in clear.
        plain: use grpclib's public interface only, at a fraction of the speed.

    Raises:
        AddressError: the address is in use, not local, or not of that form.
        UserError: a certificate or the tokens cannot be used.
    """
    limits = limits or Limits()
    stop = trio.Event()
    security = Security(files or SecurityFiles())
    sock = listen(address, setting="grpc_address", backlog=_BACKLOG)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(_serve, sock, hub, stored, status, limits, security, plain, stop)
        try:
            yield server
        finally:
            stop.set()


async def _serve(
    sock: socket.socket,
    hub: Hub,
    stored: StoredBars,
    status: Callable[[], DaemonStatus],
    limits: Limits,
    security: Security,
    plain: bool,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[GrpcServer],
) -> None:
    # Only `stop` ends this task, so that a cancelled daemon still ends its streams in order.
    with sock, trio.CancelScope(shield=True):
        async with open_asyncio():
            ready = ServiceStatus()
            delivery = await run_asyncio(_make_delivery, plain)
            service = CandleService(
                hub=hub,
                stored=_Bridged(stored),
                status=status,
                delivery=delivery,
                limits=limits,
                clock=trio.current_time,
            )
            hub.after_publish(delivery.flush)
            health = Health({service: [ready], OVERALL: [ready]})
            handlers = ServerReflection.extend([service, health])
            server = await run_asyncio(_make_server, handlers, limits)
            security.guard(server)
            await run_asyncio(server.start, sock=sock, ssl=security.context)
            host, port = sock.getsockname()[:2]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_follow_readiness, ready, status)
                nursery.start_soon(_watch_connections, server)
                nursery.start_soon(_watch_files, security)
                task_status.started(GrpcServer(host, port, server.statistics))
                await stop.wait()
                nursery.cancel_scope.cancel()
            ready.set(False)
            await _drain(server, hub, limits)


async def _make_delivery(plain: bool) -> Delivery:
    obstacle = None if plain else check_private_attributes()
    if obstacle is not None:
        _log.warning("the stream's fast path is off", reason=obstacle)
    return PlainDelivery(_now) if plain or obstacle is not None else FastDelivery(_now)


def _now() -> int:
    return time.time_ns() // 1000


async def _make_server(handlers: Sequence[Any], limits: Limits) -> CandleServer:
    return CandleServer(handlers, limits)


async def _follow_readiness(ready: ServiceStatus, status: Callable[[], DaemonStatus]) -> None:
    while True:
        ready.set(not status().not_ready_reasons)
        await trio.sleep(_HEALTH_PERIOD)


async def _watch_connections(server: CandleServer) -> None:
    while True:
        await trio.sleep(min(server.limits.stall_seconds, server.limits.request_seconds) / 4)
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
            await trio.sleep(0.05)  # the trailers are on their way out of the handlers
            break
        hub.stop_waiting()
    server.close()
    server.say_goodbye()
    with trio.move_on_after(1):
        while server.connections:  # noqa: ASYNC110 - asyncio's transports say when they are gone
            await trio.sleep(0.01)
    server.cut_all()
    with trio.move_on_after(1):
        await run_asyncio(server.wait_closed)


class _Bridged:
    """The history as handlers may await it."""

    def __init__(self, stored: StoredBars) -> None:
        self._stored = stored
        self._bars = call_trio(stored.bars)
        self._changed_since = call_trio(stored.changed_since)

    @property
    def stored_position(self) -> int:
        return self._stored.stored_position

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        return await self._bars(symbol, interval, start, end, limit)

    async def changed_since(
        self, position: int, symbols: Sequence[str], intervals: Sequence[str], limit: int
    ) -> list[tuple[int, Bar]]:
        return await self._changed_since(position, symbols, intervals, limit)
