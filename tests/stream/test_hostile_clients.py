"""Clients that mean harm, or know no better: the server stays up, others notice nothing, nothing stays behind."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
import trio

from candled.api import candles_pb2 as pb
from candled.stream.admission import ConnectionLimits
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import GrpcServer
from tests.stream.grpc_client import Reader, dial, in_thread
from tests.stream.support import World, close, minute, open_service
from tests.stream.test_slow_clients import RawClient, until_streams

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.fixture
async def served() -> AsyncIterator[tuple[World, GrpcServer]]:
    """A server with one well-behaved stream, which must get its bar after whatever the test did."""
    world = World(clock=trio.current_time)
    async with open_service(
        world, Limits(request_bytes_max=100_000, connections=ConnectionLimits(total=20))
    ) as server:
        with dial(server.address) as client:
            reader = Reader(client.stream_bars(pb.StreamBarsRequest()))
            await until_streams(world, 1)
            yield world, server
            await until_streams(world, 1)
            world.publish(close(minute(0), 1))
            await reader.until(1)


def send_and_read(server: GrpcServer, data: bytes) -> bytes:
    """What comes back until the server closes or half a second is silent."""
    with socket.create_connection((server.host, server.port)) as sock:
        sock.settimeout(0.5)
        answer = b""
        try:
            sock.sendall(data)
            while part := sock.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        os.urandom(5000),
        PREFACE + os.urandom(5000),
        PREFACE[:10],
        PREFACE + frame(4, 0, 0, b"")[:5],
        PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, b"\xff" * 200),
        PREFACE + frame(4, 0, 0, b"") + frame(0, 0, 7, b"data without a stream"),
        PREFACE + frame(4, 0, 0, b"") + frame(8, 0, 0, b"\0\0\0\0"),
        PREFACE + frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"),
        PREFACE + (b"\xff\xff\xff" + b"\0\0" + b"\0\0\0\1") + bytes(100_000),
        PREFACE + frame(4, 0, 0, b"") + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x82") * 5000,
    ],
    ids=lambda data: f"{len(data)} bytes",
)
async def test_bytes_that_are_no_http2_are_cut_off(served: tuple[World, GrpcServer], data: bytes) -> None:
    _, server = served
    with trio.fail_after(10):
        await in_thread(send_and_read, server, data)


async def test_unknown_frames_are_ignored(served: tuple[World, GrpcServer]) -> None:
    """Frames of unknown kinds are ignored, as HTTP/2 demands."""
    world, server = served
    client = RawClient.connect(server)
    client.send()
    client.sock.sendall(frame(0xBB, 0, 0, b"grease"))
    client.ask()
    client.send()
    await until_streams(world, 2)
    client.sock.close()


async def test_large_request_is_refused_early(served: tuple[World, GrpcServer]) -> None:
    """A request beyond the limit is refused while it arrives."""
    _, server = served
    with dial(server.address) as client, trio.fail_after(10):
        request = pb.StreamBarsRequest(symbols=["X" * 1000] * 2000)
        error = await Reader(client.stream_bars(request)).ended()
        assert error is not None
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await in_thread(client.ListSymbols, pb.ListSymbolsRequest())).symbols) == 3


async def test_a_compressed_request_is_refused_with_a_sentence(served: tuple[World, GrpcServer]) -> None:
    _, server = served
    with dial(server.address) as client, trio.fail_after(10):
        with pytest.raises(grpc.RpcError) as caught:
            await in_thread(
                lambda: client.GetBars(pb.GetBarsRequest(symbol="BTCUSDT" * 50), compression=grpc.Compression.Gzip)
            )
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "compressed: send it as it is" in caught.value.details()


@pytest.mark.parametrize("body", [b"", b"\0\0\0\1\0half", b"\0\0\0\0\3\xff\xff\xff"])
async def test_a_request_that_is_not_whole_is_refused(served: tuple[World, GrpcServer], body: bytes) -> None:
    _, server = served
    with dial(server.address) as client, trio.fail_after(10):
        # grpcio frames what it is given, so the broken frame is sent by hand.
        raw = RawClient.connect(server)
        stream = raw.h2.get_next_available_stream_id()
        raw.h2.send_headers(stream, request_headers("GetBars"))
        raw.h2.send_data(stream, body, end_stream=True)
        raw.send()
        answer = await in_thread(read_until_trailers, raw)
        assert answer.get("grpc-status") == "3"
        assert len((await in_thread(client.ListSymbols, pb.ListSymbolsRequest())).symbols) == 3


def request_headers(method: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/candled.v1.CandleService/{method}"),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]


def read_until_trailers(raw: RawClient) -> dict[str, str]:
    raw.sock.settimeout(5)
    while True:
        for event in raw.h2.receive_data(raw.sock.recv(65536)):
            headers = getattr(event, "headers", None) or []
            fields = {
                (k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v)
                for k, v in headers
            }
            if "grpc-status" in fields:
                raw.sock.close()
                return fields


async def test_request_that_never_arrives() -> None:
    """A request that does not arrive in time ends with a sentence."""
    world = World(clock=trio.current_time)
    async with open_service(
        world, Limits(request_seconds=0.2, connections=ConnectionLimits(pending_seconds=0.2))
    ) as server:
        raw = RawClient.connect(server)
        raw.h2.send_headers(raw.h2.get_next_available_stream_id(), request_headers("StreamBars"))
        raw.send()
        with trio.fail_after(10):
            answer = await in_thread(read_until_trailers, raw)
        raw.sock.close()
    assert answer["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
    assert "did not arrive within 0.2 s" in answer["grpc-message"].replace("%20", " ")


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE])
async def test_a_connection_that_never_speaks_http2_is_cut(said: bytes) -> None:
    world = World(clock=trio.current_time)

    def wait_for_the_cut(server: GrpcServer) -> None:
        with socket.create_connection((server.host, server.port)) as sock:
            sock.settimeout(10)
            sock.sendall(said)
            with suppress(ConnectionResetError):
                while sock.recv(65536):
                    pass

    async with open_service(
        world, Limits(request_seconds=0.2, connections=ConnectionLimits(pending_seconds=0.2))
    ) as server:
        with trio.fail_after(20):
            await in_thread(wait_for_the_cut, server)


async def test_rapid_resets_end_the_connection(served: tuple[World, GrpcServer]) -> None:
    """Streams opened only to be reset end the connection."""
    world, server = served
    raw = RawClient.connect(server)

    def attack() -> None:
        raw.sock.settimeout(5)
        raw.h2.remote_settings[3] = 1_000_000
        raw.h2.remote_settings.acknowledge()
        for _ in range(5_000):
            raw.ask()
            raw.h2.reset_stream(raw.h2.highest_outbound_stream_id)
            try:
                raw.send()
            except OSError:
                return
        while raw.sock.recv(65536):
            pass

    with trio.fail_after(20):
        with suppress(OSError):
            await in_thread(attack)
    await until_streams(world, 1)


async def test_streams_per_connection_are_limited(served: tuple[World, GrpcServer]) -> None:
    """More streams than a connection may have are refused."""
    world, server = served
    raw = RawClient.connect(server)
    raw.h2.remote_settings[3] = 1_000_000
    raw.h2.remote_settings.acknowledge()
    with trio.fail_after(20):
        for _ in range(1_100):
            raw.ask()
        raw.send()
        await until_streams(world, 1)
    raw.sock.close()


async def test_connections_beyond_the_limit_are_cut(served: tuple[World, GrpcServer]) -> None:
    _, server = served
    held = [socket.create_connection((server.host, server.port)) for _ in range(19)]
    ping = PREFACE + frame(4, 0, 0, b"") + frame(6, 0, 0, b"12345678")
    with trio.fail_after(10):
        # What comes back are the server's own settings at most: the ping is not answered.
        assert b"12345678" not in await in_thread(send_and_read, server, ping)
    for sock in held:
        sock.close()


async def test_unread_pongs_end_the_connection(served: tuple[World, GrpcServer]) -> None:
    """Pings whose answers are never read end the connection."""
    _, server = served

    def attack() -> bool:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((server.host, server.port))
            sock.settimeout(5)
            sock.sendall(PREFACE + frame(4, 0, 0, b""))
            pings = frame(6, 0, 0, b"12345678") * 4_000
            try:
                for _ in range(400):
                    sock.sendall(pings)
            except OSError:
                return True
        return False

    with trio.fail_after(30):
        assert await in_thread(attack)
