"""One client's connection to the HTTP port: HTTP/1.1 only, every wait with a deadline.

Hypercorn's protocol does the parsing; its own server would accept plaintext HTTP/2 too, where one connection may
open and reset streams without limit, and it has no deadline for requests and writes.

A connection is idle until the first byte of a request, pending until its headers are complete, then busy until the
answer is written, and idle again. Each state has its deadline; a busy one has none for reading, since an event
stream lasts, but every write has.
"""

from collections import Counter
from typing import Final

import attrs
import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from candled.stream.admission import Ticket

CUTS: Final = ("slow request", "answer unread", "http2")
"""Causes of cut connections: a request that took too long, an answer that is not read, HTTP/2."""

_RECEIVE_BYTES: Final = 65_536


@attrs.frozen(kw_only=True)
class HttpTimes:
    """Timeouts of a connection, seconds."""

    request: float = 10.0
    """From its beginning, or from a request's first byte, to the end of the request's headers."""
    idle: float = 75.0
    """From an answer to the next request."""
    unread: float = 5.0
    """For sent data to leave while the client reads nothing."""


class _Http2Error(Exception):
    """The client speaks HTTP/2."""


class _Http1Protocol(H11Protocol):
    """Hypercorn's protocol without HTTP/2: upgrades are ignored, a preface is refused."""

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI":
            raise _Http2Error


class HttpConnection:
    """One connection; ``run`` serves it.

    Args:
        app: answers its requests.
        config: configuration of Hypercorn.
        stream: the connection; closed by ``run``.
        ticket: its place among the others; settled by its first request, and closed by ``run``.
        times: its timeouts.
        cuts: counts the causes of cut connections.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        stream: trio.SocketStream,
        ticket: Ticket,
        times: HttpTimes,
        cuts: Counter[str],
    ) -> None:
        self._app = app
        self._config = config
        self._stream = stream
        self._ticket = ticket
        self._times = times
        self._cuts = cuts
        self._send_lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._deadline = trio.current_time() + times.request
        self._is_idle = False
        self._protocol: H11Protocol | None = None

    async def run(self) -> None:
        """Serve requests until the client leaves, is cut, or this is cancelled."""
        sock = self._stream.socket
        with self._ticket:
            async with self._stream:
                try:
                    client = parse_socket_addr(sock.family, sock.getpeername())
                    server = parse_socket_addr(sock.family, sock.getsockname())
                except OSError:  # it is gone already
                    return
                async with TaskGroup() as tasks:
                    self._protocol = _Http1Protocol(
                        self._app,
                        self._config,
                        WorkerContext(None),
                        tasks,
                        ConnectionState({}),
                        False,
                        client,
                        server,
                        self._send,
                    )
                    await self._read(self._protocol)

    async def _read(self, protocol: H11Protocol) -> None:
        while True:
            data = b""
            with trio.CancelScope(deadline=self._deadline) as self._reading:
                try:
                    data = await self._stream.receive_some(_RECEIVE_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
            if self._reading.cancelled_caught:
                if not self._is_idle:
                    self._cuts["slow request"] += 1
                break
            if not data:
                break
            if self._is_idle:
                self._is_idle = False
                self._deadline = trio.current_time() + self._times.request
            try:
                await protocol.handle(RawData(bytes(data)))
            except _Http2Error:
                self._cuts["http2"] += 1
                break
        await protocol.handle(Closed())
        await self._stream.aclose()

    async def _send(self, event: Event) -> None:
        """Handle an event of the protocol: data for the client, or a change of the client's state."""
        assert self._protocol is not None
        if isinstance(event, RawData):
            if not await self._write(event.data):
                await self._protocol.handle(Closed())
        elif isinstance(event, Closed):
            await self._stream.aclose()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._is_idle = event.idle
            if not event.idle:
                self._ticket.settle()
            self._deadline = trio.current_time() + self._times.idle if event.idle else float("inf")
            self._reading.deadline = self._deadline

    async def _write(self, data: bytes) -> bool:
        """Send all data; return whether the client took it in time."""
        async with self._send_lock:
            view = memoryview(data)
            with trio.CancelScope() as scope:
                try:
                    while view:
                        # In parts: the deadline is for progress, not for the complete answer.
                        scope.deadline = trio.current_time() + self._times.unread
                        await self._stream.send_all(view[:_RECEIVE_BYTES])
                        view = view[_RECEIVE_BYTES:]
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return False
            if scope.cancelled_caught:
                self._cuts["answer unread"] += 1
                await trio.aclose_forcefully(self._stream)
                return False
            return True
