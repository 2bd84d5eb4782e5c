"""The parts that commands open, each imported when it is used; their errors become ``UserError``."""

import os
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from candled.cli.address_option import Target
from candled.cli.query_interrupt import ending_on_ctrl_c
from candled.config.proxies import find_proxies
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.errors import SettingsError, UserError, sentence

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Collection, Iterator
    from datetime import datetime

    import duckdb
    import trio

    from candled.client import TrioClient
    from candled.daemon.roles import Addresses
    from candled.embedded_exchange.server import BoundExchange
    from candled.feed.adapter import RestClient
    from candled.history.objects.cache import HistoryCache
    from candled.telemetry.logging import LogCounts

_READYZ_SECONDS: Final = 2.0
_READYZ_BYTES_MAX: Final = 10_000
_NOT_READY: Final = 503
_OURS: Final = {"DamagedFileError", "ObjectStoreError", "OtherHistoryError"}


class NoDaemonError(UserError):
    """Nothing answers at the address of a daemon."""


@attrs.frozen
class StoredHistory:
    """A history in an object store, and how it is read."""

    url: str
    endpoint: str | None = None
    symbols: tuple[str, ...] | None = None
    """Those that are read; None: all."""
    since: int | None = None
    """Time from which on sealed files are read, microseconds; None: all."""
    cache_dir: Path | None = None
    cache_bytes: int | None = None


@contextmanager
def connect_history(
    history: "Path | StoredHistory", *, symbols: "Collection[str] | None" = None, check: bool = True
) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Open a DuckDB connection with the view ``bars``.

    Args:
        history: The data directory, or a history in an object store.
        symbols: Those whose sealed files are read; None: all.
        check: Whether files are compared with their checksums.

    Raises:
        UserError: there is no history there, or a file of it is damaged.
        KeyboardInterrupt: Ctrl-C ended a query.
    """
    import duckdb

    from candled.history import connect

    where: Path | str
    options: dict[str, Any] = {}
    if isinstance(history, StoredHistory):
        where, symbols = history.url, history.symbols if symbols is None else symbols
        options = attrs.asdict(history, filter=attrs.filters.exclude("url", "symbols"))
    else:
        where = history
    with (
        interruptible(),
        connect(where, symbols=symbols, check=check, **options) as connection,
        ending_on_ctrl_c(connection),
    ):
        try:
            yield connection
        except duckdb.InvalidInputException as error:
            if (damaged := damaged_file(error)) is None:
                raise
            raise damaged from error


def open_history_cache(history: StoredHistory) -> "HistoryCache":
    """Open the local cache of a history in an object store.

    Raises:
        UserError: the store does not answer, or holds no history.
    """
    from candled.history.objects.bucket import open_bucket
    from candled.history.objects.cache import DEFAULT_BYTES, HistoryCache

    bucket = open_bucket(history.url, history.endpoint)
    return HistoryCache(bucket, history.cache_dir, history.cache_bytes or DEFAULT_BYTES)


def damaged_file(error: Exception) -> UserError | None:
    """Return the error for a damaged file, or a store that is away, that a query raised as DuckDB's or Arrow's.

    None for another error.
    """
    from candled.history.query.live_files import find_error

    found = find_error(str(error))
    return UserError(sentence(found[1])) if found and found[0] in _OURS else None


@contextmanager
def interruptible() -> "Iterator[None]":
    """Turn DuckDB's errors for Ctrl-C during a query into ``KeyboardInterrupt``."""
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError) as error:
        if not is_interrupt(error):
            raise
        raise KeyboardInterrupt from None


def is_interrupt(error: Exception) -> bool:
    """Return whether DuckDB raised this because of Ctrl-C: by its own check, by ours, or while it listed files."""
    import duckdb

    from candled.history.query.live_files import find_error

    if isinstance(error, duckdb.InvalidInputException):
        found = find_error(str(error))
        return found is not None and found[0] == "KeyboardInterrupt"
    return isinstance(error, duckdb.InterruptException) or str(error) == "Query interrupted"


@asynccontextmanager
async def open_client(target: Target) -> "AsyncIterator[TrioClient]":
    """Open a client of a daemon.

    Raises:
        NoDaemonError: nothing answers at the address.
        UserError: the daemon refuses, or a file of the target cannot be used.
    """
    from candled.client import ClientError, open_trio_client

    try:
        async with open_trio_client(target.address, tls=_tls(target), token=_token(target)) as client:
            yield client
    except ClientError as error:
        if error.text.startswith("no daemon answers"):
            raise NoDaemonError(
                f"No daemon answers at {target.address}: start one with `candled run` or `candled demo`, "
                "or give --address; a daemon with TLS needs --tls or --ca."
            ) from error
        raise UserError(sentence(error.text)) from error


def starting_reasons(address: str) -> tuple[str, ...]:
    """Ask the HTTP port of a daemon why it is not ready: it answers before the gRPC port is open.

    Returns:
        The sentences of ``/readyz``; none if nothing answers at ``address``, or something else does.
    """
    from http.client import HTTPConnection, HTTPException

    host, _, port = address.rpartition(":")
    connection = HTTPConnection(host.removeprefix("[").removesuffix("]"), int(port), timeout=_READYZ_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(_READYZ_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ()
    finally:
        connection.close()
    is_daemon = answer.status == _NOT_READY and text.startswith("The daemon ")
    return tuple(text.splitlines()) if is_daemon else ()


def _tls(target: Target) -> "ssl.SSLContext | bool":
    if target.authority is None:
        return target.tls
    import ssl

    try:
        return ssl.create_default_context(cafile=target.authority)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"Certificates of --ca {target.authority} cannot be used: {error.strerror or error}; give a PEM file."
        ) from error


def _token(target: Target) -> str | None:
    if target.token_file is None:
        return None
    try:
        return target.token_file.read_text().strip()
    except OSError as error:
        raise UserError(
            f"Token file {target.token_file} cannot be read: {error.strerror}; name another with --token-file."
        ) from error


@asynccontextmanager
async def open_exchange(settings: DaemonSettings) -> "AsyncIterator[RestClient]":
    """Open a client of the REST side of the exchange that the settings name.

    Raises:
        UserError: the exchange does not answer or refuses.
    """
    from candled.feed.errors import FeedError, UnknownSymbolError
    from candled.feed.registry import find_adapter
    from candled.feed.transport.proxy import proxied_network

    adapter = find_adapter(settings.exchange)
    network = proxied_network(find_proxies(settings.proxy, os.environ), settings.rest_urls)
    try:
        async with adapter.open_rest(settings.rest_urls, settings.rest_weight_per_minute, network) as rest:
            yield rest
    except UnknownSymbolError:
        raise
    except FeedError as error:
        reason = str(error.args[0]).rstrip(".")
        raise UserError(
            f"The exchange cannot be queried: {reason}; `candled doctor` checks the connection."
        ) from error


async def run_daemon(
    settings: DaemonSettings,
    logs: "LogCounts",
    reread: "Callable[[], DaemonSettings] | None" = None,
    *,
    observe_start: "Callable[[str, str], None] | None" = None,
    task_status: "trio.TaskStatus[Addresses] | None" = None,
) -> None:
    """Run the daemon until a signal stops it; see ``candled.daemon.run.run_daemon``."""
    import trio

    from candled.daemon.run import run_daemon as run

    proxies = find_proxies(settings.proxy, os.environ)
    await run(
        settings,
        proxies=proxies,
        reread=reread,
        logs=logs,
        observe_start=observe_start,
        task_status=task_status or trio.TASK_STATUS_IGNORED,
    )


async def serve_exchange(
    settings: ExchangeSettings,
    *,
    start: "datetime | None" = None,
    task_status: "trio.TaskStatus[BoundExchange] | None" = None,
) -> None:
    """Run the embedded exchange until cancelled; its clock shows ``start`` now, or what the settings say.

    Raises:
        SettingsError: a setting is not usable, or the address is not available.
    """
    import trio

    from candled.embedded_exchange.server import serve

    microseconds = None if start is None else round(start.timestamp() * 1_000_000)
    async with trio.open_nursery() as nursery:
        try:
            bound = await nursery.start(partial(serve, settings, start=microseconds))
        except (ValueError, OSError) as error:
            raise SettingsError(f"The embedded exchange cannot start: {str(error).rstrip('.')}.") from error
        (task_status or trio.TASK_STATUS_IGNORED).started(bound)
