"""Connections of the gRPC server: a list of them, limits, and a watchdog, which grpclib lacks.

It creates grpclib's protocol objects itself and uses a few private attributes, as there is no other way to limit
clients. So the daemon does not start if one of ``private_attributes`` is missing.
"""

import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

import attrs
import structlog
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.protocol import AbstractHandler, H2Protocol, Stream
from grpclib.server import Handler, Server
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingReceived,
    RemoteSettingsChanged,
    StreamReset,
    UnknownFrameReceived,
)
from h2.settings import SettingCodes

from candled.stream.admission import Admission, AdmissionStatistics, Ticket
from candled.stream.grpc.codec import PassThroughCodec
from candled.stream.grpc.internals.bridge import adopt_socket
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.requests import refused_headers

_log = structlog.get_logger(__name__)
_UNREAD_MAX: Final = 4 << 20
"""Maximum number of unsent bytes for a client: beyond stream data, answers to pings and settings."""
_RESETS_MAX: Final = 1_000
"""Resets of one connection before their share of its streams is checked."""
_CONTROLS_MAX: Final = 2_000
"""Maximum number of pings and settings per connection in a minute."""
CUTS: Final = (
    *("handshake", "silent", "stalled", "protocol error", "rapid reset", "control frames", "answers unread"),
)
"""Why connections are cut: a handshake that failed, no HTTP/2 in time, nothing read for long, and so on."""
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_TCP_INFO_ACKED: Final = slice(120, 128)
"""Where ``tcpi_bytes_acked`` stands in Linux's ``struct tcp_info``, which only ever grows at its end."""
_UNSENT_BYTES: Final = 16_384
"""Bytes that the kernel may buffer unsent: beyond them a slow client's messages are conflated."""


@attrs.frozen(slots=True)
class ServerStatistics:
    """The server at one moment."""

    connections: int
    bytes_sent: int | None
    """Bytes acknowledged by clients since the start, as the kernel counts them; None if it does not."""
    admission: AdmissionStatistics = AdmissionStatistics(0, 0, {})
    """Connections that were admitted and refused."""
    cuts: Mapping[str, int] = attrs.Factory(dict)
    """Connections cut since the start, by cause."""


class CandleServer(Server):
    """grpclib's server with control over its connections."""

    def __init__(self, handlers: Collection[Any], limits: Limits, admission: Admission) -> None:
        super().__init__(handlers, codec=PassThroughCodec())
        self.limits = limits
        self.cuts: Counter[str] = Counter(dict.fromkeys(CUTS, 0))
        """Connections that were cut, by cause."""
        self._admission = admission
        self.connections: set[Connection] = set()
        self._bytes_sent: int | None = 0 if _TCP_INFO is not None else None
        """Bytes of closed connections."""

    def statistics(self) -> ServerStatistics:
        """Return the server's figures at this moment."""
        sent = self._bytes_sent
        if sent is not None:
            sent += sum(connection.bytes_sent for connection in self.connections)
        return ServerStatistics(len(self.connections), sent, self._admission.statistics(), dict(self.cuts))

    def forget(self, connection: "Connection") -> None:
        """Remove a connection that is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            if self._bytes_sent is not None:
                self._bytes_sent += connection.bytes_sent

    def cut_stalled(self, now: float) -> int:
        """Cut connections whose clients have stopped reading or never spoke; return how many.

        Args:
            now: monotonic seconds.
        """
        stalled = [connection for connection in self.connections if connection.is_stalled(now)]
        for connection in stalled:
            connection.cut("stalled" if connection.speaks else "silent")
        return len(stalled)

    async def adopt(self, sock: socket.socket, context: ssl.SSLContext | None, ticket: Ticket) -> None:
        """Serve an accepted connection; returns after the TLS handshake.

        Args:
            sock: socket of the connection.
            context: TLS context; None: plaintext.
            ticket: its place among the others; closed when the connection is gone.
        """
        try:
            await adopt_socket(
                lambda: self._connection(ticket), sock, context, self.limits.connections.pending_seconds
            )
        except OSError as error:
            ticket.close()
            self.cuts["handshake"] += 1
            _log.info("handshake failed", address=ticket.address, reason=str(error) or type(error).__name__)
        except BaseException:
            ticket.close()
            raise

    async def close_handlers(self) -> None:
        """Cancel every request in progress, and wait until all have ended."""
        for handler in self._handlers:
            handler.close()
        for handler in tuple(self._handlers):
            await handler.wait_closed()

    def say_goodbye(self) -> None:
        """Send GOAWAY to every client, and end each connection once that is sent."""
        for connection in tuple(self.connections):
            connection.end()

    def cut_all(self) -> None:
        """Cut every remaining connection."""
        for connection in tuple(self.connections):
            connection.abort()

    def _connection(self, ticket: Ticket) -> H2Protocol:
        self.__gc_step__()
        handler = _CheckingHandler(self._mapping, self._codec, self._status_details_codec, self.__dispatch__)
        self._handlers.add(handler)
        return Connection(self, handler, ticket)


class _CheckingHandler(Handler):
    """grpclib's handler with a check of the headers.

    grpclib leaves requests with unreadable headers unanswered, or reports an internal error.
    """

    def accept(self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], Any]) -> None:
        """Check the headers, then serve or refuse the request."""
        text = refused_headers(headers)
        if text is None:
            super().accept(stream, headers, release_stream)
            return
        self.__gc_step__()
        self._tasks[stream] = self.loop.create_task(_refuse(stream, text, release_stream))


async def _refuse(stream: Stream, text: str, release_stream: Callable[[], Any]) -> None:
    try:
        await stream.send_headers(
            [
                (":status", "200"),
                ("content-type", "application/grpc+proto"),
                ("grpc-status", str(Status.INVALID_ARGUMENT.value)),
                ("grpc-message", text),
            ],
            end_stream=True,
        )
        if stream.closable:
            stream.reset_nowait()
    except (ProtocolError, StreamTerminatedError):  # the client is gone
        pass
    finally:
        release_stream()


def private_attributes() -> list[tuple[object, str]]:
    """Sample the objects whose private attributes are used here, each with the attribute's name (in asyncio)."""
    server = Server([])
    handler = Handler(server._mapping, server._codec, server._status_details_codec, server.__dispatch__)
    protocol = H2Protocol(handler, server._config, server._h2_config)
    protocol.connection_made(MemoryTransport())  # type: ignore[arg-type]
    h2_connection = protocol.connection._connection
    return [
        *((server, name) for name in ("_mapping", "_codec", "_status_details_codec")),
        *((server, name) for name in ("_handlers", "_config", "_h2_config", "__gc_step__", "__dispatch__")),
        *((protocol, name) for name in ("connection", "processor")),
        *((protocol.processor, name) for name in ("processors", "streams", "handler")),
        *((protocol.processor.handler, name) for name in ("_tasks", "loop", "__gc_step__")),
        *((protocol.connection, name) for name in ("_connection", "flush", "ack", "streams_started")),
        *((h2_connection, name) for name in ("update_settings", "local_settings", "close_connection")),
    ]


class MemoryTransport:
    """A transport to memory, to sample the objects that grpclib builds on one."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_extra_info(self, _name: str) -> None:
        """Return None: there is no socket."""

    def get_write_buffer_size(self) -> int:
        """Return 0: everything is written at once."""
        return 0

    def is_closing(self) -> bool:
        """Return False."""
        return False


class Connection(H2Protocol):
    """One client's connection."""

    def __init__(self, server: CandleServer, handler: AbstractHandler, ticket: Ticket) -> None:
        super().__init__(handler, server._config, server._h2_config)
        self._server = server
        self._transport: Any = None
        self._paused_at: float | None = None
        self._made_at = time.monotonic()
        self._ticket = ticket
        self._is_cut = False
        self.speaks = False
        """Whether the client has begun to speak HTTP/2."""
        self._resets = 0
        self._controls = 0
        self._controls_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Handle a new connection."""
        super().connection_made(transport)
        self._transport = transport
        limits = self._server.limits
        self._server.connections.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            for name, value in (
                ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
                ("TCP_USER_TIMEOUT", int(limits.stall_seconds * 1000)),
            ):
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        h2_connection = self.connection._connection  # grpclib has no setting for it
        h2_connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams_per_connection_max})
        # Applied at once: a client may open more than 100 streams before our settings reach it.
        h2_connection.local_settings.acknowledge()
        self.connection.flush()
        processors: dict[type[Event], Any] = self.processor.processors
        self._take_data, processors[DataReceived] = processors[DataReceived], self._data_arrived
        self._take_reset, processors[StreamReset] = processors[StreamReset], self._stream_reset
        self._take_settings = processors[RemoteSettingsChanged]
        processors[RemoteSettingsChanged] = self._settings_changed
        processors[PingReceived] = self._count_control
        processors[UnknownFrameReceived] = _ignore  # legal, but grpclib would cut the connection

    def data_received(self, data: bytes) -> None:
        """Handle received bytes."""
        if self._is_cut:
            return
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes make h2 or grpclib raise
            self.cut("protocol error", reason=repr(error))
            return
        if self._transport.get_write_buffer_size() > _UNREAD_MAX:
            self.cut("answers unread")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Handle a connection that is gone."""
        self._ticket.close()
        self._server.forget(self)
        super().connection_lost(exc)

    @property
    def bytes_sent(self) -> int:
        """Bytes acknowledged by the client, as the kernel counts them, which costs nothing per message."""
        sock = self._transport.get_extra_info("socket")
        if _TCP_INFO is None or sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
            return 0
        try:
            information = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_ACKED.stop)
        except OSError:  # closed meanwhile
            return 0
        return int.from_bytes(information[_TCP_INFO_ACKED], sys.byteorder)

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        self._paused_at = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._paused_at = None
        super().resume_writing()

    def _data_arrived(self, event: DataReceived) -> None:
        stream = self.processor.streams.get(event.stream_id)
        size = len(event.data or b"")
        if stream is not None and stream.data_received + size > self._server.limits.request_bytes_max:
            self.connection.ack(event.stream_id, event.flow_controlled_length or 0)
            if stream.closable:
                self.processor.handler.cancel(stream)
                stream.reset_nowait(ErrorCodes.ENHANCE_YOUR_CALM)  # clients see RESOURCE_EXHAUSTED
            return
        self._take_data(event)

    def _stream_reset(self, event: StreamReset) -> None:
        self._resets += 1
        if self._is_cut:
            return
        if self._resets > _RESETS_MAX and self._resets > self.connection.streams_started // 2:
            self.cut("rapid reset", resets=self._resets)
            return
        self._take_reset(event)

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        self.speaks = True
        self._ticket.settle()
        self._count_control(event)
        self._take_settings(event)

    def _count_control(self, _event: Event) -> None:
        now = time.monotonic()
        if now - self._controls_since > 60:
            self._controls, self._controls_since = 0, now
        self._controls += 1
        if self._controls > _CONTROLS_MAX:
            self.cut("control frames", frames=self._controls)

    def is_stalled(self, now: float) -> bool:
        """Return whether the connection is to be cut: nothing taken, or no HTTP/2 spoken, for too long."""
        limits = self._server.limits
        if not self.speaks:
            return now - self._made_at > limits.connections.pending_seconds
        return self._paused_at is not None and now - self._paused_at > limits.stall_seconds

    def end(self) -> None:
        """Send GOAWAY, and close once everything written has left."""
        if not self.connection.is_closing():
            self.connection._connection.close_connection()  # GOAWAY; grpclib never sends it
            self.connection.flush()
            self.connection.close()

    def cut(self, cause: str, **fields: object) -> None:
        """Cut the connection for a client's misbehaviour; counted and logged once.

        Args:
            cause: one of ``CUTS``.
            fields: further fields of the log line.
        """
        if not self._is_cut:
            self._is_cut = True
            self._server.cuts[cause] += 1
            _log.warning("connection cut", cause=cause, address=self._ticket.address, **fields)
            self.abort()

    def abort(self) -> None:
        """Abort the connection: ``close`` would wait for a client that does not read."""
        cast("Any", self._transport).abort()


def _ignore(_event: Event) -> None:
    pass
