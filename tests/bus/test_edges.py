"""Edges that serve one log: any of them continues what another began."""

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import trio

from candled.bus.nats.connection import Nats
from candled.bus.nats.jetstream import JetStream
from candled.client import ClientError, InvalidArgumentError, Kind, Message, NotFoundError, open_trio_client
from candled.config.settings import DaemonSettings
from candled.daemon.edge import serve_edge
from candled.daemon.ingester import serve_ingester
from candled.daemon.older_bars import with_older_bars
from candled.daemon.roles import Reload, RoleContext, ServeRole
from candled.errors import UserError
from candled.history.objects.bucket import open_bucket
from candled.history.replica import Replica
from tests.bus.local_cluster import PATIENCE, open_local_cluster
from tests.bus.servers import connected
from tests.bus.subscriber import Subscriber
from tests.history.bars import minute
from tests.history.objects.support import caught_up, keep, open_copied, url_of

INTERVALS = ("1m", "3m", "5m")

pytestmark = pytest.mark.timeout(300)  # a busy machine is slow, and the exchange does not wait for it


async def closed(
    address: str, count: int, token: str = "", symbols: Sequence[str] = ("BTCUSDT",)
) -> list[Message]:
    """The next closed bars of an edge, live or from a token on."""
    found: list[Message] = []
    with trio.fail_after(PATIENCE):
        async with (
            open_trio_client(address) as client,
            client.stream_bars(
                symbols=symbols, intervals=INTERVALS, closed_only=True, resume_token=token, reconnect=False
            ) as stream,
        ):
            async for message in stream:
                found.append(message)
                if len(found) == count:
                    break
    return found


async def ready(http: str, *, is_ready: bool = True) -> str:
    """Wait until a member is ready, or not; what it says."""
    with trio.fail_after(PATIENCE):
        async with httpx.AsyncClient() as client:
            while True:
                answer = await client.get(f"http://{http}/readyz")
                if (answer.status_code == 200) == is_ready:
                    return answer.text
                await trio.sleep(0.05)


@pytest.mark.slow
async def test_a_token_is_valid_at_every_edge(tmp_path: Path) -> None:
    """Both edges give each revision of every interval the same token; one started later resumes from any."""
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.ingester()
        _, one = await cluster.edge()
        begin, *more = await closed(one.grpc, 3)
        _, other = await cluster.edge()
        live: dict[str, list[Message]] = {}

        async def follow(address: str) -> None:
            live[address] = await closed(address, 24)  # three minutes close 8 bars, and they begin apart

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, one.grpc)
            nursery.start_soon(follow, other.grpc)
        resumed = await closed(other.grpc, 9, begin.resume_token)

    first, second = (
        {(each.bar.interval, each.bar.open_time, each.bar.revision): each for each in live[edge.grpc]}
        for edge in (one, other)
    )
    both = first.keys() & second.keys()
    assert {key[0] for key in both} >= {"1m", "3m"}
    for key in both:
        assert (first[key].bar, first[key].resume_token) == (second[key].bar, second[key].resume_token)
    assert {(each.bar.interval, each.bar.open_time) for each in more} <= {
        (each.bar.interval, each.bar.open_time) for each in resumed
    }


async def test_updates_reach_every_edge(tmp_path: Path) -> None:
    """An edge streams forming bars of all intervals, and knows those of quiet symbols at its start."""
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.ingester()
        _, one = await cluster.edge()
        kinds: set[tuple[Kind, str]] = set()
        with trio.fail_after(PATIENCE):
            async with (
                open_trio_client(one.grpc) as client,
                client.stream_bars(intervals=("1m", "5m"), reconnect=False) as stream,
            ):
                async for message in stream:
                    kinds.add((message.kind, message.bar.interval))
                    if kinds >= {(kind, name) for kind in (Kind.UPDATE, Kind.CLOSE) for name in ("1m", "5m")}:
                        break
            async with open_trio_client(one.grpc) as client:
                status = await client.status()
                assert {symbol.symbol: symbol.live for symbol in status.symbols} == {
                    "BTCUSDT": True,
                    "ETHUSDT": True,
                }
                bars = await client.get_bars("BTCUSDT", "1m")
                assert len(bars) >= 3


@pytest.mark.slow
async def test_older_bars_come_from_the_object_store(tmp_path: Path) -> None:
    """``GetBars`` and the chart reach back beyond the log, in every interval."""
    first = -54 * 1440  # of the day on which the exchange's clock begins, at noon
    older = [minute(number) for number in range(first, first + 120)]
    url = url_of(tmp_path / "store")
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.ingester()
        async with connected(cluster.server) as nats:
            state = await JetStream(nats).log_state("CANDLED_BINANCE")
        bucket = open_bucket(url)
        async with open_copied(tmp_path / "data", bucket, exchange=state.exchange) as (history, uploader):
            await keep(history, older)
            await caught_up(history, uploader, bucket)
        _, edge = await cluster.edge(history_url=url, cache_dir=tmp_path / "cache")
        async with open_trio_client(edge.grpc) as client:
            minutes = await client.get_bars("BTCUSDT", "1m")
            hours = await client.get_bars("BTCUSDT", "1h", end=minutes[119].close_time)
        end = (older[-1].close_time) // 1000
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            query = {"symbol": "BTCUSDT", "interval": "1m", "end_time": str(end)}
            page = (await http.get(f"http://{edge.http}/api/bars", params=query)).json()

    assert [bar.first_trade_id for bar in minutes[:120]] == [bar.first_trade_id for bar in older]
    assert len(minutes) > 120
    assert minutes[120].open_time > minutes[119].close_time  # the log's own
    assert [hour.complete for hour in hours] == [True, True]
    assert len(page["bars"]) == 120
    assert page["older"] is False


async def test_a_store_of_another_exchange_is_refused(tmp_path: Path) -> None:
    """An edge does not begin with bars of another market in its past."""
    bucket = open_bucket(url_of(tmp_path / "store"))
    async with open_copied(tmp_path / "data", bucket, exchange="another") as (history, uploader):
        await keep(history, [minute(0)])
        await caught_up(history, uploader, bucket)
    settings = DaemonSettings(role="edge", history_url=url_of(tmp_path / "store"), cache_dir=tmp_path / "cache")
    with pytest.raises(UserError, match="has bars of another, not of this one"):
        await with_older_bars(settings, Replica("0123456789abcdef", 1_000), "this one")


@pytest.mark.slow
async def test_a_second_ingester_takes_over(tmp_path: Path) -> None:
    """One of rank 1 is silent beside one of rank 0, and goes on when that one ends; no bar comes twice."""
    async with open_local_cluster(tmp_path) as cluster:
        first = await cluster.ingester(0)
        await cluster.ingester(1)
        _, edge = await cluster.edge()
        begin = (await closed(edge.grpc, 4))[-1]
        first.set()
        after = await closed(edge.grpc, 8, begin.resume_token)

    keys = [(each.bar.interval, each.bar.open_time, each.bar.revision) for each in after]
    assert len(set(keys)) == len(keys)
    assert max(each.bar.open_time for each in after) > begin.bar.open_time


@pytest.mark.slow
async def test_two_ingesters_of_one_rank(tmp_path: Path) -> None:
    """By mistake neither waits for the other: updates come twice to the edges, and once to their clients."""
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.ingester(0)
        await cluster.ingester(0)
        _, edge = await cluster.edge()
        subscriber = Subscriber([edge.grpc])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscriber.run)
            with trio.fail_after(PATIENCE):
                while len(subscriber.closed) < 20:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    assert subscriber.faults == []
    assert len(subscriber.times) > len(subscriber.closed)


@pytest.mark.slow
async def test_replaced_log_is_filled_again(tmp_path: Path) -> None:
    """When the log is removed, ingesters fill a new one from memory; tokens of the old one are refused."""
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.ingester()
        _, edge = await cluster.edge()
        old = (await closed(edge.grpc, 6))[-1]
        async with connected(cluster.server) as nats:
            await JetStream(nats).call("STREAM.DELETE.CANDLED_BINANCE")
        await refused(edge.grpc, old.resume_token)
        new = await closed(edge.grpc, 3)
        async with open_trio_client(edge.grpc) as client:
            bars = {bar.open_time: bar for bar in await client.get_bars("BTCUSDT", "1m")}

    assert new[-1].resume_token != old.resume_token
    assert min(bars) <= old.bar.open_time


async def refused(address: str, token: str) -> None:
    """Wait until a token is refused for good."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await closed(address, 1, token)
            except InvalidArgumentError as error:
                assert "use start_time" in error.text  # noqa: PT017 - what comes before may fail otherwise
                return
            except ClientError:
                await trio.sleep(0.05)


@pytest.mark.slow
async def test_symbols_follow_the_ingesters(tmp_path: Path) -> None:
    """A symbol that no ingester builds any more leaves the edges, without a restart."""
    async with open_local_cluster(tmp_path) as cluster:
        settings = cluster.settings("ingest")
        ask, requests = trio.open_memory_channel[None](1)
        less = cluster.settings("ingest", symbols=("ETHUSDT",))
        await cluster.start(serve_ingester, settings, Reload(lambda: less, requests))
        _, edge = await cluster.edge()
        await closed(edge.grpc, 1)
        await ask.send(None)
        await gone(edge.grpc)
        assert await closed(edge.grpc, 1, symbols=("ETHUSDT",))


async def gone(address: str) -> None:
    """Wait until an edge does not serve the symbol any more."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await closed(address, 1)
            except NotFoundError as error:
                assert "BTCUSDT" in error.text  # noqa: PT017 - it is served at first
                return


@pytest.mark.slow
async def test_an_edge_says_what_it_lacks(tmp_path: Path) -> None:
    """Without an ingester, and without the bus, an edge is not ready and says why; it serves what it has."""
    async with open_local_cluster(tmp_path) as cluster:
        stop = await cluster.ingester()
        _, edge = await cluster.edge()
        await ready(edge.http)
        await closed(edge.grpc, 2)
        stop.set()
        assert await ready(edge.http, is_ready=False) == "No ingester reports on the bus.\n"
        async with open_trio_client(edge.grpc) as client:
            assert await client.get_bars("BTCUSDT", "1m")
        cluster.server.kill()
        with trio.fail_after(PATIENCE):
            while "cannot be reached" not in await ready(edge.http, is_ready=False):
                await trio.sleep(0.05)
        cluster.server.start()


async def test_a_log_of_another_exchange_is_refused(tmp_path: Path) -> None:
    """An ingester of another exchange does not append to a log."""
    async with open_local_cluster(tmp_path) as cluster:
        stop = await cluster.ingester()
        stop.set()
        async with connected(cluster.server) as nats:
            await rename_exchange(nats)
        with pytest.raises((UserError, ExceptionGroup)) as caught:
            await serve_ingester(RoleContext(cluster.settings("ingest"), trio.Event()))
        assert "holds bars of another, and this is candled-embedded" in sentence_of(caught.value)


def sentence_of(error: BaseException) -> str:
    """What a user reads of an error, alone or in groups."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, UserError)
    return str(error)


async def rename_exchange(nats: Nats) -> None:
    answer = await JetStream(nats).call("STREAM.INFO.CANDLED_BINANCE")
    config = answer["config"]
    config["metadata"]["candled-exchange"] = "another"
    await JetStream(nats).call("STREAM.UPDATE.CANDLED_BINANCE", config)


@pytest.mark.parametrize("serve", [serve_edge, serve_ingester])
async def test_a_role_needs_a_bus(serve: ServeRole) -> None:
    """Without the bus's address a role ends with a sentence."""
    with pytest.raises((UserError, ExceptionGroup)) as caught:
        await serve(RoleContext(DaemonSettings(role="edge", http_address="127.0.0.1:0"), trio.Event()))
    assert "--bus-urls nats://host:4222" in sentence_of(caught.value)
