"""Limits on connections of the gRPC port: before the handshake, for one address, and in all."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing
import trio
import trustme

from candled.api import candles_pb2 as pb
from candled.client import open_trio_client
from candled.domain.status import DaemonStatus
from candled.stream.admission import ConnectionLimits
from candled.stream.grpc import service
from candled.stream.grpc.encoder import encode_status
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from tests.stream.grpc_client import dial, in_thread
from tests.stream.support import World, open_service
from tests.stream.test_hostile_clients import PREFACE, frame
from tests.stream.test_security import trusting, write_certificate

PINGS = 2_500


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


def connect(server: GrpcServer) -> socket.socket:
    sock = socket.create_connection((server.host, server.port))
    sock.settimeout(5)
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the server has closed it, waiting for that."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_silent_tls_connections(tmp_path: Path) -> None:
    """Connections that say nothing under TLS are limited, counted and cut in time; others are served then."""
    authority = trustme.CA()
    files = write_certificate(tmp_path, authority)
    limits = Limits(connections=ConnectionLimits(pending_per_address=5, pending_seconds=0.5))
    async with open_service(World(clock=trio.current_time), limits, files=files) as server:
        silent = [connect(server) for _ in range(8)]
        await until(lambda: server.statistics().admission.refused["pending_per_address"] == 3)
        assert server.statistics().admission.pending == 5
        await until(lambda: server.statistics().admission.open == 0)
        assert server.statistics().cuts["handshake"] == 5
        assert all([await in_thread(is_closed, sock) for sock in silent])
        async with open_trio_client(server.address, tls=trusting(authority)) as client:
            assert len(await client.symbols()) == 3
        for sock in silent:
            sock.close()


async def test_what_is_no_tls(tmp_path: Path) -> None:
    """Bytes that are no TLS end the connection, and it is counted."""
    files = write_certificate(tmp_path, trustme.CA())
    async with open_service(World(clock=trio.current_time), files=files) as server:
        with connect(server) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: server.statistics().cuts["handshake"] == 1)
        assert server.statistics().admission.open == 0


async def test_one_address_has_a_limit() -> None:
    """Beyond the limit of its address a connection is closed at once, and one that leaves makes room."""
    limits = Limits(connections=ConnectionLimits(per_address=2))
    async with open_service(World(clock=trio.current_time), limits) as server:
        first, second, third = (connect(server) for _ in range(3))
        assert await in_thread(is_closed, third)
        assert server.statistics().admission.refused["per_address"] == 1
        first.close()
        await until(lambda: server.statistics().admission.open == 1)
        with dial(server.address) as client, trio.fail_after(10):
            assert len((await in_thread(client.ListSymbols, pb.ListSymbolsRequest())).symbols) == 3
        for sock in (second, third):
            sock.close()


async def test_a_cut_is_logged_once() -> None:
    """However many frames a client sends at once beyond a limit, its cut is one line and one count."""
    with structlog.testing.capture_logs() as logs:
        async with open_service(World(clock=trio.current_time)) as server:
            with connect(server) as sock:
                sock.sendall(PREFACE + frame(4, 0, 0, b"") + frame(6, 0, 0, bytes(8)) * PINGS)
                assert await in_thread(read_to_the_end, sock)
            assert server.statistics().cuts["control frames"] == 1
    assert [line["cause"] for line in logs if line["event"] == "connection cut"] == ["control frames"]


def read_to_the_end(sock: socket.socket) -> bool:
    try:
        while sock.recv(65_536):
            pass
    except (ConnectionResetError, ssl.SSLError):
        pass
    return True


async def test_flood_of_status_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for the status at once, few answers are made for all of them."""
    world = World(clock=trio.current_time)
    made: list[object] = []

    def slowly(*arguments: Any) -> bytes:
        made.append(arguments)
        time.sleep(0.3)
        return encode_status(*arguments)

    monkeypatch.setattr(service, "encode_status", slowly)
    async with open_service(world) as server, trio.open_nursery() as nursery:
        with dial(server.address) as client, trio.fail_after(30):
            for _ in range(30):
                nursery.start_soon(in_thread, client.GetStatus, pb.GetStatusRequest())
            with dial(server.address) as other:
                assert len((await in_thread(other.ListSymbols, pb.ListSymbolsRequest())).symbols) == 3
            while nursery.child_tasks:
                await trio.sleep(0.01)
    assert 1 <= len(made) <= 6, "requests of one client arrive over some time"


async def test_refusals_need_no_status_of_symbols() -> None:
    """A flood of requests for unknown symbols, and health, never compute the status of every symbol."""
    world = World(clock=trio.current_time)

    def status() -> DaemonStatus:
        raise AssertionError("the status of every symbol, which costs the more the more there are")

    async with open_grpc_server(
        "127.0.0.1:0", hub=world.hub, stored=world.stored, status=status, summary=world.status
    ) as server:
        with dial(server.address) as client, trio.fail_after(10):
            for _ in range(5):
                with pytest.raises(grpc.RpcError, match="Not served here: NOPE"):
                    await in_thread(client.GetBars, pb.GetBarsRequest(symbol="NOPE"))
            await trio.sleep(0.6)  # health has followed readiness
