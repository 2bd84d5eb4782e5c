"""The seam between a websocket library and a feed: lists of frames, as many as came."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import LocalProtocolError

from candled.feed.interface import Connect

HANDSHAKE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 0.1
"""Long enough to send a close frame; its answer is not waited for, as its reader has been cancelled by then."""
QUEUE_FRAMES: Final = 2_000
"""Frames that may wait between the socket's reader, which also answers pings, and the feed."""
RECEIVE_BYTES: Final = 16_384
"""Read at once. Its frames go on together, a hundred trades: two milliseconds in which nothing else happens."""

ConnectionLost = (
    ConnectionClosed,
    HandshakeError,
    OSError,
    ssl.SSLError,
    trio.BrokenResourceError,
    trio.TooSlowError,
)
"""What ends a connection, or keeps it from being made, without anything being wrong with candled."""


def why_lost(error: BaseException) -> str:
    """One of ``ConnectionLost`` in words."""
    match error:
        case trio.TooSlowError() if not str(error):
            return f"no answer within {HANDSHAKE_SECONDS:g} s"
        case ConnectionClosed(reason=CloseReason() as reason):
            return f"closed with {reason.code} {reason.reason or reason.name}"
        case ConnectionRejected():
            return f"refused with status {error.status_code}"
    cause = error.__cause__ or error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


class _Queue(trio.abc.SendChannel[str | bytes]):
    """The library's queue of frames, filled without a pass through the scheduler for each of them."""

    def __init__(self, channel: trio.MemorySendChannel[str | bytes]) -> None:
        self._channel = channel

    async def send(self, value: str | bytes) -> None:
        try:
            self._channel.send_nowait(value)
        except trio.WouldBlock:  # the feed is behind: let it catch up
            await self._channel.send(value)

    async def aclose(self) -> None:
        await self._channel.aclose()


class Frames:
    """The frames of one websocket connection."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        # trio-websocket hands over one frame at a time, with two passes through the scheduler: half of what a
        # frame costs. The version is pinned, and a test fails if these attributes go away.
        self._channel: trio.MemoryReceiveChannel[str | bytes] = connection._recv_channel  # noqa: SLF001
        connection._send_channel = cast("trio.MemorySendChannel[str | bytes]", _Queue(connection._send_channel))  # noqa: SLF001

    async def receive(self) -> list[str | bytes]:
        """Every frame that has come; at least one. Usually those of one read of the socket.

        Raises:
            ConnectionClosed: the connection ended and all its frames were handed out.
        """
        frames = [await self._connection.get_message()]
        with suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while True:
                frames.append(self._channel.receive_nowait())
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
