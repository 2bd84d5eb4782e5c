"""No request holds the event loop, however much it asks for: with thousands of symbols and the largest pages."""

from collections.abc import Iterable

import httpx
import pytest
import trio
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from candled.api import candles_pb2 as pb
from candled.domain.interval import INTERVALS
from candled.domain.status import DaemonStatus, Gap, GapState, SymbolStatus
from candled.engine.rollup import RollUp
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import open_grpc_server
from candled.stream.hub import Hub
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http
from tests.loop_watch import watching_loop
from tests.stream.grpc_client import Reader, dial, in_thread
from tests.stream.support import Stored, World, close, minute, open_service, update

NAMES = tuple(f"COIN{number}USDT" for number in range(3_000))


@pytest.fixture(scope="module")
def rollup() -> RollUp:
    """A forming minute of each of thousands of symbols."""
    rollup = RollUp()
    for name in NAMES:
        rollup.apply([close(minute(0, symbol=name), 1), update(minute(1, symbol=name))])
    return rollup


class Market:
    """A daemon of thousands of symbols."""

    def __init__(self, rollup: RollUp) -> None:
        self.hub = Hub(
            clock=trio.current_time,
            snapshot=rollup.forming,
            symbols=lambda: NAMES,
            stored=Stored(),
            backlog_max=100_000,
        )

    def status(self) -> DaemonStatus:
        gaps = tuple(Gap(first, first, GapState.OPEN, "The budget is used up.") for first in range(20))
        return DaemonStatus(
            version="1.2.3",
            start_time=0,
            exchange="test exchange",
            exchange_time=0,
            not_ready_reasons=(),
            symbols=tuple(
                SymbolStatus(symbol=name, trading_status="TRADING", live=True, gaps=gaps) for name in NAMES
            ),
        )


@pytest.fixture
async def market(rollup: RollUp) -> Market:
    return Market(rollup)


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
async def test_snapshots_of_everything(market: Market, plain: bool) -> None:
    """A stream of all intervals of a thousand symbols gets every snapshot, a few at a time."""
    names = NAMES[:1_000]
    async with open_grpc_server(
        "127.0.0.1:0", hub=market.hub, stored=Stored(), status=market.status, plain=plain
    ) as server:
        with dial(server.address) as client, trio.fail_after(30):
            async with watching_loop():
                request = pb.StreamBarsRequest(symbols=names, intervals=list(INTERVALS))
                reader = Reader(client.stream_bars(request))
                while len(reader.messages) < len(names) * len(INTERVALS):
                    await trio.sleep(0.05)
            found = {(message.bar.symbol, message.bar.interval) for message in reader.messages}
            assert len(found) == len(names) * len(INTERVALS)
            reader.cancel()


async def test_the_status_of_everything(market: Market) -> None:
    """The status of all symbols with many gaps is written in a thread."""
    async with open_grpc_server("127.0.0.1:0", hub=market.hub, stored=Stored(), status=market.status) as server:
        with dial(server.address, max_receive_message_length=-1) as client, trio.fail_after(30):
            async with watching_loop():
                answer = await in_thread(client.GetStatus, pb.GetStatusRequest())
            assert len(answer.symbols) == len(NAMES)


async def test_a_page_of_the_largest_size() -> None:
    """The largest page of bars is written in a thread."""
    world = World(clock=trio.current_time)
    bars = [minute(index) for index in range(50_000)]

    async def every_bar(*_query: object) -> list[object]:
        await trio.lowlevel.checkpoint()
        return list(bars)

    world.stored.bars = every_bar  # type: ignore[method-assign, assignment]
    async with open_service(world, Limits(page_size_max=50_000)) as server:
        with dial(server.address, max_receive_message_length=-1) as client, trio.fail_after(30):
            async with watching_loop():
                answer = await in_thread(client.GetBars, pb.GetBarsRequest(symbol="BTCUSDT", page_size=50_000))
            assert len(answer.bars) == 50_000


class ManySymbols(Collector):
    """Metrics that have a sample for each of thousands of symbols, many of them."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for number in range(40):
            family = GaugeMetricFamily(f"candled_test_{number}", "A number.", labels=["symbol"])
            for name in NAMES:
                family.add_metric([name], number)
            yield family


async def test_the_http_port_with_many_symbols(market: Market) -> None:
    """Metrics, status, symbols and a stream of all symbols are made in threads or a few at a time."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(
            lambda task_status: serve_http(
                "127.0.0.1:0",
                not_ready_reasons=tuple,
                collectors=[ManySymbols()],
                chart=lambda: ChartSource(market.hub, Stored(), market.status),
                task_status=task_status,
            )
        )
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            for path in ("/metrics", "/api/status", "/api/symbols"):
                async with watching_loop(), client.stream("GET", path) as answer:
                    assert answer.status_code == 200
                    size = sum([len(part) async for part in answer.aiter_bytes()])
                assert size > len(NAMES) * 8
            async with watching_loop(), client.stream("GET", "/api/stream") as answer:
                text = b""
                async for part in answer.aiter_bytes():
                    text += part
                    if text.count(b"event: bar") >= len(NAMES):
                        break
        nursery.cancel_scope.cancel()
