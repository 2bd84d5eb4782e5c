"""The client for Trio: no asyncio anywhere."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.base import BarStream, Client
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_message
from candled.client.model import ClientError, Message
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
        ValueError: the address is not of that form, or the token is none.
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


class TrioClient(Client):
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

    def _open_stream(self, plan: BarStreamPlan) -> BarStream:
        return _BarStream(self, plan)

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


class _BarStream(BarStream):
    def __init__(self, client: TrioClient, plan: BarStreamPlan) -> None:
        super().__init__(plan)
        self._client = client
        self._stack = AsyncExitStack()
        self._call: Call | None = None

    async def aclose(self) -> None:
        self._call = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _next(self) -> Message:
        with trio.move_on_after(calls.SILENCE_SECONDS):
            if self._call is None:
                opening = self._client.open_call(calls.STREAM_BARS, self._plan.request())
                self._call = await self._stack.enter_async_context(opening)
                await self._call.opened.wait()
                if self._call.metadata:
                    self._plan.opened(self._call.metadata.get(calls.RESUME_METADATA, ""))
            async for message in self._call:
                return decode_message(pb.StreamBarsResponse.FromString(message))
            raise ClientError("UNAVAILABLE", "the daemon ended the stream")
        raise ClientError("UNAVAILABLE", f"the stream was silent for {calls.SILENCE_SECONDS:.0f} s")

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
