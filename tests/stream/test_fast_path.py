"""Frames written by hand are what an HTTP/2 client expects, whatever way messages come."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest
from grpclib.config import Configuration
from grpclib.protocol import Connection
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived

from candled.api import candles_pb2 as pb
from candled.stream.grpc.internals.fast_path import FastDelivery, find_obstacle
from candled.stream.message import message_of
from candled.stream.resume import ResumeTokens
from tests.stream.support import HISTORY_ID, minute, update

T = TypeVar("T")
FULL_WINDOW = (1 << 31) - 1


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Pair:
    """A client's connection in memory with one open stream, and the server's end of it."""

    def __init__(self) -> None:
        self.client = H2Connection(H2Configuration(client_side=True))
        self.server = H2Connection(H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.client.update_settings({4: FULL_WINDOW})
        self.client.increment_flow_control_window(FULL_WINDOW - 65_535)
        self.client.send_headers(
            1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
        )
        self.server.receive_data(self.client.data_to_send())
        self.server.send_headers(1, [(":status", "200")])
        self.client.receive_data(self.server.data_to_send())
        self.transport = Transport()
        self.connection = Connection(self.server, self.transport, config=Configuration().__for_server__())
        self.delivery = FastDelivery(lambda: 1_790_000_000_000_000)
        stub = type("Stub", (), {"_stream": self.connection.create_stream(stream_id=1)})()
        self.stream = self.delivery.open_stream(stub, None)  # type: ignore[arg-type]

    def received(self) -> list[pb.StreamBarsResponse]:
        """Every message that has reached the client since last asked."""
        data, self.transport.written = self.transport.written, b""
        body = b"".join(e.data or b"" for e in self.client.receive_data(data) if isinstance(e, DataReceived))
        return list(messages(body))


def messages(body: bytes) -> Iterator[pb.StreamBarsResponse]:
    while body:
        size = int.from_bytes(body[1:5], "big")
        yield pb.StreamBarsResponse.FromString(body[5 : 5 + size])
        body = body[5 + size :]


def in_a_loop(function: Callable[[], T]) -> T:
    async def call() -> T:
        return function()

    with closing(asyncio.SelectorEventLoop()) as loop:
        return loop.run_until_complete(call())


@pytest.fixture
def pair() -> Pair:
    return in_a_loop(Pair)


def test_sequences_have_no_gap(pair: Pair) -> None:
    """Sequence numbers rise by one, whatever the length of their encoding."""
    sequences = []
    for turn in range(1_050):
        # Alone, a few, a full batch: each crosses the numbers where the field grows at some time.
        batch = [message_of(update(minute(0)), ResumeTokens(HISTORY_ID))] * (1, 3, 45)[turn % 3]
        assert pair.stream.send_now(batch)
        pair.delivery.flush()
        sequences += [message.sequence for message in pair.received()]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) > 1 << 14


def test_batch_beyond_the_window(pair: Pair) -> None:
    """A batch beyond the flow-control window takes no sequence numbers."""
    alone, many = (
        [message_of(update(minute(0)), ResumeTokens(HISTORY_ID))],
        [message_of(update(minute(0)), ResumeTokens(HISTORY_ID))] * 40,
    )
    for _ in range(100):
        assert pair.stream.send_now(alone)
    room = pair.server.local_flow_control_window(1)
    pair.server.streams[1].outbound_flow_control_window = 1_000
    assert not pair.stream.send_now(many)
    pair.server.streams[1].outbound_flow_control_window = room
    for _ in range(100):
        assert pair.stream.send_now(alone)
    pair.delivery.flush()
    assert [message.sequence for message in pair.received()] == list(range(1, 201))


def test_installed_versions_have_the_attributes() -> None:
    """The installed versions have the private attributes that the fast path uses."""
    assert in_a_loop(find_obstacle) is None
