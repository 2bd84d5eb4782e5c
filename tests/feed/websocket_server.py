"""A websocket server of bytes, for tests of clients: it sends the bytes that it is given, valid or not."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import trio
import trio.testing
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Event, Pong

from candled.feed.transport.frames import ConnectionClosedError
from candled.feed.transport.websocket import ConnectionLost, open_frames

ACCEPTED = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
    """Encode one frame as a server does.

    Args:
        opcode: of RFC 6455, 5.2.
        payload: any length.
        fin: whether it is the last of its message.
        reserved: the three reserved bits.
    """
    head = bytes([fin << 7 | reserved << 4 | opcode])
    size = len(payload)
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65_536:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Encode a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def connecting(stream: trio.abc.Stream) -> Callable[[str, int, bool], Awaitable[trio.abc.Stream]]:
    """A ``Connect`` that always gives this stream."""

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    return connect


async def shake_hands(stream: trio.abc.Stream, answer: bytes) -> None:
    """Answer a handshake with bytes; ``%s`` stands for what would accept it."""
    request = bytearray()
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some(4096)
    key = re.search(rb"sec-websocket-key: (\S+)", request, re.IGNORECASE)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
    await stream.send_all(answer.replace(b"%s", accept))


@attrs.define
class Outcome:
    """What both sides of one connection received, and how it ended."""

    messages: list[str | bytes] = attrs.Factory(list)
    """Those that the client received."""
    end: BaseException | None = None
    """Why the client's connection ended."""
    events: list[Event] = attrs.Factory(list)
    """Those that the server received: whatever a client sends must be right."""

    @property
    def code(self) -> int | None:
        """The code that the client's connection ended with."""
        return self.end.code if isinstance(self.end, ConnectionClosedError) else None

    @property
    def pongs(self) -> list[bytes]:
        """Payloads of the pongs that the server received."""
        return [bytes(event.payload) for event in self.events if isinstance(event, Pong)]

    @property
    def close_codes(self) -> list[int]:
        """Codes of the close frames that the server received."""
        return [event.code for event in self.events if isinstance(event, CloseConnection)]


async def run_client(library: str, pieces: Sequence[bytes], *, hangs_up: bool = False) -> Outcome:
    """Connect a client, send it pieces after the handshake, and receive until its connection ends.

    The server ends the stream when it receives a close frame (RFC 6455, 7.1.1).

    Args:
        library: of the client.
        pieces: each is received alone.
        hangs_up: end the stream after them.
    """
    near, far = trio.testing.memory_stream_pair()
    outcome = Outcome()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, far, pieces, outcome, hangs_up)
            try:
                async with open_frames("ws://x/stream", connecting(near), library) as frames:
                    while True:
                        outcome.messages += await frames.receive()
            except* ConnectionLost as errors:
                outcome.end = _first(errors)
    return outcome


async def _serve(stream: trio.StapledStream, pieces: Sequence[bytes], outcome: Outcome, hangs_up: bool) -> None:  # type: ignore[type-arg]
    await shake_hands(stream, ACCEPTED + b"\r\n")
    # Without the handshake, which happened: frames of a client, checked.
    connection = Connection(ConnectionType.SERVER)
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with suppress(trio.BrokenResourceError):
                async for data in stream:
                    connection.receive_data(bytes(data))
                    outcome.events += connection.events()
                    if outcome.close_codes:
                        await stream.send_eof()

        nursery.start_soon(receive)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in pieces:
                await trio.testing.wait_all_tasks_blocked()
                await stream.send_all(piece)
            if hangs_up:
                await stream.send_eof()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
