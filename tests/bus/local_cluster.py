"""Ingesters and edges in the test's own process, on a real nats-server and an exchange that runs fast."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.edge import serve_edge
from candled.daemon.ingester import serve_ingester
from candled.daemon.roles import Addresses, Reload, RoleContext, ServeRole
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from tests.bus.servers import Server, open_server
from tests.loopback import open_loopback_exchange
from tests.memory_daemon import START

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PATIENCE = 120.0


@attrs.define(eq=False)
class LocalCluster:
    """Starts members; each runs until ``stop`` of what it returned is set, or the test ends."""

    server: Server
    exchange: str
    """``host:port``."""
    nursery: trio.Nursery

    def settings(self, role: str, **more: Any) -> DaemonSettings:
        """Settings of a member."""
        settings = DaemonSettings(
            role=role,
            symbols=SYMBOLS,
            stream_urls=(f"ws://{self.exchange}",),
            rest_urls=(f"http://{self.exchange}",),
            grpc_address="127.0.0.1:0",
            http_address="127.0.0.1:0",
            loop_held_max=0,
            bus_urls=(self.server.url,),
            bus_replicas=1,
            ingest_hedge=0.05,
        )
        return attrs.evolve(settings, **more)

    async def ingester(self, rank: int = 0, **more: Any) -> trio.Event:
        """Start an ingester; returns what stops it."""
        stop, _ = await self.start(serve_ingester, self.settings("ingest", ingest_rank=rank, **more))
        return stop

    async def edge(self, **more: Any) -> tuple[trio.Event, Addresses]:
        """Start an edge; returns what stops it, and where it serves."""
        return await self.start(serve_edge, self.settings("edge", **more))

    async def start(
        self, serve: ServeRole, settings: DaemonSettings, reload: Reload | None = None
    ) -> tuple[trio.Event, Addresses]:
        """Start a member."""
        stop = trio.Event()
        started = _Started()

        async def run() -> None:
            await serve(RoleContext(settings, stop, reload=reload), task_status=started)

        self.nursery.start_soon(run)
        with trio.fail_after(PATIENCE):
            await started.event.wait()
        assert started.addresses is not None
        return stop, started.addresses


class _Started(trio.TaskStatus[Addresses]):
    def __init__(self) -> None:
        self.event = trio.Event()
        self.addresses: Addresses | None = None

    def started(self, value: Addresses | None = None) -> None:
        assert not self.event.is_set()
        self.addresses = value
        self.event.set()


@asynccontextmanager
async def open_local_cluster(directory: Path, speed: float = 60.0) -> AsyncIterator[LocalCluster]:
    """A nats-server and an exchange while inside; what was started on them ends with it."""
    exchange = Exchange(
        SyntheticMarket(1, SYMBOLS, rate=0.1), ExchangeClock(START, trio.current_time, speed=speed)
    )
    async with (
        open_server(directory) as server,
        open_loopback_exchange(exchange) as bound,
        trio.open_nursery() as nursery,
    ):
        yield LocalCluster(server, f"127.0.0.1:{bound.port}", nursery)
        nursery.cancel_scope.cancel()
