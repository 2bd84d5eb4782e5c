"""The client for Trio: no asyncio anywhere."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import trio

from candled.api import candles_pb2 as pb
from candled.client import calls
from candled.client.base import BarStream, Client
from candled.client.calls import BarStreamPlan, Method
from candled.client.decode import decode_message
from candled.client.model import ClientError, Heartbeat, Message
from candled.client.pulse import QUIET_SECONDS, Patience, Pulse
from candled.client.trio_channel import Call, Connection, connect


@asynccontextmanager
async def open_trio_client(
    address: str | Sequence[str] = "127.0.0.1:50051",
    *,
    tls: ssl.SSLContext | bool = False,
    token: str | None = None,
) -> AsyncIterator["TrioClient"]:
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
        async with open_trio_client("127.0.0.1:50051") as client:
            status = await client.status()
            print(status.exchange, [symbol.symbol for symbol in status.symbols])
        ```
    """
    addresses = [name for name, _ in calls.parse_addresses(address)]
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield TrioClient(nursery, addresses, calls.ssl_context(tls), token)
        except BaseException as error:  # noqa: BLE001 - raised below, as itself and not in a group of the nursery's
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class TrioClient(Client):
    """Calls to one daemon over one connection. Made by ``open_trio_client``."""

    def __init__(
        self, nursery: trio.Nursery, addresses: Sequence[str], context: ssl.SSLContext | None, token: str | None
    ) -> None:
        self._nursery = nursery
        self._addresses = list(addresses)
        """The one in use comes first."""
        self._context = context
        self._metadata = calls.metadata(token)
        self._connection: Connection | None = None
        self._connecting = trio.Lock()
        self._patience = Patience()

    @property
    def _tries(self) -> int:
        return len(self._addresses)

    def _open_stream(self, plan: BarStreamPlan) -> BarStream:
        return _BarStream(self, plan)

    async def _call_once(self, method: Method, request: Any) -> Any:
        connection = await self.connected()
        with trio.move_on_after(calls.CALL_SECONDS):
            try:
                async with self.open_call(connection, method, request) as call:
                    answer = None
                    async for message in call:
                        answer = method.response.FromString(message)
            except ClientError as error:
                if error.code in calls.ELSEWHERE:
                    self.leave(connection)
                raise
            if answer is None:
                raise ClientError("INTERNAL", "the daemon sent no answer")
            return answer
        raise ClientError(
            "DEADLINE_EXCEEDED", f"{connection.address} did not answer in {calls.CALL_SECONDS:.0f} s"
        )

    def open_call(self, connection: Connection, method: Method, request: Any) -> AbstractAsyncContextManager[Call]:
        """Open a call while inside."""
        return connection.call(method.path, request.SerializeToString(), self._metadata)

    async def connected(self) -> Connection:
        """Return the live connection, or a new one.

        Raises:
            ClientError: UNAVAILABLE, no server answers.
        """
        async with self._connecting:
            if self._connection is not None and self._connection.lost is not None:
                self.leave(self._connection)
            if self._connection is None:
                await self._use(await self._first_to_answer(self._addresses))
            assert self._connection is not None
            return self._connection

    def leave(self, connection: Connection | None) -> None:
        """Have the next call go to another address, if there are several and this is the connection in use."""
        if connection is None or connection is not self._connection:
            return
        if connection.lost is not None:
            self._connection = None
        elif len(self._addresses) > 1:
            self._connection = None
            connection.retire()
        self._addresses.append(self._addresses.pop(0))

    async def _use(self, connection: Connection) -> None:
        self._connection = connection
        at = self._addresses.index(connection.address)
        self._addresses = self._addresses[at:] + self._addresses[:at]
        await self._nursery.start(connection.run)
        if len(self._addresses) > 1:
            self._nursery.start_soon(self._watch, connection)

    async def _first_to_answer(self, addresses: Sequence[str]) -> Connection:
        """Connect to the first address, and to one more whenever those before have not answered soon.

        Raises:
            ClientError: none answers; the last reason.
        """
        found: list[Connection] = []
        errors: list[ClientError] = []
        try:
            async with trio.open_nursery() as race:
                for address in addresses:
                    over = trio.Event()
                    race.start_soon(self._try, address, found, errors, over, race.cancel_scope)
                    with trio.move_on_after(self._patience.seconds(trio.current_time())):
                        await over.wait()
            if not found:
                raise errors[-1]
            return found.pop(0)
        finally:
            for connection in found:  # too late, or nobody waits for it any more
                await connection.aclose()

    async def _try(
        self,
        address: str,
        found: list[Connection],
        errors: list[ClientError],
        over: trio.Event,
        race: trio.CancelScope,
    ) -> None:
        try:
            found.append(await connect(address, self._context, greet=len(self._addresses) > 1))
            race.cancel()
        except ClientError as error:
            errors.append(error)
        over.set()

    async def _watch(self, connection: Connection) -> None:
        """Move to another address once this one does not answer, and the other one does."""
        pulse = Pulse()
        while connection.lost is None:
            await connection.called()
            data_at = connection.data_at
            await trio.sleep_until(data_at + pulse.seconds)
            if connection.data_at > data_at or not connection.is_busy:
                pulse.flowed()
                continue
            connection.ping()
            with trio.move_on_after(self._patience.seconds(trio.current_time())) as waiting:
                await connection.heard()
            if not waiting.cancelled_caught:
                pulse.answered()
            elif (other := await self._other_to_answer(connection)) is not None:
                await self._move(connection, other)

    async def _other_to_answer(self, connection: Connection) -> Connection | None:
        """Return a connection to another address, unless the one in use answers before."""
        others = [address for address in self._addresses if address != connection.address]
        found: Connection | None = None
        async with trio.open_nursery() as race:

            async def wait_for_first() -> None:
                await connection.heard()
                race.cancel_scope.cancel()

            race.start_soon(wait_for_first)
            while found is None:
                try:
                    found = await self._first_to_answer(others)
                except ClientError:
                    await trio.sleep(QUIET_SECONDS)
            race.cancel_scope.cancel()
        return found

    async def _move(self, connection: Connection, other: Connection) -> None:
        self._patience.moved(trio.current_time())
        async with self._connecting:
            if connection is self._connection:
                await self._use(other)
            else:  # left meanwhile for another reason
                await other.aclose()
        connection.leave(calls.silent(connection.address))

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a function while the client is open, if this is its event loop."""
        with suppress(RuntimeError):  # another thread, or the end of the program
            trio.lowlevel.current_task()
            if not self._nursery.cancel_scope.cancel_called:
                self._nursery.start_soon(function)


class _BarStream(BarStream):
    def __init__(self, client: TrioClient, plan: BarStreamPlan) -> None:
        super().__init__(plan)
        self._client = client
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._call: Call | None = None

    async def aclose(self) -> None:
        self._call = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    def abandon(self) -> None:
        if self._call is not None:
            self._client.start_soon(self.aclose)

    async def _next(self) -> Message | Heartbeat:
        with trio.move_on_after(calls.SILENCE_SECONDS):
            if self._call is None:
                self._connection = await self._client.connected()
                opening = self._client.open_call(self._connection, calls.STREAM_BARS, self._plan.request())
                self._call = await self._stack.enter_async_context(opening)
                await self._call.opened.wait()
                if self._call.metadata:
                    self._plan.opened(self._call.metadata.get(calls.RESUME_METADATA, ""))
            async for message in self._call:
                return decode_message(pb.StreamBarsResponse.FromString(message))
            raise ClientError("UNAVAILABLE", "the daemon ended the stream")
        raise ClientError("UNAVAILABLE", f"the stream was silent for {calls.SILENCE_SECONDS:.0f} s")

    def _leave(self) -> None:
        self._client.leave(self._connection)

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
