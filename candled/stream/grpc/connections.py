"""What a server needs of its connections beyond what grpclib gives: a list of them, limits, and a watchdog.

It leans on grpclib's ``_protocol_factory`` and a few attributes of its protocol objects: the version is pinned.
"""

import socket
import sys
import time
from collections.abc import Collection
from typing import Any, Final, cast

import attrs
import structlog
from grpclib.protocol import AbstractHandler, H2Protocol
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

from candled.stream.grpc.codec import PassThroughCodec
from candled.stream.grpc.limits import Limits

_log = structlog.get_logger(__name__)
_UNREAD_MAX: Final = 4 << 20
"""Bytes that may wait for a client: beyond what streams send, these are answers to pings and settings."""
_RESETS_MAX: Final = 1_000
"""Streams that one connection may reset before it is looked at how many it let live."""
_CONTROLS_MAX: Final = 2_000
"""Pings and settings that a connection may send in a minute."""
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_TCP_INFO_ACKED: Final = slice(120, 128)
"""Where ``tcpi_bytes_acked`` stands in Linux's ``struct tcp_info``, which only ever grows at its end."""
_UNSENT_BYTES: Final = 16_384
"""How much the kernel may hold that is not on the wire yet: beyond it a slow client's messages are conflated."""


@attrs.frozen(slots=True)
class ServerStatistics:
    """The server at one moment."""

    connections: int
    bytes_sent: int | None
    """Since the start, as the kernel counts what clients have taken; None where it does not."""


class CandleServer(Server):
    """grpclib's server, with its connections in hand."""

    def __init__(self, handlers: Collection[Any], limits: Limits) -> None:
        super().__init__(handlers, codec=PassThroughCodec())
        self.limits = limits
        self.connections: set[Connection] = set()
        self._bytes_sent: int | None = 0 if _TCP_INFO is not None else None
        """On connections that are gone."""

    def statistics(self) -> ServerStatistics:
        """The server as it is now."""
        sent = self._bytes_sent
        if sent is not None:
            sent += sum(connection.bytes_sent for connection in self.connections)
        return ServerStatistics(len(self.connections), sent)

    def forget(self, connection: "Connection") -> None:
        """That connection is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            if self._bytes_sent is not None:
                self._bytes_sent += connection.bytes_sent

    def cut_stalled(self, now: float) -> int:
        """Cut connections whose clients have stopped reading; how many.

        Args:
            now: monotonic seconds.
        """
        stalled = [connection for connection in self.connections if connection.is_stalled(now)]
        for connection in stalled:
            connection.abort()
        return len(stalled)

    def say_goodbye(self) -> None:
        """Tell every client that the connection ends, and end it once that is sent."""
        for connection in tuple(self.connections):
            connection.end()

    def cut_all(self) -> None:
        """Cut every connection that is still there."""
        for connection in tuple(self.connections):
            connection.abort()

    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        handler = Handler(self._mapping, self._codec, self._status_details_codec, self.__dispatch__)
        self._handlers.add(handler)
        return Connection(self, handler)


class Connection(H2Protocol):
    """One client's connection."""

    def __init__(self, server: CandleServer, handler: AbstractHandler) -> None:
        super().__init__(handler, server._config, server._h2_config)  # noqa: SLF001 - the base class's own
        self._server = server
        self._transport: Any = None
        self._paused_at: float | None = None
        self._resets = 0
        self._controls = 0
        self._controls_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._transport = transport
        limits = self._server.limits
        if len(self._server.connections) >= limits.connections_max:
            transport.abort()
            return
        self._server.connections.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            for name, value in (
                ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
                ("TCP_USER_TIMEOUT", int(limits.stall_seconds * 1000)),
            ):
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        h2_connection = self.connection._connection  # noqa: SLF001 - grpclib has no setting for it
        h2_connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams_per_connection_max})
        # In force at once: a client may open more than 100 streams before our settings have reached it.
        h2_connection.local_settings.acknowledge()
        self.connection.flush()
        processors: dict[type[Event], Any] = self.processor.processors
        self._take_data, processors[DataReceived] = processors[DataReceived], self._data_arrived
        self._take_reset, processors[StreamReset] = processors[StreamReset], self._stream_reset
        self._take_settings = processors[RemoteSettingsChanged]
        processors[RemoteSettingsChanged] = self._settings_changed
        processors[PingReceived] = self._count_control
        processors[UnknownFrameReceived] = _ignore  # legal, and grpclib would cut the connection for it

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - whatever hostile bytes make h2 or grpclib raise
            _log.warning("connection cut: it sent what cannot be understood", reason=repr(error))
            self.abort()
            return
        if self._transport.get_write_buffer_size() > _UNREAD_MAX:
            _log.warning("connection cut: it asks without reading the answers")
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        self._server.forget(self)
        super().connection_lost(exc)

    @property
    def bytes_sent(self) -> int:
        """What the client has taken, as the kernel counts it: counting here would be paid by every message."""
        sock = self._transport.get_extra_info("socket")
        if _TCP_INFO is None or sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
            return 0
        try:
            information = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_ACKED.stop)
        except OSError:  # it was closed behind our back
            return 0
        return int.from_bytes(information[_TCP_INFO_ACKED], sys.byteorder)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._paused_at = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
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
        if self._resets > _RESETS_MAX and self._resets > self.connection.streams_started // 2:
            _log.warning("connection cut: it opens streams only to reset them", resets=self._resets)
            self.abort()
            return
        self._take_reset(event)

    def _settings_changed(self, event: RemoteSettingsChanged) -> None:
        self._count_control(event)
        self._take_settings(event)

    def _count_control(self, _event: Event) -> None:
        now = time.monotonic()
        if now - self._controls_since > 60:
            self._controls, self._controls_since = 0, now
        self._controls += 1
        if self._controls > _CONTROLS_MAX:
            _log.warning("connection cut: too many pings and settings in a minute")
            self.abort()

    def is_stalled(self, now: float) -> bool:
        """Whether it has taken nothing for so long that it is given up."""
        return self._paused_at is not None and now - self._paused_at > self._server.limits.stall_seconds

    def end(self) -> None:
        """Say that no more comes, and close once what is written has left."""
        if not self.connection.is_closing():
            self.connection._connection.close_connection()  # noqa: SLF001 - GOAWAY; grpclib never sends it
            self.connection.flush()
            self.connection.close()

    def abort(self) -> None:
        """Cut it: ``close`` would wait for a client that does not read."""
        cast("Any", self._transport).abort()


def _ignore(_event: Event) -> None:
    pass
