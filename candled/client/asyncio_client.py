"""The client for asyncio, over grpclib. It does not import the Trio bridge, so ``asyncio.run`` is not patched."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from grpclib.client import Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from candled.client import calls
from candled.client.asyncio_channels import Channels, Link
from candled.client.base import BarStream, Client
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_message
from candled.client.model import ClientError, Heartbeat, Message

_CANCEL_SECONDS: Final = 1.0
_HTTP_STATUS: Final = re.compile(r"Received :status = '(\d+)'")
"""grpclib's error text for a response that is not gRPC."""


@asynccontextmanager
async def open_asyncio_client(
    address: str | Sequence[str] = "127.0.0.1:50051",
    *,
    tls: ssl.SSLContext | bool = False,
    token: str | None = None,
) -> AsyncIterator["AsyncioClient"]:
    """Open a client of the daemon at ``address``; it connects at the first call and reconnects when needed.

    Args:
        address: ``host:port``; several, by comma or in a list, for a cluster whose processes serve the same bars:
            the next one is tried where one does not answer, and used once the one in use is silent when asked.
        tls: True for a certificate that the system trusts, or a context with the authorities to trust.
        token: bearer token, if the daemon asks for one.

    Raises:
        ValueError: the address is not of that form, or the token is malformed.

    Example:
        ```python
        async with open_asyncio_client("127.0.0.1:50051") as client:
            status = await client.status()
            print(status.exchange, [symbol.symbol for symbol in status.symbols])
        ```
    """
    channels = Channels(calls.parse_addresses(address), calls.ssl_context(tls))
    try:
        yield AsyncioClient(channels, token)
    finally:
        channels.close()


class AsyncioClient(Client):
    """Calls to one daemon over one connection. Made by ``open_asyncio_client``."""

    def __init__(self, channels: Channels, token: str | None) -> None:
        self.channels = channels
        self._abandoned: set[asyncio.Task[None]] = set()
        self._metadata = calls.metadata(token)

    @property
    def _tries(self) -> int:
        return len(self.channels)

    def _open_stream(self, plan: BarStreamPlan) -> BarStream:
        return _BarStream(self, plan)

    async def _call_once(self, method: Method, request: Any) -> Any:
        link = await self.connected()
        try:
            async with (
                asyncio.timeout(calls.CALL_SECONDS),
                self.open_call(link, method, request, Cardinality.UNARY_UNARY) as call,
            ):
                answer = await call.recv_message()
        except TimeoutError:
            text = f"{link.address} did not answer in {calls.CALL_SECONDS:.0f} s"
            raise ClientError("DEADLINE_EXCEEDED", text) from None
        except ClientError as error:
            if error.code in calls.ELSEWHERE:
                self.channels.leave(link)
            raise
        if answer is None:
            raise ClientError("INTERNAL", "the daemon sent no answer")
        return answer

    async def connected(self) -> Link:
        """Return the live connection, or a new one.

        Raises:
            ClientError: UNAVAILABLE, no server answers.
        """
        try:
            return await self.channels.connected()
        except OSError as error:
            raise self.client_error(error) from None

    @asynccontextmanager
    async def open_call(
        self, link: Link, method: Method, request: Any, cardinality: Cardinality
    ) -> AsyncIterator[Stream[Any, Any]]:
        """Open a call whose failures are raised as ``ClientError``."""
        link.note_call()
        try:
            async with link.channel.request(
                method.path, cardinality, method.request, method.response, metadata=self._metadata
            ) as call:
                await call.send_message(request, end=True)
                yield call
        except (GRPCError, StreamTerminatedError, OSError) as error:
            raise self.client_error(error, link.address) from None

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a function while the event loop runs, if this is it."""
        with suppress(RuntimeError):  # another thread, or the end of the program
            task = asyncio.get_running_loop().create_task(function())
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)

    def client_error(self, error: BaseException, address: str = "") -> ClientError:
        """Convert an exception of grpclib to a ``ClientError``; ``address``: of the server, else the next one."""
        address = address or self.channels.address
        if isinstance(error, GRPCError):
            if match := _HTTP_STATUS.fullmatch(error.message or ""):
                return calls.no_grpc(address, match[1])
            return ClientError(error.status.name, error.message or "")
        return calls.no_answer(address, error)


class _BarStream(BarStream):
    def __init__(self, client: AsyncioClient, plan: BarStreamPlan) -> None:
        super().__init__(plan)
        self._client = client
        self._stack = AsyncExitStack()
        self._link: Link | None = None
        self._call: Stream[Any, Any] | None = None
        self._over = False

    async def aclose(self) -> None:
        call, self._call = self._call, None
        stack, self._stack = self._stack, AsyncExitStack()
        # A broken call may raise the same error again here; the user already has it.
        with suppress(ClientError, TimeoutError):
            # Leaving waits for the call's trailers, which not every server sends.
            async with asyncio.timeout(_CANCEL_SECONDS), stack:
                if call is not None and not self._over:
                    await call.cancel()

    def abandon(self) -> None:
        if self._call is not None:
            self._client.start_soon(self.aclose)

    async def _next(self) -> Message | Heartbeat:
        try:
            async with asyncio.timeout(calls.SILENCE_SECONDS):
                if self._call is None:
                    self._link = await self._client.connected()
                    opening = self._client.open_call(
                        self._link, calls.STREAM_BARS, self._plan.request(), Cardinality.UNARY_STREAM
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
            raise self._client.client_error(error, self._link.address if self._link else "") from None
        if message is None:
            self._over = True
            raise ClientError("UNAVAILABLE", "the daemon ended the stream")
        return decode_message(message)

    def _leave(self) -> None:
        self._client.channels.leave(self._link)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
