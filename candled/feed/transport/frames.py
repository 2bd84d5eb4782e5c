"""The seam between websocket libraries and a feed: lists of frames, limits, and how a connection ends.

A reader is a module that makes ``Frames`` of one library; ``websocket.open_frames`` picks it. Whatever the
library, a connection ends with one of the errors below and within the same limits.
"""

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import trio
from websockets.frames import CLOSE_CODE_EXPLANATIONS, CloseCode
from websockets.uri import WebSocketURI

HANDSHAKE_SECONDS: Final = 10.0
"""From the beginning of a connection, the name's lookup and TLS included, to the end of its handshake."""
CLOSE_SECONDS: Final = 0.1
"""Long enough to send a close frame; its answer is not waited for."""
RECEIVE_BYTES: Final = 16_384
"""Maximum of one read. Its frames are handled together, some 100 trades: 2 ms in which no other task runs."""
MESSAGE_BYTES_MAX: Final = 16_384
"""Of one message: trades take a few hundred."""
UNANSWERED_BYTES_MAX: Final = 1 << 20
"""Received since the last complete message: pings of a day fit, endless handshakes or fragments do not."""

_CLOSE_WORDS: Final = {
    **CLOSE_CODE_EXPLANATIONS,
    CloseCode.NO_STATUS_RCVD: "no status",
    CloseCode.ABNORMAL_CLOSURE: "no close frame",
}


class WebSocketError(Exception):
    """A websocket connection could not be made, or ended."""


class HandshakeFailedError(WebSocketError):
    """The other side is no websocket server, or does not take this client."""


class ConnectionClosedError(WebSocketError):
    """A connection was closed: by the other side, or by this one because the other broke the protocol."""

    def __init__(self, code: int, reason: str = "") -> None:
        """``code``: of RFC 6455, ``CloseCode.ABNORMAL_CLOSURE`` without a close frame; ``reason``: as sent."""
        super().__init__(f"closed with {code} {reason or _CLOSE_WORDS.get(code, 'no reason')}".rstrip())
        self.code = code


class Frames(Protocol):
    """The messages of one websocket connection."""

    async def receive(self) -> list[str | bytes]:
        """Return every message that has come; at least one. Usually those of one read of the socket.

        Raises:
            ConnectionClosedError: the connection ended and all its messages were handed out.
        """

    async def send(self, frame: str) -> None:
        """Send a text message."""

    async def ping(self) -> None:
        """Ask the other side for a pong and wait for it; ``receive`` must be waiting meanwhile."""


class Reader(Protocol):
    """Makes ``Frames`` of a byte stream."""

    def __call__(
        self, stream: trio.abc.Stream, uri: WebSocketURI, deadline: float
    ) -> AbstractAsyncContextManager[Frames]:
        """Shake hands; close the stream at the end of the block.

        Args:
            stream: just opened.
            uri: what the handshake asks for.
            deadline: Trio's time at which the handshake must be over.
        """
