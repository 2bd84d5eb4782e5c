"""Connections of the websocket seam: what comes together, what ends them and in which words."""

from contextlib import suppress

import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from candled.config.settings import DaemonSettings
from candled.feed.transport.frames import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    ConnectionClosedError,
    HandshakeFailedError,
)
from candled.feed.transport.trio_websocket_reader import QUEUE_FRAMES
from candled.feed.transport.websocket import DEFAULT_LIBRARY, READERS, ConnectionLost, open_frames, why_lost
from tests.feed.websocket_server import ACCEPTED, PING, PONG, TEXT, connecting, frame, run_client, shake_hands


def test_setting_accepts_each_library() -> None:
    """Each library can be set, and the default of the setting is that of the seam."""
    assert DaemonSettings().websocket_library == DEFAULT_LIBRARY
    assert {DaemonSettings(websocket_library=name).websocket_library for name in READERS} == set(READERS)


async def test_ping_that_crosses_the_close_frame_is_harmless(library: str) -> None:
    """A client that leaves is not troubled by what the server sends meanwhile."""
    near, far = trio.testing.memory_stream_pair()

    async def serve() -> None:
        connection = WSConnection(ConnectionType.SERVER)
        async for data in far:
            connection.receive_data(bytes(data))
            for event in connection.events():
                if isinstance(event, Request):
                    await far.send_all(connection.send(AcceptConnection()) + frame(TEXT, b"hello"))
                elif isinstance(event, CloseConnection):
                    with suppress(trio.BrokenResourceError):
                        await far.send_all(frame(PING))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                assert await frames.receive() == ["hello"]
            nursery.cancel_scope.cancel()


async def test_frames_sent_together_are_received_together(library: str) -> None:
    """One read gives one list."""
    near, far = trio.testing.memory_stream_pair()
    texts = [f"frame {number}" for number in range(50)]

    async def serve() -> None:
        await shake_hands(far, ACCEPTED + b"\r\n")
        connection = WSConnection(ConnectionType.SERVER)
        connection.initiate_upgrade_connection(
            [(b"host", b"x"), (b"upgrade", b"websocket"), (b"connection", b"upgrade"),
             (b"sec-websocket-key", b"x"), (b"sec-websocket-version", b"13")], "/"
        )  # fmt: skip
        list(connection.events())
        connection.send(AcceptConnection())
        connection.receive_data(bytes(await far.receive_some()))
        assert [event.data for event in connection.events() if isinstance(event, TextMessage)] == ["go"]
        await far.send_all(b"".join(frame(TEXT, text.encode()) for text in texts))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                await frames.send("go")
                assert await frames.receive() == texts


async def test_frames_that_arrive_with_the_handshake(library: str) -> None:
    """Those that a server sends in one piece with its answer are the first."""
    near, far = trio.testing.memory_stream_pair()
    answer = ACCEPTED + b"\r\n" + frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"three")[:4]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, answer)
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                assert await frames.receive() == ["one", "two"]
                await far.send_all(frame(TEXT, b"three")[4:])
                assert await frames.receive() == ["three"]


async def test_unread_frames_are_kept(library: str) -> None:
    """None is lost while the feed is behind."""
    near, far = trio.testing.memory_stream_pair()
    texts = [f"frame {number}" for number in range(QUEUE_FRAMES * 2)]
    answer = ACCEPTED + b"\r\n" + b"".join(frame(TEXT, text.encode()) for text in texts)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, answer)
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                await trio.testing.wait_all_tasks_blocked()
                received: list[str | bytes] = []
                while len(received) < len(texts):
                    received += await frames.receive()
                assert received == texts


async def answer_raw(stream: trio.StapledStream, beginning: bytes, endless: bytes) -> None:  # type: ignore[type-arg]
    """Answer a handshake with bytes, and then with more without end."""
    try:
        await shake_hands(stream, beginning)
        while endless:
            await stream.send_all(endless)
        await stream.aclose()
    except trio.BrokenResourceError:
        return


async def why_it_ends(library: str, beginning: bytes, endless: bytes = b"") -> str:
    """Return why a connection ended, in words."""
    near, far = trio.testing.memory_stream_pair()
    reason = ""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_raw, far, beginning, endless)
        try:
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                while True:
                    await frames.receive()
        except* ConnectionLost as errors:
            reason = why_lost(errors.exceptions[0])
        nursery.cancel_scope.cancel()
    return reason


@pytest.mark.parametrize(
    ("beginning", "endless", "reason"),
    [
        (b"HTTP/1.1 101 X\r\n", b"X-A: a\r\n" * 1000, "no websocket handshake"),
        (b"HTTP/1.1 101 X\r\nX-A: ", b"a" * 65_536, "no websocket handshake"),
        (b"HTTP/1.1 403 X\r\n\r\n", b"a" * 65_536, "no end of the handshake"),
        (b"\xff" * 100, b"", "closed during the handshake"),
        (b"", b"", "closed during the handshake"),
        (ACCEPTED, b"", "closed during the handshake"),
        (ACCEPTED.replace(b"%s", b"x") + b"\r\n", b"", "no websocket handshake"),
        (ACCEPTED.replace(b"Upgrade: websocket", b"Upgrade: h2c") + b"\r\n", b"", "no websocket handshake"),
        (ACCEPTED.replace(b"Connection: Upgrade", b"Connection: close") + b"\r\n", b"", "no websocket handshake"),
        (ACCEPTED + b"Sec-WebSocket-Protocol: other\r\n\r\n", b"", "no websocket handshake"),
        (ACCEPTED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", b"", "no websocket handshake"),
        (b"HTTP/1.1 403 X\r\ncontent-length: 3\r\n\r\nabc", b"", "refused with status 403"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n", b"", "refused with status 200"),
        (b"HTTP/1.1 302 X\r\nlocation: ws://y\r\ncontent-length: 0\r\n\r\n", b"", "refused with status 302"),
        (b"HTTP/1.1 429 X\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n", b"", "refused with status 429"),
    ],
)
async def test_bad_handshake_is_a_lost_connection(
    library: str, beginning: bytes, endless: bytes, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    """However it goes wrong, and however long it is, the feed connects again."""
    with trio.fail_after(15):
        assert reason in await why_it_ends(library, beginning, endless)


@pytest.mark.parametrize(
    ("beginning", "endless", "reason"),
    [
        (b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), b"a" * 65_536, "closed with 1009"),
        (b"\x01\x01a", b"\x00\x7e\x10\x00" + b"a" * 4096, "closed with 1009"),
        (b"\x01\x00", b"\x00\x00" * 1000, "closed with 1006"),
        (b"", b"\x89\x7d" + b"p" * 125, "closed with 1006"),
        (b"\xff" * 50, b"", "closed with 1002"),
        (b"\x81\x02\xff\xff", b"", "closed with 1007"),
        (b"\x81\x82aaaabb", b"", "closed with 1002"),
        (b"\x88\x01x", b"", "closed with 1002"),
    ],
)
async def test_malformed_frames_are_a_lost_connection(
    library: str, beginning: bytes, endless: bytes, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Messages, fragments and pings without end are cut off, and what breaks the protocol ends the connection."""
    with trio.fail_after(60):
        assert reason in await why_it_ends(library, ACCEPTED + b"\r\n" + beginning, endless)


@pytest.mark.parametrize("library", ["websockets"])
async def test_pings_without_end_let_others_run(library: str) -> None:
    """A read full of empty frames does not keep the event loop for all of them, as it does with trio-websocket."""
    near, far = trio.testing.memory_stream_pair()
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n")
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                await far.send_all(frame(PING) * 8_000 + frame(TEXT, b"last"))
                nursery.start_soon(take_turns)
                assert await frames.receive() == ["last"]
                assert turns >= 7
                nursery.cancel_scope.cancel()


async def test_a_handshake_byte_by_byte_ends_in_time(library: str, autojump_clock: trio.testing.MockClock) -> None:
    """Its time is limited as a whole, not from byte to byte."""
    near, far = trio.testing.memory_stream_pair()

    async def drip() -> None:
        with suppress(trio.BrokenResourceError):
            for byte in ACCEPTED:
                await far.send_all(bytes([byte]))
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        began = trio.current_time()
        with pytest.RaisesGroup(trio.TooSlowError, allow_unwrapped=True, flatten_subgroups=True):
            async with open_frames("ws://x/stream", connecting(near), library):
                pass
        assert trio.current_time() - began == HANDSHAKE_SECONDS
        nursery.cancel_scope.cancel()


async def test_slow_connect_shortens_the_handshake_timeout(
    library: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The limit is one for both."""
    near, _far = trio.testing.memory_stream_pair()

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.sleep(HANDSHAKE_SECONDS - 1)
        return near

    began = trio.current_time()
    with pytest.RaisesGroup(trio.TooSlowError, allow_unwrapped=True, flatten_subgroups=True):
        async with open_frames("ws://x/stream", connect, library):
            pass
    assert trio.current_time() - began == HANDSHAKE_SECONDS


class Breakable(trio.abc.HalfCloseableStream):
    """A stream that can be full, so that nothing can be sent any more, or broken."""

    def __init__(self, stream: trio.StapledStream) -> None:  # type: ignore[type-arg]
        self.stream = stream
        self.is_full = self.is_broken = False
        self.is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_full:
            await trio.sleep_forever()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.stream.receive_some(max_bytes)
        if self.is_broken:
            raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")
        return data

    async def aclose(self) -> None:
        self.is_closed = True
        await self.stream.aclose()


async def test_server_that_never_reads_blocks_nobody(library: str, autojump_clock: trio.testing.MockClock) -> None:
    """Leaving a connection on which nothing can be sent any more takes no time, and closes the stream."""
    near, far = trio.testing.memory_stream_pair()
    stream = Breakable(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n" + frame(TEXT, b"hello"))
        async with open_frames("ws://x/stream", connecting(stream), library) as frames:
            assert await frames.receive() == ["hello"]
            stream.is_full = True
            with trio.move_on_after(60) as patience:
                await frames.ping()
            assert patience.cancelled_caught
            began = trio.current_time()
        assert trio.current_time() - began <= CLOSE_SECONDS * 1.01
        assert stream.is_closed


async def test_each_stream_is_closed(library: str) -> None:
    """Whether the handshake failed, the reader was cancelled or an error came: no socket is left open."""
    for answer in (ACCEPTED + b"\r\n", b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n"):
        near, far = trio.testing.memory_stream_pair()
        stream = Breakable(near)
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shake_hands, far, answer)
                try:
                    async with open_frames("ws://x/stream", connecting(stream), library):
                        raise KeyError("of the block")
                except* (KeyError, *ConnectionLost):
                    pass
        assert stream.is_closed


async def test_a_stream_that_breaks_is_a_lost_connection(library: str) -> None:
    """A reset ends the connection; a ping or a frame sent afterwards fails as well."""
    near, far = trio.testing.memory_stream_pair()
    stream = Breakable(near)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n")
            async with open_frames("ws://x/stream", connecting(stream), library) as frames:
                stream.is_broken = True
                await far.send_all(frame(TEXT, b"lost"))
                for attempt in (frames.receive, frames.ping, lambda: frames.send("late")):
                    with pytest.raises(ConnectionClosedError, match="closed with 1006"):
                        await attempt()


async def test_sending_after_the_end_fails(library: str) -> None:
    """A closed connection says so to whoever sends or pings."""
    near, far = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n" + frame(8, b"\x03\xe9"))
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                for attempt in (frames.receive, frames.receive, frames.ping, lambda: frames.send("late")):
                    with pytest.raises(ConnectionClosedError, match="closed with 1001 going away"):
                        await attempt()
                nursery.cancel_scope.cancel()


async def test_a_pong_is_no_frame(library: str) -> None:
    """A read that brings only control frames goes on to the next."""
    outcome = await run_client(library, [frame(PONG, b"x"), frame(PING), frame(TEXT, b"then"), b"\x88\x00"])
    assert outcome.messages == ["then"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionClosedError(1006), "closed with 1006 no close frame"),
        (ConnectionClosedError(1001, "leaving"), "closed with 1001 leaving"),
        (HandshakeFailedError("refused with status 503"), "refused with status 503"),
        (trio.TooSlowError(), "no answer within 10 s"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (trio.BrokenResourceError(), "BrokenResourceError"),
    ],
    ids=str,
)
def test_reason_of_each_kind_of_loss(error: Exception, words: str) -> None:
    """Each kind of end has its own."""
    assert why_lost(error) == words
