"""The seam to the websocket library."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from candled.feed.websocket import QUEUE_FRAMES, open_frames, why_lost


async def serve(stream: trio.abc.Stream, answers: Callable[[Event], list[bytes | Event]]) -> None:
    """A websocket server that answers events with events, or with bytes as they are."""
    connection = WSConnection(ConnectionType.SERVER)
    async for data in stream:  # type: ignore[attr-defined]
        connection.receive_data(bytes(data))
        for event in connection.events():
            for answer in answers(event):
                await stream.send_all(answer if isinstance(answer, bytes) else connection.send(answer))


def connecting(stream: trio.abc.Stream) -> Callable[[str, int, bool], Awaitable[trio.abc.Stream]]:
    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    return connect


async def test_a_ping_that_crosses_the_goodbye_does_no_harm() -> None:
    near, far = trio.testing.memory_stream_pair()
    pings: list[bytes | Event] = [bytes([0x89, 0])]

    def answers(event: Event) -> list[bytes | Event]:
        match event:
            case Request():
                return [AcceptConnection(), TextMessage("hello")]
            case CloseConnection():
                return pings
        return []

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far, answers)
            async with open_frames("ws://x/stream", connecting(near)) as frames:
                assert await frames.receive() == ["hello"]
            nursery.cancel_scope.cancel()


async def test_frames_that_were_sent_together_are_received_together() -> None:
    near, far = trio.testing.memory_stream_pair()
    texts = [f"frame {number}" for number in range(50)]

    def answers(event: Event) -> list[bytes | Event]:
        match event:
            case Request():
                return [AcceptConnection()]
            case TextMessage():
                return [b"".join(bytes([0x81, len(text)]) + text.encode() for text in texts)]
        return []

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far, answers)
            async with open_frames("ws://x/stream", connecting(near)) as frames:
                await frames.send("go")
                assert await frames.receive() == texts
            nursery.cancel_scope.cancel()


async def test_frames_that_find_the_queue_full_wait_their_turn() -> None:
    near, far = trio.testing.memory_stream_pair()
    texts = [f"frame {number}" for number in range(QUEUE_FRAMES * 2)]

    def answers(event: Event) -> list[bytes | Event]:
        return [AcceptConnection(), *map(TextMessage, texts)] if isinstance(event, Request) else []

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far, answers)
            async with open_frames("ws://x/stream", connecting(near)) as frames:
                await trio.testing.wait_all_tasks_blocked()
                received: list[str | bytes] = []
                while len(received) < len(texts):
                    received += await frames.receive()
                assert received == texts
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionClosed(CloseReason(1006, None)), "closed with 1006 ABNORMAL_CLOSURE"),
        (ConnectionClosed(CloseReason(1001, "going away")), "closed with 1001 going away"),
        (ConnectionRejected(503, (), b""), "refused with status 503"),
        (trio.TooSlowError(), "no answer within 10 s"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (trio.BrokenResourceError(), "BrokenResourceError"),
    ],
    ids=str,
)
def test_the_end_of_a_connection_is_told_in_words(error: Exception, words: str) -> None:
    assert why_lost(error) == words
