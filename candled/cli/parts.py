"""The parts that commands open, each imported when it is used."""

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from candled.settings import DaemonSettings, ExchangeSettings


class Client(Protocol):
    """What commands use of ``candled.client``'s Trio client."""

    def stream_bars(
        self,
        *,
        symbols: Sequence[str] = (),
        intervals: Sequence[str] = (),
        start_time: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Messages about bars as they come."""

    def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> Any:
        """Closed bars, oldest first."""

    async def symbols(self) -> Any:
        """The symbols served."""

    async def status(self) -> Any:
        """How the daemon fares."""


def connect_history(data_dir: Path) -> Any:
    """A DuckDB connection with the view ``bars``."""
    return importlib.import_module("candled.history").connect(data_dir)


def open_client(address: str) -> AbstractAsyncContextManager[Client]:
    """A client of the daemon at ``host:port``."""
    opened: AbstractAsyncContextManager[Client] = importlib.import_module("candled.client").open_trio_client(
        address
    )
    return opened


def daemon() -> Callable[..., Awaitable[None]]:
    """``run_daemon(settings, *, task_status)``."""
    run: Callable[..., Awaitable[None]] = importlib.import_module("candled.daemon").run_daemon
    return run


def exchange() -> Callable[..., Awaitable[None]]:
    """``serve(settings, *, task_status)`` of the embedded exchange."""
    serve: Callable[..., Awaitable[None]] = importlib.import_module("candled.exchange.server").serve
    return serve


__all__ = ["Client", "DaemonSettings", "ExchangeSettings", "connect_history", "daemon", "exchange", "open_client"]
