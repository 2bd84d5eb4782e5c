"""The parts that commands open, each imported when it is used; their errors come as users' errors."""

from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from candled.cli.address_option import Target
from candled.errors import SettingsError, UserError
from candled.logs import LogCounts
from candled.settings import DaemonSettings, ExchangeSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import duckdb

    from candled.client import TrioClient
    from candled.daemon import Addresses
    from candled.exchange.server import BoundExchange
    from candled.feed.binance.rest import BinanceRest


@contextmanager
def connect_history(data_dir: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A DuckDB connection with the view ``bars``.

    Raises:
        UserError: there is no history in that directory.
        KeyboardInterrupt: Ctrl-C ended a query.
    """
    from candled.history import connect

    with interruptible(), connect(data_dir) as connection:
        yield connection


@contextmanager
def interruptible() -> "Iterator[None]":
    """Ctrl-C within a query of DuckDB, which has an error of its own for it, is Ctrl-C here too."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from None


@asynccontextmanager
async def open_client(target: Target) -> "AsyncIterator[TrioClient]":
    """A client of a daemon.

    Raises:
        UserError: it does not answer, or refuses; or a file that the target names cannot be used.
    """
    from candled.client import ClientError, open_trio_client

    try:
        async with open_trio_client(target.address, tls=_tls(target), token=_token(target)) as client:
            yield client
    except ClientError as error:
        if error.text.startswith("no daemon answers"):
            raise UserError(
                f"No daemon answers at {target.address}: start one with `candled run` or `candled demo`, "
                "or give --address; one that speaks TLS answers --tls or --ca alone."
            ) from error
        raise UserError(f"{error.text[:1].upper()}{error.text[1:].rstrip('.')}.") from error


def _tls(target: Target) -> "ssl.SSLContext | bool":
    if target.authority is None:
        return target.tls
    import ssl

    try:
        return ssl.create_default_context(cafile=target.authority)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"--ca {target.authority} cannot be used: {error.strerror or error}.") from error


def _token(target: Target) -> str | None:
    if target.token_file is None:
        return None
    try:
        return target.token_file.read_text().strip()
    except OSError as error:
        raise UserError(f"--token-file {target.token_file} cannot be read: {error.strerror}.") from error


@asynccontextmanager
async def open_exchange(urls: "Sequence[str]", weight_per_minute: int) -> "AsyncIterator[BinanceRest]":
    """The REST side of the exchange.

    Raises:
        UserError: it does not answer, or refuses.
    """
    from candled.feed.binance.rest import open_rest
    from candled.feed.interface import FeedError

    try:
        async with open_rest(urls, weight_per_minute) as rest:
            yield rest
    except FeedError as error:
        raise UserError(f"The exchange could not be asked: {error.args[0]}.") from error


async def run_daemon(
    settings: DaemonSettings,
    logs: LogCounts,
    reread: "Callable[[], DaemonSettings] | None" = None,
    *,
    task_status: "trio.TaskStatus[Addresses]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """The daemon, until a signal ends it; ``logs`` counts the lines for its metrics, SIGHUP lets it ``reread``."""
    from candled.daemon import run_daemon as run

    await run(settings, reread=reread, logs=logs, task_status=task_status)


async def serve_exchange(
    settings: ExchangeSettings, *, task_status: "trio.TaskStatus[BoundExchange]" = trio.TASK_STATUS_IGNORED
) -> None:
    """The embedded exchange, until cancelled.

    Raises:
        SettingsError: a setting makes no sense, or the address is not to be had.
    """
    from candled.exchange.server import serve

    async with trio.open_nursery() as nursery:
        try:
            bound = await nursery.start(serve, settings)
        except (ValueError, OSError) as error:
            raise SettingsError(f"The embedded exchange cannot start: {str(error).rstrip('.')}.") from error
        task_status.started(bound)
