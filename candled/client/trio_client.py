"""The client for Trio: no asyncio anywhere."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import trio

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_bar, decode_message, decode_status, decode_symbols
from candled.client.model import Bar, ClientError, Message, Status, Symbol
from candled.client.trio_channel import Call, Connection, connect


@asynccontextmanager
async def open_trio_client(
    address: str = "127.0.0.1:50051", *, tls: ssl.SSLContext | bool = False, token: str | None = None
) -> AsyncIterator["TrioClient"]:
    """A client of the daemon at ``address``. It connects at the first call, and again whenever it has to.

    Args:
        address: ``host:port``.
        tls: True for a certificate that the system trusts, or a context that says whom to trust.
        token: bearer token, if the daemon asks for one.

    Raises:
        ValueError: the address is not of that form.
    """
    calls.parse_address(address)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield TrioClient(nursery, address, calls.ssl_context(tls), token)
        except BaseException as error:  # noqa: BLE001 - raised below, as itself and not in a group of the nursery's
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class TrioClient:
    """Calls to one daemon over one connection. Made by ``open_trio_client``."""

    def __init__(
        self, nursery: trio.Nursery, address: str, context: ssl.SSLContext | None, token: str | None
    ) -> None:
        self._nursery = nursery
        self._address = address
        self._context = context
        self._metadata = calls.metadata(token)
        self._connection: Connection | None = None
        self._connecting = trio.Lock()

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
            reconnect: resume by itself after a break; otherwise raise.

        Raises:
            ClientError: while iterating: the daemon refuses, or the stream broke and ``reconnect`` is False.
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
        stream = _BarStream(self, plan)
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

    async def _call(self, method: Method, request: Any) -> Any:
        with trio.move_on_after(calls.CALL_SECONDS):
            async with self.open_call(method, request) as call:
                answer = None
                async for message in call:
                    answer = method.response.FromString(message)
            if answer is None:
                raise ClientError("INTERNAL", "the daemon sent no answer")
            return answer
        raise ClientError("DEADLINE_EXCEEDED", f"{self._address} did not answer in {calls.CALL_SECONDS:.0f} s")

    @asynccontextmanager
    async def open_call(self, method: Method, request: Any) -> AsyncIterator[Call]:
        """A call on the connection that lives, or on a new one."""
        connection = await self._connected()
        async with connection.call(method.path, request.SerializeToString(), self._metadata) as call:
            yield call

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.lost is not None:
                self._connection = await connect(self._address, self._context)
                await self._nursery.start(self._connection.run)
            return self._connection


class _BarStream:
    """The messages of one stream over as many calls as it takes."""

    def __init__(self, client: TrioClient, plan: BarStreamPlan) -> None:
        self._client = client
        self._plan = plan
        self._stack = AsyncExitStack()
        self._call: Call | None = None

    def __aiter__(self) -> "_BarStream":
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                message = await self._next()
            except ClientError as error:
                await self.aclose()
                await trio.sleep(self._plan.failed(error))
                continue
            if self._plan.received(message):
                return message

    async def aclose(self) -> None:
        """Cancel the call, if one is open."""
        self._call = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _next(self) -> Message:
        with trio.move_on_after(calls.SILENCE_SECONDS):
            if self._call is None:
                opening = self._client.open_call(calls.STREAM_BARS, self._plan.request())
                self._call = await self._stack.enter_async_context(opening)
                await self._call.opened.wait()
                self._plan.opened(self._call.metadata.get(calls.RESUME_METADATA, ""))
            async for message in self._call:
                return decode_message(pb.StreamBarsResponse.FromString(message))
            raise ClientError("UNAVAILABLE", "the daemon ended the stream")
        raise ClientError("UNAVAILABLE", f"the stream was silent for {calls.SILENCE_SECONDS:.0f} s")
