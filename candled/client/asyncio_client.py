"""The client for asyncio, over grpclib. It does not import Trio's bridge, so ``asyncio.run`` stays as it is."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_bar, decode_message, decode_status, decode_symbols
from candled.client.model import Bar, ClientError, Message, Status, Symbol

_CANCEL_SECONDS: Final = 1.0


@asynccontextmanager
async def open_asyncio_client(
    address: str = "127.0.0.1:50051", *, tls: ssl.SSLContext | bool = False, token: str | None = None
) -> AsyncIterator["AsyncioClient"]:
    """A client of the daemon at ``address``. It connects at the first call, and again whenever it has to.

    Args:
        address: ``host:port``.
        tls: True for a certificate that the system trusts, or a context that says whom to trust.
        token: bearer token, if the daemon asks for one.

    Raises:
        ValueError: the address is not of that form.
    """
    host, port = calls.parse_address(address)
    channel = Channel(host, port, ssl=calls.ssl_context(tls))
    try:
        yield AsyncioClient(channel, address, token)
    finally:
        channel.close()


class AsyncioClient:
    """Calls to one daemon over one connection. Made by ``open_asyncio_client``."""

    def __init__(self, channel: Channel, address: str, token: str | None) -> None:
        self._channel = channel
        self._address = address
        self._metadata = calls.metadata(token)

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
        try:
            async with (
                asyncio.timeout(calls.CALL_SECONDS),
                self.open_call(method, request, Cardinality.UNARY_UNARY) as call,
            ):
                answer = await call.recv_message()
        except TimeoutError:
            text = f"{self._address} did not answer in {calls.CALL_SECONDS:.0f} s"
            raise ClientError("DEADLINE_EXCEEDED", text) from None
        if answer is None:
            raise ClientError("INTERNAL", "the daemon sent no answer")
        return answer

    @asynccontextmanager
    async def open_call(
        self, method: Method, request: Any, cardinality: Cardinality
    ) -> AsyncIterator[Stream[Any, Any]]:
        """A call whose failures are ``ClientError``s."""
        try:
            async with self._channel.request(
                method.path, cardinality, method.request, method.response, metadata=self._metadata
            ) as call:
                await call.send_message(request, end=True)
                yield call
        except (GRPCError, StreamTerminatedError, OSError) as error:
            raise self.client_error(error) from None

    def client_error(self, error: BaseException) -> ClientError:
        """What grpclib raised, as the client's own error."""
        if isinstance(error, GRPCError):
            return ClientError(error.status.name, error.message or "")
        return calls.no_answer(self._address, error)


class _BarStream:
    """The messages of one stream over as many calls as it takes."""

    def __init__(self, client: AsyncioClient, plan: BarStreamPlan) -> None:
        self._client = client
        self._plan = plan
        self._stack = AsyncExitStack()
        self._call: Stream[Any, Any] | None = None
        self._over = False

    def __aiter__(self) -> "_BarStream":
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                message = await self._next()
            except ClientError as error:
                await self.aclose()
                await asyncio.sleep(self._plan.failed(error))
                continue
            if self._plan.received(message):
                return message

    async def aclose(self) -> None:
        """Cancel the call, if one is open."""
        call, self._call = self._call, None
        stack, self._stack = self._stack, AsyncExitStack()
        # A call that broke already may say so again here: the user was told when it happened.
        with suppress(ClientError, TimeoutError):
            async with stack, asyncio.timeout(_CANCEL_SECONDS):
                if call is not None and not self._over:
                    await call.cancel()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(calls.SILENCE_SECONDS):
                if self._call is None:
                    opening = self._client.open_call(
                        calls.STREAM_BARS, self._plan.request(), Cardinality.UNARY_STREAM
                    )
                    self._over = False
                    self._call = await self._stack.enter_async_context(opening)
                    await self._call.recv_initial_metadata()
                    fields: Mapping[str, Any] = self._call.initial_metadata or {}
                    self._plan.opened(fields.get(calls.RESUME_METADATA, ""))
                message = await self._call.recv_message()
                if message is None:
                    await self._call.recv_trailing_metadata()
        except TimeoutError:
            text = f"the stream was silent for {calls.SILENCE_SECONDS:.0f} s"
            raise ClientError("UNAVAILABLE", text) from None
        except (GRPCError, StreamTerminatedError, OSError) as error:
            self._over = True
            raise self._client.client_error(error) from None
        if message is None:
            self._over = True
            raise ClientError("UNAVAILABLE", "the daemon ended the stream")
        return decode_message(message)
