"""The embedded exchange on real sockets of loopback, and settings for a small daemon on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from candled.config.settings import DaemonSettings
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.server import BoundExchange, serve_exchange
from tests.memory_daemon import make_exchange


@asynccontextmanager
async def open_loopback_exchange(exchange: Exchange | None = None) -> AsyncIterator[BoundExchange]:
    """Serve an exchange, a synthetic one unless it is given, on a free port while inside."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        yield await nursery.start(serve_exchange, exchange or make_exchange(), listeners)
        nursery.cancel_scope.cancel()


def loopback_settings(
    directory: Path, bound: BoundExchange, host: str = "127.0.0.1", **more: Any
) -> DaemonSettings:
    """Return settings of a daemon on any free ports.

    Args:
        directory: gets the data directory.
        bound: the exchange.
        host: name of the exchange.
        more: other settings.
    """
    return DaemonSettings(
        symbols=("BTCUSDT",),
        data_dir=directory / "data",
        stream_urls=(f"ws://{host}:{bound.port}",),
        rest_urls=(f"http://{host}:{bound.port}",),
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        loop_held_max=0,
        **more,
    )
