"""The client for scripts and notebooks: plain calls and loops, no ``async``.

A thread of its own runs the Trio client, so it works where another event loop runs, as in Jupyter.
"""

import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar

import trio

from candled.client.bars import Bars
from candled.client.model import Bar, Status, Symbol
from candled.client.trio_client import TrioClient, open_trio_client

_CLOSED: Final = "the client is closed: open another"

T = TypeVar("T")


class SyncClient:
    """Calls to one daemon from ordinary code. Close it, or use ``open_client``.

    It may be used by several threads; methods block until the daemon has answered.

    Example:
        ```python
        client = SyncClient("127.0.0.1:50051")
        newest = client.get_bars("BTCUSDT", limit=1)
        client.close()
        print(newest)
        ```
    """

    def __init__(
        self,
        address: str | Sequence[str] = "127.0.0.1:50051",
        *,
        tls: ssl.SSLContext | bool = False,
        token: str | None = None,
    ) -> None:
        """Open a client; arguments and errors are those of ``open_trio_client``."""
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._client: TrioClient | None = None
        self._thread = threading.Thread(
            target=self._run, args=(address, tls, token), name="candled client", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the client's thread; loops over its bars raise."""
        if self._thread.is_alive():
            trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
            self._thread.join()

    def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> Bars:
        """See ``TrioClient.get_bars``.

        Example:
            ```python
            start = datetime(2026, 5, 8, tzinfo=UTC)
            day = client.get_bars("BTCUSDT", "1m", start, start + timedelta(days=1))
            print(sum(bar.volume for bar in day))
            ```
        """
        return self._await(lambda client: client.get_bars(symbol, interval, start, end, limit=limit))

    def symbols(self) -> list[Symbol]:
        """See ``TrioClient.symbols``.

        Example:
            ```python
            print([symbol.symbol for symbol in client.symbols()])
            ```
        """
        return self._await(lambda client: client.symbols())

    def status(self) -> Status:
        """See ``TrioClient.status``.

        Example:
            ```python
            print(client.status().not_ready_reasons)
            ```
        """
        return self._await(lambda client: client.status())

    def bars(
        self,
        symbols: str | Sequence[str] = (),
        interval: str = "1m",
        *,
        start: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0.0,
    ) -> Iterator[Bar]:
        """Yield live bars, as ``TrioClient.bars`` does; leaving the loop ends the stream.

        Example:
            ```python
            for bar in client.bars(["BTCUSDT", "ETHUSDT"], max_updates_per_second=1):
                print(bar.symbol, bar.close)
            ```
        """
        stream = self._opened().bars(
            symbols,
            interval,
            start=start,
            closed_only=closed_only,
            max_updates_per_second=max_updates_per_second,
        )
        try:
            while True:
                yield self._await(lambda _client: stream.__anext__())
        finally:
            if self._thread.is_alive():
                self._await(lambda _client: stream.aclose())

    def _run(self, address: str | Sequence[str], tls: ssl.SSLContext | bool, token: str | None) -> None:
        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            async with open_trio_client(address, tls=tls, token=token) as client:
                self._client = client
                self._ready.set()
                await self._stop.wait()

        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that opens the client
            self._failure = error
        finally:
            self._ready.set()

    def _await(self, call: Callable[[TrioClient], Awaitable[T]]) -> T:
        client = self._opened()
        try:
            return trio.from_thread.run(call, client, trio_token=self._token)
        except (trio.Cancelled, trio.RunFinishedError):
            raise ValueError(_CLOSED) from None

    def _opened(self) -> TrioClient:
        if self._client is None or not self._thread.is_alive():
            raise ValueError(_CLOSED)
        return self._client


@contextmanager
def open_client(
    address: str | Sequence[str] = "127.0.0.1:50051",
    *,
    tls: ssl.SSLContext | bool = False,
    token: str | None = None,
) -> Iterator[SyncClient]:
    """Open a client for ordinary code; arguments and errors are those of ``open_trio_client``.

    Example:
        ```python
        with open_client("127.0.0.1:50051") as client:
            print(client.get_bars("BTCUSDT", "1h", limit=24))
        ```
    """
    client = SyncClient(address, tls=tls, token=token)
    try:
        yield client
    finally:
        client.close()
