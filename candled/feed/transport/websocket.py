"""Websocket connections to an exchange, by either of two libraries."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio
from websockets.uri import parse_uri

from candled.feed.adapter import Connect
from candled.feed.transport.frames import HANDSHAKE_SECONDS, Frames, Reader, WebSocketError
from candled.feed.transport.reasons import why_unreachable
from candled.feed.transport.trio_websocket_reader import open_trio_websocket_frames
from candled.feed.transport.websockets_reader import open_websockets_frames

READERS: Final[Mapping[str, Reader]] = {
    "websockets": open_websockets_frames,
    "trio-websocket": open_trio_websocket_frames,
}
"""By the value of the setting ``websocket_library``."""
DEFAULT_LIBRARY: Final = "websockets"

ConnectionLost = (
    WebSocketError,
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
        case WebSocketError():
            return str(error)
    return why_unreachable(error)


@asynccontextmanager
async def open_frames(url: str, connect: Connect, library: str = DEFAULT_LIBRARY) -> AsyncIterator[Frames]:
    """Connect a websocket.

    Args:
        url: of scheme ``ws`` or ``wss``.
        connect: opens the byte stream.
        library: one of ``READERS``.

    Raises:
        one of ``ConnectionLost``: it could not be connected; alone or in a group.
    """
    uri = parse_uri(url)
    deadline = trio.current_time() + HANDSHAKE_SECONDS
    with trio.fail_at(deadline):
        stream = await connect(uri.host, uri.port, uri.secure)
    async with READERS[library](stream, uri, deadline) as frames:
        yield frames
