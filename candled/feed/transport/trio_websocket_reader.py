"""Frames by ``trio-websocket``: a task of the library reads the socket and passes frames on through a channel.

The alternative to ``websockets_reader``, and the other implementation that its tests are checked against.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

import h11
import trio
import trio.testing
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from websockets.frames import CloseCode
from websockets.headers import build_host
from websockets.uri import WebSocketURI
from wsproto import ConnectionType, WSConnection
from wsproto.utilities import LocalProtocolError

from candled.feed.transport.frames import (
    CLOSE_SECONDS,
    MESSAGE_BYTES_MAX,
    RECEIVE_BYTES,
    UNANSWERED_BYTES_MAX,
    ConnectionClosedError,
    HandshakeFailedError,
)

QUEUE_FRAMES: Final = 2_000
"""Frames that may wait between the socket's reader, which also answers pings, and the feed."""

_PRIVATE: Final = ("_recv_channel", "_send_channel")
"""Attributes of trio-websocket's connection."""


class _Queue(trio.abc.SendChannel[str | bytes]):
    """The library's queue of frames, filled without a pass through the scheduler for each of them."""

    def __init__(self, channel: trio.MemorySendChannel[str | bytes], meter: "MeteredStream") -> None:
        self._channel = channel
        self._meter = meter

    async def send(self, value: str | bytes) -> None:
        self._meter.unanswered = 0
        try:
            self._channel.send_nowait(value)
        except trio.WouldBlock:  # the feed is behind: let it catch up
            await self._channel.send(value)

    async def aclose(self) -> None:
        await self._channel.aclose()


class MeteredStream(trio.abc.Stream):
    """A byte stream that ends when too much comes of which the library makes no message."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.unanswered = 0
        """Bytes received since the last complete message."""
        self.is_open = False
        """Whether the handshake is over."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, and count."""
        data = await self._stream.receive_some(max_bytes)
        self.unanswered += len(data)
        if not self.is_open and not data:
            # Without this the library waits for the rest of the handshake until its time is over.
            raise HandshakeFailedError("closed during the handshake")
        if self.unanswered > UNANSWERED_BYTES_MAX:
            if not self.is_open:
                raise HandshakeFailedError(f"no end of the handshake after {self.unanswered} bytes")
            raise trio.BrokenResourceError
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, uncounted."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class TrioWebsocketFrames:
    """See ``Frames``."""

    def __init__(self, connection: WebSocketConnection, meter: MeteredStream) -> None:
        """Make it of an open connection and the stream below it."""
        self._connection = connection
        self._meter = meter
        # trio-websocket hands over one frame at a time, with two passes through the scheduler: half of what a
        # frame costs. Its queue is reached into where it is there; without it frames come one by one.
        self._channel: trio.MemoryReceiveChannel[str | bytes] | None = None
        if all(hasattr(connection, name) for name in _PRIVATE):
            self._channel = connection._recv_channel
            queue = _Queue(connection._send_channel, meter)
            connection._send_channel = cast("trio.MemorySendChannel[str | bytes]", queue)

    async def receive(self) -> list[str | bytes]:
        """See ``Frames``."""
        try:
            frames = [await self._connection.get_message()]
        except ConnectionClosed as closed:
            raise _why_closed(closed) from closed
        self._meter.unanswered = 0
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while self._channel is not None:
                frames.append(self._channel.receive_nowait())
        return frames

    async def send(self, frame: str) -> None:
        """See ``Frames``."""
        try:
            await self._connection.send_message(frame)
        except ConnectionClosed as closed:
            raise _why_closed(closed) from closed

    async def ping(self) -> None:
        """See ``Frames``."""
        try:
            await self._connection.ping()
        except ConnectionClosed as closed:
            raise _why_closed(closed) from closed


def _why_closed(closed: ConnectionClosed) -> ConnectionClosedError:
    if closed.reason is None:
        return ConnectionClosedError(CloseCode.ABNORMAL_CLOSURE)
    return ConnectionClosedError(closed.reason.code, closed.reason.reason or "")


def private_attributes() -> list[tuple[object, str]]:
    """Sample the objects whose private attributes this module uses, each with the attribute's name."""
    one, _other = trio.testing.memory_stream_pair()
    connection = WebSocketConnection(
        cast("trio.SocketStream", one),
        WSConnection(ConnectionType.CLIENT),
        host="localhost",
        path="/",
    )
    return [(connection, name) for name in _PRIVATE]


@asynccontextmanager
async def open_trio_websocket_frames(
    stream: trio.abc.Stream, uri: WebSocketURI, deadline: float
) -> AsyncIterator[TrioWebsocketFrames]:
    """See ``Reader``."""
    meter = MeteredStream(stream)
    is_closing = False
    try:
        async with trio.open_nursery() as nursery:
            try:
                connection = await _shake_hands(nursery, meter, uri, deadline)
                meter.is_open = True
                try:
                    yield TrioWebsocketFrames(connection, meter)
                finally:
                    is_closing = True
                    await _close(connection)
            finally:
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()
    except* ConnectionRejected as errors:
        (rejected,) = errors.exceptions
        assert isinstance(rejected, ConnectionRejected)
        raise HandshakeFailedError(f"refused with status {rejected.status_code}") from None
    except* (HandshakeError, h11.LocalProtocolError, LocalProtocolError):
        # The library's reader fails as it tries to answer what is no handshake, or what follows a close frame.
        if not meter.is_open:
            raise HandshakeFailedError("the answer is no websocket handshake") from None
        if not is_closing:
            raise trio.BrokenResourceError("the exchange broke the websocket protocol") from None


async def _close(connection: WebSocketConnection) -> None:
    with trio.move_on_after(CLOSE_SECONDS, shield=True):
        await connection.aclose()


async def _shake_hands(
    nursery: trio.Nursery, stream: MeteredStream, uri: WebSocketURI, deadline: float
) -> WebSocketConnection:
    with trio.fail_at(deadline):
        return await wrap_client_stream(
            nursery,
            cast("trio.SocketStream", stream),  # any stream will do
            build_host(uri.host, uri.port, uri.secure),
            uri.resource_name,
            max_message_size=MESSAGE_BYTES_MAX,
            message_queue_size=QUEUE_FRAMES,
            receive_buffer_size=RECEIVE_BYTES,
        )
