"""One slow or frozen client never hurts another, and learns where to resume."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import h2.config
import h2.connection
import pytest
import trio
import trio.lowlevel

from candled.api import candles_pb2 as pb
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import GrpcServer
from tests.stream.grpc_client import Reader, dial
from tests.stream.support import World, close, minute, open_service, update

BACKLOG = 40


@pytest.fixture(params=[False, True], ids=["fast", "plain"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[World, GrpcServer]]:
    world = World(clock=trio.current_time, backlog_max=BACKLOG)
    async with open_service(world, Limits(stall_seconds=1.5), plain=request.param) as server:
        yield world, server


async def until_streams(world: World, count: int) -> None:
    with trio.fail_after(10):
        while world.hub.statistics().subscribers != count:
            await trio.sleep(0.005)


class RawClient:
    """HTTP/2 by hand: it reads, and gives window, only on request."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))

    @classmethod
    def connect(cls, server: GrpcServer, *, receive_buffer: int = 0) -> "RawClient":
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect((server.host, server.port))
        client = cls(sock)
        client.h2.initiate_connection()
        return client

    def ask(self, **request: Any) -> None:
        stream = self.h2.get_next_available_stream_id()
        body = pb.StreamBarsRequest(**request).SerializeToString()
        self.h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/candled.v1.CandleService/StreamBars"),
                (":authority", "test"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ],
        )
        self.h2.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=True)

    def send(self) -> None:
        self.sock.sendall(self.h2.data_to_send())


async def flood(world: World, first: int, count: int) -> None:
    """Closed bars, with time for the tasks that send them."""
    for index in range(first, first + count):
        world.publish(close(minute(index), index + 1))
        await trio.lowlevel.checkpoint()


async def test_client_out_of_window_gets_resource_exhausted(
    served: tuple[World, GrpcServer],
) -> None:
    world, server = served
    gate = trio.Event()

    def paced(call: object):  # type: ignore[no-untyped-def]
        trio.from_thread.run(gate.wait)
        return list_until_error(call)

    with dial(server.address, http2_bdp_probe=0, http2_lookahead_bytes=0) as client:
        call = client.stream_bars(pb.StreamBarsRequest(closed_only=True))
        async with trio.open_nursery() as nursery:
            result: list[tuple[list[pb.StreamBarsResponse], grpc.RpcError]] = []

            async def read() -> None:
                result.append(await trio.to_thread.run_sync(paced, call))

            nursery.start_soon(read)
            await until_streams(world, 1)
            with trio.fail_after(20):
                index = 0
                while world.hub.statistics().subscribers:
                    await flood(world, index, 100)
                    index += 100
            gate.set()
    messages, error = result[0]
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "read faster, and resume with the last resume_token or start_time 20" in error.details()
    opened = [message.bar.open_time.seconds for message in messages]
    assert opened == [opened[0] + 60 * number for number in range(len(opened))]
    assert world.hub.statistics().fell_behind == 1


def list_until_error(call: object) -> tuple[list[pb.StreamBarsResponse], grpc.RpcError]:
    messages = []
    try:
        for message in call:  # type: ignore[attr-defined]
            messages.append(message)  # noqa: PERF402
    except grpc.RpcError as error:
        return messages, error
    raise AssertionError("the stream ended well")


async def test_frozen_client_is_cut_without_harm_to_others(served: tuple[World, GrpcServer]) -> None:
    world, server = served
    frozen = RawClient.connect(server, receive_buffer=4096)
    frozen.h2.increment_flow_control_window(1 << 30)
    frozen.h2.update_settings({4: (1 << 31) - 1})  # INITIAL_WINDOW_SIZE: only TCP holds the server back
    frozen.ask()
    frozen.send()
    await until_streams(world, 1)
    with dial(server.address) as client:
        reader = Reader(client.stream_bars(pb.StreamBarsRequest()))
        await until_streams(world, 2)
        closed = 0
        with trio.fail_after(20):
            for step in range(1_000_000):
                for trades in range(20):
                    world.publish(update(minute(step, trades=trades + 1)))
                world.publish(close(minute(step, trades=20), step + 1))
                closed += 1
                await trio.sleep(0.001)
                if world.hub.statistics().subscribers == 1:
                    break
        with trio.fail_after(10):
            while sum(m.kind == pb.BAR_KIND_CLOSE for m in reader.messages) < closed:
                await trio.sleep(0.01)
        assert not reader.done.is_set()
    frozen.sock.close()


async def test_streams_before_the_settings_are_served(
    served: tuple[World, GrpcServer],
) -> None:
    """150 streams opened before the HTTP/2 settings arrive are served."""
    world, server = served
    client = RawClient.connect(server)
    client.h2.remote_settings[3] = 1000  # MAX_CONCURRENT_STREAMS, not yet heard from the server
    client.h2.remote_settings.acknowledge()
    for _ in range(150):
        client.ask()
    client.send()
    await until_streams(world, 150)
    client.sock.close()
    await until_streams(world, 0)


async def test_vanished_client_leaves_nothing_behind(served: tuple[World, GrpcServer]) -> None:
    world, server = served
    client = RawClient.connect(server)
    client.ask()
    client.send()
    await until_streams(world, 1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a goodbye
    client.sock.close()
    world.publish(update(minute(0)))
    await until_streams(world, 0)
