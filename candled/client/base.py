"""What the clients for Trio and for asyncio have in common: every call; only how each waits differs."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_bar, decode_status, decode_symbols
from candled.client.model import Bar, ClientError, Message, Status, Symbol


class BarStream(ABC):
    """The messages of one stream over as many calls as it takes."""

    def __init__(self, plan: BarStreamPlan) -> None:
        self._plan = plan

    def __aiter__(self) -> "BarStream":
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                message = await self._next()
            except ClientError as error:
                await self.aclose()
                await self._sleep(self._plan.failed(error))
                continue
            if self._plan.received(message):
                return message

    @abstractmethod
    async def aclose(self) -> None:
        """Cancel the call, if one is open."""

    @abstractmethod
    async def _next(self) -> Message:
        """The next message of the open call, or of a new one."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...


class Client(ABC):
    """Calls to one daemon over one connection."""

    @abstractmethod
    def _open_stream(self, plan: BarStreamPlan) -> BarStream: ...

    @abstractmethod
    async def _call(self, method: Method, request: Any) -> Any:
        """One request and its answer."""

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
    ) -> AsyncIterator[AsyncIterator[Message]]:
        """Live bars, as an async iterator that outlives breaks of the connection and restarts of the daemon.

        Args:
            symbols: empty for all.
            intervals: such as ``["1m", "1h"]``.
            start_time: replay stored bars from this open time on, first.
            closed_only: only CLOSE and REVISION.
            max_updates_per_second: for each symbol and interval; 0 for an update on every trade.
            resume_token: of the last message handled, from an earlier stream.
            reconnect: resume by itself after a break, for as long as it takes; otherwise raise.

        Raises:
            ValueError: a string where a list is due, or a time without time zone.
            ClientError: while iterating: the daemon refuses, no daemon answers to begin with, or the stream broke
                and ``reconnect`` is False.
        """
        plan = BarStreamPlan(
            symbols=symbols,
            intervals=intervals,
            start_time=start_time,
            closed_only=closed_only,
            max_updates_per_second=max_updates_per_second,
            resume_token=resume_token,
            reconnect=reconnect,
        )
        stream = self._open_stream(plan)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[Bar]:
        """Closed bars with ``start_time <= open_time < end_time``, newest revision of each, oldest first.

        Raises:
            ClientError: NOT_FOUND for an unknown symbol, UNAVAILABLE if no daemon answers, and so on.
        """
        bars = []
        async for page in self.bar_pages(symbol, interval, start_time, end_time):
            bars += page
        return bars

    async def bar_pages(
        self,
        symbol: str,
        interval: str = "1m",
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        *,
        page_size: int = 0,
    ) -> AsyncIterator[list[Bar]]:
        """The same, page by page, for more bars than memory should hold."""
        request = calls.get_bars_request(symbol, interval, start_time, end_time, page_size)
        while True:
            answer: pb.GetBarsResponse = await self._call(calls.GET_BARS, request)
            yield [decode_bar(bar) for bar in answer.bars]
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def symbols(self) -> list[Symbol]:
        """The symbols that the daemon serves."""
        return decode_symbols(await self._call(calls.LIST_SYMBOLS, pb.ListSymbolsRequest()))

    async def status(self) -> Status:
        """How the daemon and its symbols fare."""
        return decode_status(await self._call(calls.GET_STATUS, pb.GetStatusRequest()))
