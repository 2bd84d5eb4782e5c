"""The client for asyncio, over grpclib. It does not import Trio's bridge, so ``asyncio.run`` stays as it is."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from candled.client import calls
from candled.client.base import BarStream, Client
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_message
from candled.client.model import ClientError, Message

_CANCEL_SECONDS: Final = 1.0
_HTTP_STATUS: Final = re.compile(r"Received :status = '(\d+)'")
"""How grpclib says that an answer is not gRPC's."""


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
        ValueError: the address is not of that form, or the token is none.
    """
    host, port = calls.parse_address(address)
    channel = Channel(host, port, ssl=calls.ssl_context(tls))
    try:
        yield AsyncioClient(channel, address, token)
    finally:
        channel.close()


class AsyncioClient(Client):
    """Calls to one daemon over one connection. Made by ``open_asyncio_client``."""

    def __init__(self, channel: Channel, address: str, token: str | None) -> None:
        self._channel = channel
        self._address = address
        self._metadata = calls.metadata(token)

    def _open_stream(self, plan: BarStreamPlan) -> BarStream:
        return _BarStream(self, plan)

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
            if match := _HTTP_STATUS.fullmatch(error.message or ""):
                return calls.no_grpc(self._address, match[1])
            return ClientError(error.status.name, error.message or "")
        return calls.no_answer(self._address, error)


class _BarStream(BarStream):
    def __init__(self, client: AsyncioClient, plan: BarStreamPlan) -> None:
        super().__init__(plan)
        self._client = client
        self._stack = AsyncExitStack()
        self._call: Stream[Any, Any] | None = None
        self._over = False

    async def aclose(self) -> None:
        call, self._call = self._call, None
        stack, self._stack = self._stack, AsyncExitStack()
        # A call that broke already may say so again here: the user was told when it happened.
        with suppress(ClientError, TimeoutError):
            # Leaving waits for the end of the call, which not every server tells.
            async with asyncio.timeout(_CANCEL_SECONDS), stack:
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

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
