"""Shared base of the Trio and asyncio clients: every call. They differ only in how they wait."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Literal, overload

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.bars import Bars
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_bar, decode_status, decode_symbols
from candled.client.model import Bar, ClientError, Heartbeat, Message, Status, Symbol


class BarStream(ABC):
    """The messages of one stream, which may span several calls."""

    def __init__(self, plan: BarStreamPlan) -> None:
        self._plan = plan

    def __aiter__(self) -> "BarStream":
        return self

    async def __anext__(self) -> Message | Heartbeat:
        while True:
            try:
                message = await self._next()
            except ClientError as error:
                await self.aclose()
                delay = self._plan.failed(error)
                if error.code in calls.ELSEWHERE:
                    self._leave()
                await self._sleep(delay)
                continue
            if self._plan.received(message):
                return message

    @abstractmethod
    async def aclose(self) -> None:
        """Cancel the call, if one is open."""

    @abstractmethod
    def abandon(self) -> None:
        """Cancel the call without waiting, from the client's own event loop."""

    @abstractmethod
    async def _next(self) -> Message | Heartbeat:
        """Return the next message of the open call, or of a new one."""

    @abstractmethod
    def _leave(self) -> None:
        """Have the next call go to another address, if there are several."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...


class LiveBars:
    """Bars of one stream, to loop over. Also an async context manager, for an end at a certain place.

    Example:
        ```python
        async with client.bars("BTCUSDT") as live:
            bar = await anext(live)
        print(bar.close)
        ```
    """

    def __init__(self, stream: BarStream) -> None:
        self._stream = stream

    def __aiter__(self) -> "LiveBars":
        return self

    async def __anext__(self) -> Bar:
        message = await anext(self._stream)
        assert isinstance(message, Message)  # no heartbeats were asked for
        return message.bar

    async def __aenter__(self) -> "LiveBars":
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        """End the stream when the loop over it was left."""
        self._stream.abandon()

    async def aclose(self) -> None:
        """End the stream."""
        await self._stream.aclose()


class Client(ABC):
    """Calls to one daemon over one connection."""

    @abstractmethod
    def _open_stream(self, plan: BarStreamPlan) -> BarStream: ...

    @property
    @abstractmethod
    def _tries(self) -> int:
        """How many addresses there are."""

    @abstractmethod
    async def _call_once(self, method: Method, request: Any) -> Any:
        """Send one request and return its response; after a failure the next one goes to another address."""

    async def _call(self, method: Method, request: Any) -> Any:
        """Send one request, to each address in turn until one has an answer, and return it."""
        for left in range(self._tries - 1, -1, -1):
            try:
                return await self._call_once(method, request)
            except ClientError as error:
                if not left or error.code not in calls.ELSEWHERE:
                    raise
        raise AssertionError("there is an address")

    @overload
    def stream_bars(
        self,
        *,
        symbols: Sequence[str] = (),
        intervals: Sequence[str] = ("1m",),
        start_time: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0.0,
        resume_token: str = "",
        reconnect: bool = True,
        heartbeats: Literal[False] = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[Message]]: ...

    @overload
    def stream_bars(
        self,
        *,
        symbols: Sequence[str] = (),
        intervals: Sequence[str] = ("1m",),
        start_time: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0.0,
        resume_token: str = "",
        reconnect: bool = True,
        heartbeats: Literal[True],
    ) -> AbstractAsyncContextManager[AsyncIterator[Message | Heartbeat]]: ...

    @asynccontextmanager
    async def stream_bars(
        self,
        *,
        symbols: Sequence[str] = (),
        intervals: Sequence[str] = ("1m",),
        start_time: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0.0,
        resume_token: str = "",
        reconnect: bool = True,
        heartbeats: bool = False,
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """Stream live bars as an async iterator that survives reconnects and restarts of the daemon.

        Args:
            symbols: empty for all.
            intervals: such as ``["1m", "1h"]``.
            start_time: replay stored bars from this open time on before live ones.
            closed_only: only CLOSE and REVISION.
            max_updates_per_second: for each symbol and interval; 0 for an update on every trade.
            resume_token: of the last message handled, from an earlier stream.
            reconnect: resume automatically after a break, without a time limit; otherwise raise.
            heartbeats: also yield a ``Heartbeat`` after each 15 s without a bar.

        Raises:
            ValueError: a string instead of a list, or a time without time zone.
            ClientError: while iterating: the daemon refuses, no daemon answers the first call, or the stream broke
                and ``reconnect`` is False.

        Example:
            ```python
            async with client.stream_bars(intervals=["1m", "1h"], closed_only=True) as messages:
                async for message in messages:
                    print(message.kind, message.bar.close, message.resume_token)
            ```
        """
        plan = BarStreamPlan(
            symbols=symbols,
            intervals=intervals,
            start_time=start_time,
            closed_only=closed_only,
            max_updates_per_second=max_updates_per_second,
            resume_token=resume_token,
            reconnect=reconnect,
            heartbeats=heartbeats,
            addresses=self._tries,
        )
        stream = self._open_stream(plan)
        try:
            yield stream
        finally:
            await stream.aclose()

    def bars(
        self,
        symbols: str | Sequence[str] = (),
        interval: str = "1m",
        *,
        start: datetime | None = None,
        closed_only: bool = False,
        max_updates_per_second: float = 0.0,
        reconnect: bool = True,
    ) -> "LiveBars":
        """Stream live bars to loop over: ``async for bar in client.bars("BTCUSDT"): ...``.

        Each bar is the newest state of its minute or hour; ``bar.closed`` and ``bar.revision`` say which. Leaving
        the loop ends the stream.

        Args:
            symbols: one or several; empty for all.
            interval: such as ``1m`` or ``1h``.
            start: first replay stored bars from this open time on.
            closed_only: only closed bars and their revisions.
            max_updates_per_second: for each symbol; 0 for a bar on every trade.
            reconnect: resume automatically after a break, without a time limit; otherwise raise.

        Raises:
            ValueError: a time without time zone.
            ClientError: while iterating, as in ``stream_bars``.

        Example:
            ```python
            async for bar in client.bars("BTCUSDT", "1m", closed_only=True):
                print(bar.open_time, bar.close, bar.complete, bar.revision)
            ```
        """
        plan = BarStreamPlan(
            symbols=[symbols] if isinstance(symbols, str) else symbols,
            intervals=[interval],
            start_time=start,
            closed_only=closed_only,
            max_updates_per_second=max_updates_per_second,
            resume_token="",
            reconnect=reconnect,
            addresses=self._tries,
        )
        return LiveBars(self._open_stream(plan))

    async def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> Bars:
        """Return closed bars with ``start <= open_time < end``, newest revision of each, oldest first.

        Args:
            symbol: as the exchange writes it.
            interval: such as ``1m`` or ``1h``.
            start: earliest open time; None: from the first bar.
            end: exclusive; None: up to the newest closed bar.
            limit: maximum number of bars; the newest ones are returned. None: no maximum.

        Raises:
            ValueError: a limit below 1, or a time without time zone.
            NotFoundError: the daemon does not serve the symbol.
            UnavailableError: no daemon answers.
            ClientError: another status.

        Example:
            ```python
            bars = await client.get_bars("BTCUSDT", "1m", limit=60)
            print(max(bar.high for bar in bars))
            ```
        """
        if limit is None:
            pages = [page async for page in self.bar_pages(symbol, interval, start, end)]
            return Bars(bar for page in pages for bar in page)
        if limit < 1:
            raise ValueError(f"limit is {limit}: give at least 1, or None for all")
        newest = Bars()
        request = calls.get_bars_request(symbol, interval, start, end, limit, newest_first=True)
        async for page in self._pages(request):
            newest += page[: limit - len(newest)]
            if len(newest) == limit:
                break
        newest.reverse()
        return newest

    async def bar_pages(
        self,
        symbol: str,
        interval: str = "1m",
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        page_size: int = 0,
    ) -> AsyncIterator[Bars]:
        """Yield the bars of ``get_bars`` page by page, for more bars than memory should hold.

        Example:
            ```python
            count = 0
            async for page in client.bar_pages("BTCUSDT", "1m", page_size=500):
                count += len(page)
            print(count)
            ```
        """
        async for page in self._pages(calls.get_bars_request(symbol, interval, start, end, page_size)):
            yield page

    async def _pages(self, request: pb.GetBarsRequest) -> AsyncIterator[Bars]:
        while True:
            answer: pb.GetBarsResponse = await self._call(calls.GET_BARS, request)
            yield Bars(decode_bar(bar) for bar in answer.bars)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def symbols(self) -> list[Symbol]:
        """Return the symbols that the daemon serves.

        Example:
            ```python
            print([symbol.symbol for symbol in await client.symbols()])
            ```
        """
        return decode_symbols(await self._call(calls.LIST_SYMBOLS, pb.ListSymbolsRequest()))

    async def status(self) -> Status:
        """Return the state of the daemon and its symbols.

        Example:
            ```python
            status = await client.status()
            print({symbol.symbol: symbol.lag_ms for symbol in status.symbols if symbol.live})
            ```
        """
        return decode_status(await self._call(calls.GET_STATUS, pb.GetStatusRequest()))
