"""The API as a stock grpcio client sees it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
import trio
import trio.lowlevel
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib.health.v1 import health_pb2
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated

from candled.api import candles_pb2 as pb
from candled.domain.interval import INTERVALS, MINUTE
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import GrpcServer, open_grpc_server
from candled.stream.resume import LivePoint, ResumeTokens
from candled.stream.sockets import AddressError
from tests.stream.grpc_client import Client, Reader, dial, in_thread, kinds
from tests.stream.support import START, SYMBOLS, World, close, five_minutes, minute, open_service, revise, update
from tests.stream.test_slow_clients import RawClient, until_streams


@pytest.fixture
async def world() -> World:
    return World(clock=trio.current_time)


@pytest.fixture(params=[False, True], ids=["fast", "plain"])
def plain(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def server(world: World, plain: bool) -> AsyncIterator[GrpcServer]:
    async with open_service(world, plain=plain) as server:
        yield server


@pytest.fixture
def client(server: GrpcServer) -> Iterator[Client]:
    with dial(server.address) as client:
        yield client


def at(index: int) -> Timestamp:
    return Timestamp(seconds=(START + index * MINUTE) // 1_000_000)


def indexes(messages: Sequence[pb.StreamBarsResponse]) -> list[int]:
    return [(m.bar.open_time.seconds * 1_000_000 - START) // MINUTE for m in messages if m.HasField("bar")]


async def open_stream(world: World, client: Client, **request: Any) -> Reader:
    """A stream that the hub knows."""
    before = world.hub.statistics().subscribers
    reader = Reader(client.stream_bars(pb.StreamBarsRequest(**request)))
    with trio.fail_after(10):
        while world.hub.statistics().subscribers == before:
            await trio.sleep(0.005)
    return reader


async def nobody_left(world: World) -> None:
    with trio.fail_after(5):
        while world.hub.statistics().subscribers:
            await trio.sleep(0.005)


async def test_order_of_messages(world: World, client: Client) -> None:
    """A snapshot, then an update on every trade, then the close."""
    world.publish(update(minute(0, trades=1)))
    reader = await open_stream(world, client, symbols=["BTCUSDT"])
    await reader.until(1)
    for trades in (2, 3, 4):
        world.publish(update(minute(0, trades=trades)))
        await reader.until(trades)
    world.publish(close(minute(0, trades=4), 1))
    messages = await reader.until(5)
    assert kinds(messages) == ["SNAPSHOT", "UPDATE", "UPDATE", "UPDATE", "CLOSE"]
    assert [m.bar.trade_count for m in messages] == [1, 2, 3, 4, 4]
    assert [m.sequence for m in messages] == [1, 2, 3, 4, 5]


async def test_burst_of_trades_is_no_slow_client(world: World) -> None:
    async with open_service(world) as server:
        with dial(server.address) as client:
            reader = await open_stream(world, client, symbols=["BTCUSDT"])
            world.publish(update(minute(0, trades=1)))
            await reader.until(1)
            world.publish(*[update(minute(0, trades=trades)) for trades in range(2, 202)])
            messages = await reader.until(201)
    assert [m.bar.trade_count for m in messages] == list(range(1, 202))


async def test_a_message_carries_every_field_exactly(world: World, client: Client) -> None:
    reader = await open_stream(world, client)
    world.publish(close(minute(7, trades=3), 1))
    (message,) = await reader.until(1)
    bar = message.bar
    assert (bar.symbol, bar.interval) == ("BTCUSDT", "1m")
    assert (bar.open_time, bar.close_time) == (at(7), at(8))
    assert (bar.open, bar.high, bar.low) == ("96000.00000000", "96003.00000000", "95997.00000000")
    assert bar.close == "96000.00000003"
    assert (bar.volume, bar.quote_volume) == ("0.00000021", "0.00000033")
    assert (bar.taker_buy_volume, bar.taker_buy_quote_volume) == ("0.00000006", "0.00000009")
    assert (bar.trade_count, bar.first_trade_id, bar.last_trade_id) == (3, 1070, 1072)
    assert (bar.closed, bar.complete, bar.revision) == (True, True, 0)
    assert message.exchange_time == at(8)
    assert message.send_time.seconds > 0
    assert message.resume_token


async def test_an_empty_bar_has_no_trade_ids(world: World, client: Client) -> None:
    reader = await open_stream(world, client)
    world.publish(close(minute(0, trades=0), 1))
    (message,) = await reader.until(1)
    assert not message.bar.HasField("first_trade_id")
    assert not message.bar.HasField("last_trade_id")


async def test_closed_only_gets_closes_and_revisions(world: World, client: Client) -> None:
    world.publish(update(minute(0)))
    reader = await open_stream(world, client, closed_only=True)
    world.publish(update(minute(0)), close(minute(0), 1), revise(minute(0, trades=4, revision=1), 2))
    assert kinds(await reader.until(2)) == ["CLOSE", "REVISION"]


async def test_start_time_replays_then_streams_live(world: World, client: Client) -> None:
    for index in range(5):
        world.publish_and_store(close(minute(index), index + 1))
    world.publish(close(minute(5), 6))  # not stored yet
    world.publish(update(minute(6)))
    reader = await open_stream(world, client, symbols=["BTCUSDT"], start_time=at(2))
    messages = await reader.until(5)
    assert kinds(messages) == ["CLOSE"] * 4 + ["SNAPSHOT"]
    assert indexes(messages) == [2, 3, 4, 5, 6]
    world.publish(close(minute(6), 7))
    assert indexes(await reader.until(6)) == [2, 3, 4, 5, 6, 6]


async def test_revised_bar_is_replayed_once(world: World, client: Client) -> None:
    """A revised bar is replayed once, in its newest revision."""
    world.publish_and_store(close(minute(0), 1), revise(minute(0, trades=4, revision=1), 2))
    reader = await open_stream(world, client, start_time=at(0), closed_only=True)
    world.publish(close(minute(1), 3))
    messages = await reader.until(2)
    assert [(m.bar.revision, kind) for m, kind in zip(messages, kinds(messages), strict=True)] == [
        (1, "CLOSE"),
        (0, "CLOSE"),
    ]


async def test_resume_token_replays_changed_bars(world: World, client: Client) -> None:
    reader = await open_stream(world, client, closed_only=True)
    for index in range(3):
        world.publish_and_store(close(minute(index), index + 1))
    token = (await reader.until(3))[1].resume_token
    reader.cancel()
    await nobody_left(world)
    world.publish_and_store(revise(minute(0, trades=5, revision=1), 4))
    world.publish(close(minute(3), 5))
    again = await open_stream(world, client, closed_only=True, resume_token=token)
    messages = await again.until(3)
    assert sorted(zip(indexes(messages), kinds(messages), strict=True)) == [
        (0, "REVISION"),
        (2, "CLOSE"),
        (3, "CLOSE"),
    ]


async def test_a_token_of_another_directory(world: World, client: Client) -> None:
    """A resume token of another data directory is refused, though its position exists here too."""
    world.publish_and_store(close(minute(0), 1))
    other = World(clock=trio.current_time)
    other.stored.history_id = "f" * 16
    token = ResumeTokens(other.stored.history_id).encode(LivePoint.before(1))
    with pytest.raises(grpc.RpcError) as caught:
        await in_thread(lambda: next(iter(client.stream_bars(pb.StreamBarsRequest(resume_token=token)))))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "resume_token is of another daemon's data directory: use it with that daemon, or use start_time."
    )


async def test_a_token_from_after_a_restored_backup(world: World, client: Client) -> None:
    """A resume token ahead of all that the directory holds is refused: bars would be passed over in silence."""
    world.publish_and_store(close(minute(0), 1))
    reader = await open_stream(world, client, closed_only=True)
    world.publish_and_store(close(minute(1), 7))
    (message,) = await reader.until(1)
    fresh = World(clock=trio.current_time)
    fresh.publish_and_store(close(minute(0), 1))
    async with open_service(fresh) as server:
        request = pb.StreamBarsRequest(resume_token=message.resume_token)
        with dial(server.address) as other, pytest.raises(grpc.RpcError) as caught:
            await in_thread(lambda: next(iter(other.stream_bars(request))))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ahead of this daemon's history" in caught.value.details()


def token_at(world: World, position: int) -> str:
    """A token of the history after a position."""
    return ResumeTokens(world.stored.history_id).encode(LivePoint.after(position))


async def test_a_token_ahead_waits_among_others(world: World) -> None:
    """Where other processes serve the same bars, a token ahead of this one waits until it has read as far."""
    async with open_service(world, Limits(ahead_seconds=20.0)) as server:
        request = pb.StreamBarsRequest(resume_token=token_at(world, 3), closed_only=True)
        with dial(server.address) as client:
            async with trio.open_nursery() as nursery:
                found: list[Any] = []

                async def read() -> None:
                    found.append(await in_thread(lambda: next(iter(client.stream_bars(request)))))

                nursery.start_soon(read)
                await trio.sleep(0.1)
                world.publish_and_store(close(minute(0), 3))
                await trio.sleep(0.1)
                world.publish_and_store(close(minute(1), 4))
    assert [message.bar.trade_count for message in found] == [3]


async def test_a_token_that_stays_ahead_is_for_another(world: World) -> None:
    """A process that lags too far behind says so, and the client tries another."""
    async with open_service(world, Limits(ahead_seconds=0.1)) as server:
        request = pb.StreamBarsRequest(resume_token=token_at(world, 3))
        with dial(server.address) as client, pytest.raises(grpc.RpcError) as caught:
            await in_thread(lambda: next(iter(client.stream_bars(request))))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "try again, or another address" in caught.value.details()


async def test_a_token_older_than_all_that_is_kept() -> None:
    """Changes that are not kept any more would be passed over in silence: the token is refused."""
    world = World(clock=trio.current_time, oldest_position=lambda: 5)
    world.publish_and_store(close(minute(0), 7))
    async with open_service(world) as server:
        request = pb.StreamBarsRequest(resume_token=token_at(world, 4))
        with dial(server.address) as client, pytest.raises(grpc.RpcError) as caught:
            await in_thread(lambda: next(iter(client.stream_bars(request))))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "resume_token is older than the bars that are kept here: use start_time."


async def test_every_interval_is_streamed(world: World, client: Client) -> None:
    reader = await open_stream(world, client, intervals=["1m", "5m"], closed_only=True)
    world.publish(close(minute(4), 5), close(five_minutes(0), 5))
    assert [m.bar.interval for m in await reader.until(2)] == ["1m", "5m"]


async def test_max_updates_per_second_conflates_only_updates(world: World, client: Client) -> None:
    reader = await open_stream(world, client, max_updates_per_second=0.001)
    world.publish(update(minute(0, trades=1)))
    await reader.until(1)
    for trades in range(2, 200):
        world.publish(update(minute(0, trades=trades)))
        await trio.lowlevel.checkpoint()
    world.publish(close(minute(0, trades=199), 1))
    messages = await reader.until(2)
    assert kinds(messages) == ["UPDATE", "CLOSE"]
    assert [message.bar.trade_count for message in messages] == [1, 199]


async def test_idle_stream_gets_heartbeats() -> None:
    world = World(clock=trio.current_time, heartbeat=0.05)
    async with open_service(world) as server:
        with dial(server.address) as client:
            reader = await open_stream(world, client)
            messages = await reader.until(3)
            assert kinds(messages) == ["HEARTBEAT"] * 3
            assert not messages[0].HasField("bar")
            assert [m.sequence for m in messages] == [1, 2, 3]


async def test_a_client_that_leaves_is_forgotten(world: World, client: Client) -> None:
    reader = await open_stream(world, client)
    reader.cancel()
    await nobody_left(world)


async def test_pages_of_bars(world: World, client: Client) -> None:
    for index in range(25):
        world.publish_and_store(close(minute(index), index + 1))
    request = pb.GetBarsRequest(symbol="BTCUSDT", start_time=at(1), end_time=at(24), page_size=10)
    found: list[pb.Bar] = []
    sizes = []
    while True:
        page = await in_thread(client.GetBars, request)
        found += page.bars
        sizes.append(len(page.bars))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert sizes == [10, 10, 3]
    assert [(bar.open_time.seconds * 1_000_000 - START) // MINUTE for bar in found] == list(range(1, 24))


async def test_page_size_is_limited(world: World) -> None:
    for index in range(10):
        world.publish_and_store(close(minute(index), index + 1))
    async with open_service(world, Limits(page_size_max=4)) as server:
        with dial(server.address) as client:
            page = await in_thread(client.GetBars, pb.GetBarsRequest(symbol="BTCUSDT", page_size=1000))
            assert len(page.bars) == 4


async def test_symbols_and_intervals_are_listed(client: Client) -> None:
    answer = await in_thread(client.ListSymbols, pb.ListSymbolsRequest())
    assert [(s.symbol, s.status) for s in answer.symbols] == [(name, "TRADING") for name in SYMBOLS]
    assert list(answer.intervals) == list(INTERVALS)


async def test_status_has_version_readiness_and_streams(world: World, client: Client) -> None:
    await open_stream(world, client)
    world.not_ready = ("the disk is full.",)
    answer = await in_thread(client.GetStatus, pb.GetStatusRequest())
    assert (answer.version, answer.exchange, answer.subscribers) == ("1.2.3", "test exchange", 1)
    assert (answer.ready, list(answer.not_ready_reasons)) == (False, ["the disk is full."])
    assert [s.symbol for s in answer.symbols] == list(SYMBOLS)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"symbols": ["XRPUSDT"]}, grpc.StatusCode.NOT_FOUND, "Not served here: XRPUSDT. Choose from"),
        ({"intervals": ["7m"]}, grpc.StatusCode.INVALID_ARGUMENT, "unknown interval '7m': choose one of 1m 3m"),
        ({"resume_token": "x"}, grpc.StatusCode.INVALID_ARGUMENT, "resume_token is not one"),
        ({"max_updates_per_second": -1}, grpc.StatusCode.INVALID_ARGUMENT, "max_updates_per_second must be"),
        (
            {"max_updates_per_second": float("nan")},
            grpc.StatusCode.INVALID_ARGUMENT,
            "max_updates_per_second must",
        ),
        (
            {"start_time": Timestamp(seconds=1 << 60)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "start_time must be from 1970-01-01 to 2100-01-01",
        ),
    ],
)
async def test_bad_stream_request_is_refused(
    client: Client, request_: dict[str, Any], code: grpc.StatusCode, text: str
) -> None:
    error = await Reader(client.stream_bars(pb.StreamBarsRequest(**request_))).ended()
    assert error is not None
    assert error.code() is code
    assert text in error.details()


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"symbol": "XRPUSDT"}, grpc.StatusCode.NOT_FOUND, "Not served here: XRPUSDT"),
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "symbol is missing"),
        ({"symbol": "BTCUSDT", "interval": "7m"}, grpc.StatusCode.INVALID_ARGUMENT, "unknown interval"),
        ({"symbol": "BTCUSDT", "page_size": -1}, grpc.StatusCode.INVALID_ARGUMENT, "page_size is negative"),
        ({"symbol": "BTCUSDT", "page_token": "?"}, grpc.StatusCode.INVALID_ARGUMENT, "page_token is not one"),
    ],
)
async def test_bad_query_is_refused(
    client: Client, request_: dict[str, Any], code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await in_thread(client.GetBars, pb.GetBarsRequest(**request_))
    assert caught.value.code() is code
    assert text in caught.value.details()


async def test_moved_symbol_names_its_shard(world: World, client: Client) -> None:
    world.publish_and_store(close(minute(0, symbol="XRPUSDT"), 1))
    answer = await in_thread(client.GetBars, pb.GetBarsRequest(symbol="XRPUSDT"))
    assert len(answer.bars) == 1

    world.elsewhere = {"XRPUSDT": "shard 1 at candled-1:50051"}
    with pytest.raises(grpc.RpcError) as caught:
        await in_thread(client.GetBars, pb.GetBarsRequest(symbol="XRPUSDT"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "XRPUSDT is served by shard 1 at candled-1:50051." in caught.value.details()


async def test_stop_ends_streams(world: World) -> None:
    """A stop ends streams with UNAVAILABLE and the point to resume from."""
    with trio.fail_after(10), ExitStack() as channels:
        async with open_service(world) as server:
            client = channels.enter_context(dial(server.address))
            readers = [await open_stream(world, client) for _ in range(5)]
            world.publish(close(minute(0), 1))
            for reader in readers:
                await reader.until(1)
        errors = [await reader.ended() for reader in readers]
    for error in errors:
        assert error is not None
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "is stopping: resume with the last resume_token or start_time 20" in error.details()


async def test_stop_sends_goaway_before_closing(world: World) -> None:
    goodbyes: list[ConnectionTerminated] = []

    def read_to_the_end(raw: RawClient) -> None:
        raw.sock.settimeout(10)
        while data := raw.sock.recv(65536):
            events = raw.h2.receive_data(data)
            goodbyes.extend(event for event in events if isinstance(event, ConnectionTerminated))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, open_service(world) as server:
            raw = RawClient.connect(server)
            raw.ask()
            raw.send()
            nursery.start_soon(in_thread, read_to_the_end, raw)
            await until_streams(world, 1)
    raw.sock.close()
    assert [goodbye.error_code for goodbye in goodbyes] == [ErrorCodes.NO_ERROR]


async def test_cancelled_daemon_ends_streams(world: World) -> None:
    """A cancelled daemon still ends its streams in order."""
    with trio.fail_after(10), ExitStack() as channels:
        with trio.CancelScope() as daemon:
            async with open_service(world) as server:
                client = channels.enter_context(dial(server.address))
                reader = await open_stream(world, client)
                daemon.cancel()
                await trio.sleep_forever()
        error = await reader.ended()
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "The daemon is stopping" in error.details()


async def test_address_in_use_is_one_clear_error(world: World, server: GrpcServer) -> None:
    with pytest.raises(AddressError, match="is in use: stop what listens there"):
        async with open_service_at(world, server.address):
            pass


async def test_malformed_address_is_one_clear_error(world: World) -> None:
    with pytest.raises(AddressError, match="is not host:port"):
        async with open_service_at(world, "nonsense"):
            pass


def open_service_at(world: World, address: str):  # type: ignore[no-untyped-def]
    return open_grpc_server(address, hub=world.hub, stored=world.stored, status=world.status)


async def test_health_follows_readiness(world: World, client: Client) -> None:
    check = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )

    async def status(service: str) -> int:
        answer: health_pb2.HealthCheckResponse = await in_thread(
            check, health_pb2.HealthCheckRequest(service=service)
        )
        return answer.status

    async def until(service: str, wanted: int) -> None:
        with trio.fail_after(5):
            while await status(service) != wanted:
                await trio.sleep(0.02)

    for service in ("", "candled.v1.CandleService"):
        await until(service, health_pb2.HealthCheckResponse.SERVING)
    world.not_ready = ("no trades.",)
    for service in ("", "candled.v1.CandleService"):
        await until(service, health_pb2.HealthCheckResponse.NOT_SERVING)
    with pytest.raises(grpc.RpcError) as caught:
        await status("other")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_stream_of_a_removed_symbol_ends_with_advice(world: World, client: Client) -> None:
    reader = await open_stream(world, client, symbols=["BTCUSDT", "ETHUSDT"])
    world.publish(close(minute(0), 1))
    await reader.until(1)
    world.hub.forget("BTCUSDT")
    error = await reader.ended()
    assert error is not None
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "BTCUSDT is not served any more: ask without it, resume with" in error.details()
