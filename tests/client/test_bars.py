"""Bars from the client: the newest few, tables, loops that are left, several addresses, plain code."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import trio

from candled.client import (
    AsyncioClient,
    Bars,
    ClientError,
    InvalidArgumentError,
    NotFoundError,
    SyncClient,
    TrioClient,
    UnavailableError,
    open_asyncio_client,
    open_client,
    open_trio_client,
)
from candled.history.columns import ROW_SCHEMA
from candled.stream.grpc.server import GrpcServer
from tests.cli import fakes
from tests.client.test_clients import moment
from tests.stream.support import World, close, minute, open_service, update

AnyClient = TrioClient | AsyncioClient


def store(world: World, count: int) -> None:
    for index in range(count):
        world.publish_and_store(close(minute(index), index + 1))


async def test_a_limit_gives_the_newest_oldest_first(world: World, server: GrpcServer, run: Any) -> None:
    """Of a range the last bars come, and the server is asked for no more."""
    store(world, 30)

    async def use(client: AnyClient) -> list[list[datetime]]:
        answers = [
            await client.get_bars("BTCUSDT", limit=3),
            await client.get_bars("BTCUSDT", "1m", moment(5), moment(10), limit=2),
            await client.get_bars("BTCUSDT", "1m", moment(5), moment(7), limit=100),
            await client.get_bars("BTCUSDT", start=moment(28)),
        ]
        return [[bar.open_time for bar in bars] for bars in answers]

    with trio.fail_after(10):
        assert await run(server.address, use) == [
            [moment(27), moment(28), moment(29)],
            [moment(8), moment(9)],
            [moment(5), moment(6)],
            [moment(28), moment(29)],
        ]


async def test_a_limit_over_several_pages(world: World, run: Any) -> None:
    """A limit above the server's page size is filled from several pages, without a bar twice or left out."""
    from candled.stream.grpc.limits import Limits

    store(world, 30)
    async with open_service(world, limits=Limits(page_size_max=7)) as small:

        async def use(client: AnyClient) -> list[datetime]:
            return [bar.open_time for bar in await client.get_bars("BTCUSDT", limit=20)]

        with trio.fail_after(10):
            assert await run(small.address, use) == [moment(index) for index in range(10, 30)]


async def test_newest_bars_include_unstored(world: World, server: GrpcServer) -> None:
    """The newest closed bar counts although it is not stored yet."""
    store(world, 3)
    world.publish(close(minute(3), 4))
    with trio.fail_after(10):
        async with open_trio_client(server.address) as client:
            bars = await client.get_bars("BTCUSDT", limit=2)
    assert [bar.open_time for bar in bars] == [moment(2), moment(3)]


@pytest.mark.parametrize("limit", [0, -5])
async def test_a_limit_below_one_is_refused(limit: int) -> None:
    """It is refused before anything is asked."""
    async with open_trio_client("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="at least 1"):
            await client.get_bars("BTCUSDT", limit=limit)


async def test_each_code_is_a_class_of_error(server: GrpcServer, run: Any) -> None:
    """What went wrong can be caught by its kind."""

    async def use(client: AnyClient) -> None:
        with pytest.raises(NotFoundError):
            await client.get_bars("XRPUSDT")
        with pytest.raises(InvalidArgumentError):
            await client.get_bars("BTCUSDT", "7m")

    with trio.fail_after(10):
        await run(server.address, use)
        with pytest.raises(UnavailableError):
            await run("127.0.0.1:1", lambda client: client.symbols())
    assert type(ClientError("DATA_LOSS", "x")) is ClientError


async def test_leaving_the_loop_ends_the_stream(
    world: World,
    server: GrpcServer,
    run: Any,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """`async for bar in client.bars(...)` needs no context manager: a break gives the stream back, silently."""
    world.publish(update(minute(0)))
    closes: list[Decimal] = []

    async def use(client: AnyClient) -> int:
        async for bar in client.bars("BTCUSDT"):
            closes.append(bar.close)
            break
        while world.hub.statistics().subscribers:
            if isinstance(client, TrioClient):
                await trio.sleep(0.005)
            else:
                import asyncio

                await asyncio.sleep(0.005)
        return len(await client.symbols())

    with trio.fail_after(10):
        assert await run(server.address, use) == 3
    assert closes == [Decimal("96000.00000003")]
    assert [str(each.message) for each in recwarn if each.category is ResourceWarning] == []


async def test_a_loop_over_bars_from_a_start(world: World, server: GrpcServer, run: Any) -> None:
    """Stored bars come first, of several symbols if asked."""
    store(world, 3)

    async def use(client: AnyClient) -> list[datetime]:
        times = []
        async with client.bars(["BTCUSDT", "ETHUSDT"], start=moment(1), closed_only=True) as bars:
            async for bar in bars:
                times.append(bar.open_time)
                if len(times) == 2:
                    return times
        raise AssertionError

    with trio.fail_after(10):
        assert await run(server.address, use) == [moment(1), moment(2)]


async def test_the_next_address_is_tried(server: GrpcServer, run: Any) -> None:
    """Of several addresses, those that do not answer are passed over."""

    async def use(client: AnyClient) -> int:
        return len(await client.symbols())

    with trio.fail_after(10):
        assert await run(f"127.0.0.1:1, {server.address}", use) == 3
        assert await run(["127.0.0.1:1", server.address], use) == 3
        with pytest.raises(UnavailableError, match="no daemon answers"):
            await run("127.0.0.1:1,127.0.0.1:2", use)


async def test_a_stream_moves_to_another_address(run: Any) -> None:
    """When the process of a stream ends, the stream goes on at the next address without a hole."""
    first, second = World(clock=trio.current_time), World(clock=trio.current_time)
    second.stored = first.stored
    second.hub._stored = first.stored
    times: list[datetime] = []

    async def use(client: AnyClient) -> None:
        async for bar in client.bars("BTCUSDT", closed_only=True):
            times.append(bar.open_time)
            if len(times) == 3:
                return

    async def until(count: int) -> None:
        while len(times) < count:
            await trio.sleep(0.005)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, open_service(second) as there:
            async with open_service(first) as here:
                nursery.start_soon(run, [here.address, there.address], use)
                while not first.hub.statistics().subscribers:
                    await trio.sleep(0.005)
                first.publish_and_store(close(minute(0), 1))
                await until(1)
                first.stored.store([close(minute(1), 2)])  # while no stream reads it
            while not second.hub.statistics().subscribers:
                await trio.sleep(0.005)
            second.publish(close(minute(2), 3))
            await until(3)
    assert times == [moment(0), moment(1), moment(2)]


@pytest.mark.parametrize("address", ["", "127.0.0.1:1,", [], ["127.0.0.1"]])
async def test_addresses_of_no_form_are_refused(address: Any) -> None:
    """Each of several addresses is checked when the client is opened."""
    with pytest.raises(ValueError, match="not host:port"):
        async with open_trio_client(address):
            pass
    with pytest.raises(ValueError, match="not host:port"):
        async with open_asyncio_client(address):
            pass
    with pytest.raises(ValueError, match="not host:port"):
        SyncClient(address)


async def test_plain_code_gets_bars_and_loops(world: World, server: GrpcServer) -> None:
    """Scripts and notebooks need no async, and closing the client ends its thread and its streams."""
    store(world, 5)
    world.publish(update(minute(5)))

    def script() -> tuple[list[datetime], list[datetime], int]:
        with open_client(server.address) as client:
            bars = client.get_bars("BTCUSDT", limit=2)
            live = []
            for bar in client.bars("BTCUSDT", start=moment(4)):
                live.append(bar.open_time)
                if not bar.closed:
                    break
            with pytest.raises(NotFoundError):
                client.get_bars("XRPUSDT")
            assert client.status().version == "1.2.3"
            return [bar.open_time for bar in bars], live, len(client.symbols())

    with trio.fail_after(20):
        assert await trio.to_thread.run_sync(script) == ([moment(3), moment(4)], [moment(4), moment(5)], 3)
        while world.hub.statistics().subscribers:
            await trio.sleep(0.005)


def test_a_closed_client_says_so() -> None:
    """A call after the end is a sentence."""
    client = SyncClient("127.0.0.1:1")
    with pytest.raises(UnavailableError):
        client.status()
    client.close()
    client.close()
    with pytest.raises(ValueError, match="is closed"):
        client.status()


def test_a_table_of_arrow_is_exact() -> None:
    """Decimals, times and absent ids survive."""
    bars = Bars(fakes.minutes(2, first_trade_id=None, last_trade_id=None))
    table = bars.to_arrow()
    assert table.num_rows == 2
    assert table["volume"][0].as_py() == Decimal("1234567890123.00000001")
    assert table["open_time"][0].as_py() == datetime(2026, 5, 8, 14, 30, tzinfo=UTC)
    assert table["first_trade_id"].null_count == 2


def test_arrow_types_are_those_stored() -> None:
    """A table from the client has the types of the history's columns, so that the two can be joined."""
    schema = Bars().to_arrow().schema
    stored = [field for field in ROW_SCHEMA if field.name in schema.names]
    assert [(field.name, field.type) for field in stored] == [
        (field.name, schema.field(field.name).type) for field in stored
    ]
    assert len(stored) == len(schema) - len(["interval", "closed"])


def test_a_frame_of_pandas_is_exact_or_float() -> None:
    """Decimals stay exact unless floats are asked for."""
    pytest.importorskip("pandas", reason="pandas is not installed: `make examples-test` has it")
    bars = Bars(fakes.minutes(2))
    exact = bars.to_pandas()
    assert exact["volume"][0] == Decimal("1234567890123.00000001")
    assert exact["close"].sum() == Decimal(211)
    assert bars.to_pandas(exact=False)["close"].mean() == 105.5


def test_a_frame_of_polars_is_exact() -> None:
    """Decimals stay exact."""
    pytest.importorskip("polars", reason="polars is not installed: `make examples-test` has it")
    frame = Bars(fakes.minutes(2)).to_polars()
    assert frame["volume"][0] == Decimal("1234567890123.00000001")


def test_a_library_that_is_missing_is_named() -> None:
    """The error says what to install."""
    code = "import sys; sys.modules['polars'] = None; from candled.client import Bars; Bars().to_polars()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "polars is not installed: pip install 'polars'" in done.stderr
