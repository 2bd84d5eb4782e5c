"""Both clients against the real server: the Trio one in its process, the asyncio one in a thread."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from candled.client import AsyncioClient, ClientError, Kind, TrioClient
from candled.client.model import Message
from candled.domain.interval import MINUTE
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from tests.client.conftest import Use
from tests.stream.support import START, SYMBOLS, World, close, minute, open_service, revise, update


def moment(index: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START + index * MINUTE)


async def subscribed(world: World, count: int = 1) -> None:
    while world.hub.statistics().subscribers < count:
        await trio.sleep(0.005)


async def arrived(messages: list[Message], count: int) -> None:
    while len(messages) < count:
        await trio.sleep(0.005)


def collect(count: int, into: list[Message], **options: Any) -> Use:
    async def use(client: TrioClient | AsyncioClient) -> None:
        async with client.stream_bars(**options) as messages:
            async for message in messages:
                into.append(message)
                if len(into) == count:
                    return

    return use


async def test_a_stream_gives_typed_bars(world: World, server: GrpcServer, run: Any) -> None:
    got: list[Message] = []
    world.publish(update(minute(3, trades=1)))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, server.address, collect(3, got, symbols=["BTCUSDT"]))
            await arrived(got, 1)
            world.publish(update(minute(3, trades=2)))
            await arrived(got, 2)
            world.publish(close(minute(3, trades=2), 1))
    assert [m.kind for m in got] == [Kind.SNAPSHOT, Kind.UPDATE, Kind.CLOSE]
    bar = got[2].bar
    assert (bar.open_time, bar.close_time) == (moment(3), moment(4))
    assert (bar.high, bar.close) == (Decimal("96002.00000000"), Decimal("96000.00000002"))
    assert (bar.first_trade_id, bar.last_trade_id, bar.closed, bar.complete) == (1030, 1031, True, True)
    assert got[2].exchange_time == moment(4)
    assert got[2].resume_token


async def test_heartbeats_are_delivered_on_request(run: Any) -> None:
    """A quiet market never hands a message without a bar to a loop that did not ask for heartbeats."""
    world = World(clock=trio.current_time, heartbeat=0.02)
    beats: list[Any] = []
    bars: list[Any] = []
    with trio.fail_after(20):
        async with open_service(world) as server, trio.open_nursery() as nursery:
            nursery.start_soon(run, server.address, collect(3, beats, heartbeats=True))
            nursery.start_soon(run, server.address, collect(1, bars))
            await arrived(beats, 3)
            world.publish(update(minute(0)))
    assert {message.kind for message in beats} == {Kind.HEARTBEAT}
    assert [message.kind for message in bars] == [Kind.UPDATE]


async def test_bars_come_over_all_pages(world: World, server: GrpcServer, run: Any) -> None:
    for index in range(30):
        world.publish_and_store(close(minute(index), index + 1))

    async def use(client: TrioClient | AsyncioClient) -> tuple[int, list[int]]:
        bars = await client.get_bars("BTCUSDT", "1m", moment(5), moment(25))
        pages = [len(page) async for page in client.bar_pages("BTCUSDT", page_size=12)]
        return len(bars), pages

    with trio.fail_after(10):
        assert await run(server.address, use) == (20, [12, 12, 6])


async def test_symbols_and_status(world: World, server: GrpcServer, run: Any) -> None:
    async def use(client: TrioClient | AsyncioClient) -> tuple[list[str], str, datetime]:
        status = await client.status()
        return [s.symbol for s in await client.symbols()], status.version, status.start_time

    with trio.fail_after(10):
        assert await run(server.address, use) == (list(SYMBOLS), "1.2.3", moment(0))


async def test_refusal_is_raised_with_its_message(server: GrpcServer, run: Any) -> None:
    async def use(client: TrioClient | AsyncioClient) -> list[str]:
        codes = []
        for call in (
            lambda: client.get_bars("XRPUSDT"),
            lambda: collect(1, [], symbols=["XRPUSDT"])(client),
            lambda: collect(1, [], resume_token="nonsense")(client),
        ):
            with pytest.raises(ClientError) as caught:
                await call()
            codes.append(caught.value.code)
        return codes

    with trio.fail_after(10):
        assert await run(server.address, use) == ["NOT_FOUND", "NOT_FOUND", "INVALID_ARGUMENT"]


async def test_missing_daemon_is_one_clear_error(run: Any) -> None:
    async def use(client: TrioClient | AsyncioClient) -> None:
        await client.status()

    with trio.fail_after(10):
        with pytest.raises(ClientError, match=r"no daemon answers at 127.0.0.1:1\b"):
            await run("127.0.0.1:1", use)


async def test_stream_without_daemon_is_one_clear_error(run: Any) -> None:
    with trio.fail_after(10):
        with pytest.raises(ClientError, match=r"no daemon answers at 127.0.0.1:1: .*[Cc]onnect"):
            await run("127.0.0.1:1", collect(1, []))


async def test_a_port_that_speaks_no_grpc_is_named(run: Any) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        """HTTP/2 that knows no such page."""
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        await stream.send_all(connection.data_to_send())
        async for data in stream:
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    connection.send_headers(event.stream_id, [(":status", "404")], end_stream=True)
            await stream.send_all(connection.data_to_send())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, refuse, 0)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(ClientError, match=r"does not speak gRPC \(HTTP status 404\)"):
                await run(f"127.0.0.1:{port}", collect(1, []))
            nursery.cancel_scope.cancel()


async def test_leaving_a_stream_early_unsubscribes(world: World, server: GrpcServer, run: Any) -> None:
    world.publish(update(minute(0)))

    async def use(client: TrioClient | AsyncioClient) -> None:
        async with client.stream_bars() as messages:
            async for _ in messages:
                break
        # The connection stays open: only the stream is gone.
        assert len(await client.symbols()) == 3
        async with client.stream_bars() as messages:
            async for _ in messages:
                break

    with trio.fail_after(10):
        await run(server.address, use)
        while world.hub.statistics().subscribers:
            await trio.sleep(0.005)


async def test_stream_survives_a_daemon_restart(run: Any) -> None:
    """A client reconnects to a restarted daemon and gets each bar and revision once."""
    got: list[Message] = []
    world = World(clock=trio.current_time)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async with open_service(world) as server:
                nursery.start_soon(run, server.address, collect(4, got, closed_only=True))
                await subscribed(world)
                world.publish_and_store(close(minute(0), 1))
                await arrived(got, 1)
            world.stored.store([close(minute(1), 2), revise(minute(0, trades=4, revision=1), 3)])
            after = World(clock=trio.current_time)
            after.stored = world.stored
            after.hub._stored = world.stored
            async with open_service_again(after, server.address):
                await subscribed(after)
                after.publish(close(minute(2), 4))
                await arrived(got, 4)
    received = sorted((m.bar.open_time, m.bar.revision) for m in got)
    assert received == [(moment(0), 0), (moment(0), 1), (moment(1), 0), (moment(2), 0)]


async def test_stream_cut_early_misses_no_bar(run: Any) -> None:
    got: list[Message] = []
    world = World(clock=trio.current_time)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async with open_service(world) as server:
                nursery.start_soon(run, server.address, collect(1, got, closed_only=True))
                await subscribed(world)
                world.stored.store([close(minute(0), 1)])
            after = World(clock=trio.current_time)
            after.stored = world.stored
            after.hub._stored = world.stored
            async with open_service_again(after, server.address):
                await arrived(got, 1)
    assert got[0].bar.open_time == moment(0)


def open_service_again(world: World, address: str) -> Any:
    return open_grpc_server(address, hub=world.hub, stored=world.stored, status=world.status)


def test_asyncio_clients_import_no_trio_asyncio() -> None:
    code = "import sys, candled.client; sys.exit('trio_asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
