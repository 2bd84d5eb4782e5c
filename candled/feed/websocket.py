"""The seam between a websocket library and a feed: lists of frames, as many as came."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from candled.feed.interface import Connect

HANDSHAKE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 0.1
"""Long enough to send a close frame; its answer is not waited for, as its reader has been cancelled by then."""
QUEUE_FRAMES: Final = 2_000
"""Frames that may wait between the socket's reader, which also answers pings, and the feed."""
RECEIVE_BYTES: Final = 65_536
BURST_FRAMES: Final = 64
"""Frames after which a burst goes on even if more are coming: a millisecond or so."""

ConnectionLost = (
    ConnectionClosed,
    HandshakeError,
    OSError,
    ssl.SSLError,
    trio.BrokenResourceError,
    trio.TooSlowError,
)
"""What ends a connection, or keeps it from being made, without anything being wrong with candled."""


class Frames:
    """The frames of one websocket connection."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        # trio-websocket hands out one message a call, each with a pass through the scheduler. Its channel has the
        # others ready; the version is pinned, and a test fails if the attribute goes away.
        self._channel: trio.MemoryReceiveChannel[str | bytes] = connection._recv_channel  # noqa: SLF001

    async def receive(self) -> list[str | bytes]:
        """Every frame that has come, and what comes with it in one burst; at least one.

        Raises:
            ConnectionClosed: the connection ended and all its frames were handed out.
        """
        frames = [await self._connection.get_message()]
        # The connection's reader hands over one message in each pass through the scheduler. As long as passes
        # bring more, wait for them: a burst then goes on together, at a fraction of the cost. It takes two without
        # any to know, as the scheduler shuffles who is first. They are shielded, so that no frame is lost.
        empty_passes = 0
        while empty_passes < 2 and len(frames) < BURST_FRAMES:
            await trio.lowlevel.cancel_shielded_checkpoint()
            empty_passes += 1
            try:
                while True:
                    frames.append(self._channel.receive_nowait())
                    empty_passes = 0
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                pass
        return frames

    async def send(self, frame: str) -> None:
        """Send a text frame."""
        await self._connection.send_message(frame)

    async def ping(self) -> None:
        """Ask the other side for a pong and wait for it."""
        await self._connection.ping()


async def connect_tcp(host: str, port: int, tls: bool) -> trio.abc.Stream:
    """A real network's ``Connect``."""
    if not tls:
        return await trio.open_tcp_stream(host, port)
    stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True)
    await stream.do_handshake()
    return stream


@asynccontextmanager
async def open_frames(url: str, connect: Connect) -> AsyncIterator[Frames]:
    """Connect a websocket.

    Raises:
        one of ``ConnectionLost``: it could not be connected.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    resource = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    is_closing = False
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(HANDSHAKE_SECONDS):
                stream = await connect(host, port, tls)
                connection = await wrap_client_stream(
                    nursery,
                    cast("trio.SocketStream", stream),  # any stream will do
                    host if port in (80, 443) else f"{host}:{port}",
                    resource,
                    message_queue_size=QUEUE_FRAMES,
                    receive_buffer_size=RECEIVE_BYTES,
                )
            try:
                yield Frames(connection)
            finally:
                is_closing = True
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await connection.aclose()
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()
    except* LocalProtocolError:
        # The library's reader fails on a ping that comes after we said goodbye, as it can't answer any more.
        if not is_closing:
            raise
