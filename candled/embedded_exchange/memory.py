"""The exchange without a network: in-memory connections, which may break at any byte. For simulations and tests.

All timing follows the clock of the Trio run, so a mock clock drives everything.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import attrs
import httpcore
import trio
from trio.testing import memory_stream_pair

from candled.embedded_exchange.connection import serve_connection
from candled.embedded_exchange.core import Exchange

ADDRESS: Final = "memory"
"""Client address that these connections are charged to."""


@attrs.define(slots=True, kw_only=True)
class Weather:
    """Network faults below the protocol. May be changed at any time; a change affects later data only."""

    cut_per_byte: float = 0.0
    """Chance, for each byte on its way to the client, that the connection ends at it."""
    longest_delay_s: float = 0.0
    """Maximum delay of each piece of data, seconds; order is kept."""
    refuse: float = 0.0
    """Chance that a connection is refused."""
    is_down: bool = False
    """Every connection is refused."""


class MemoryExchange:
    """Connections to an exchange in the same process."""

    def __init__(self, exchange: Exchange, nursery: trio.Nursery, seed: int) -> None:
        self.exchange = exchange
        self.weather = Weather()
        self._nursery = nursery
        self._random = Random(f"{seed}/network")  # noqa: S311 (weather, not secrets)
        self._open: dict[_WeatheredStream, None] = {}  # in order, so that a run can be repeated

    @property
    def connections(self) -> int:
        """Number of open connections, as clients see it."""
        return len(self._open)

    async def connect(self, host: str = ADDRESS, port: int = 0, tls: bool = False) -> "_WeatheredStream":
        """Open a connection, as ``trio.open_tcp_stream`` would; the target is ignored.

        Raises:
            ConnectionRefusedError: the weather refuses connections.
        """
        await trio.lowlevel.checkpoint()
        if self.weather.is_down or self._random.random() < self.weather.refuse:
            raise ConnectionRefusedError(f"{host}:{port} refuses connections")
        near, far = memory_stream_pair()
        stream = _WeatheredStream(near, self.weather, self._random, self._forget)
        self._nursery.start_soon(self._serve, far, stream)
        self._open[stream] = None
        return stream

    async def _serve(self, far: trio.abc.Stream, stream: "_WeatheredStream") -> None:
        await serve_connection(self.exchange, far, ADDRESS)
        stream.has_ended = True

    def _forget(self, stream: "_WeatheredStream") -> None:
        self._open.pop(stream, None)

    def cut_all(self) -> None:
        """Break every connection now, for both sides and without a closing handshake."""
        for stream in list(self._open):
            stream.cut()

    def backend(self) -> httpcore.AsyncNetworkBackend:
        """Return a network backend of httpcore, and so of httpx, over these connections."""
        return _Backend(self)


@asynccontextmanager
async def open_memory_exchange(exchange: Exchange, *, seed: int = 0) -> AsyncIterator[MemoryExchange]:
    """Serve ``exchange`` to clients in this process until the block ends, which breaks their connections.

    Args:
        exchange: What to serve; its clock should be that of the Trio run.
        seed: Seed of the weather.
    """
    async with trio.open_nursery() as nursery:
        memory = MemoryExchange(exchange, nursery, seed)
        try:
            yield memory
        finally:
            memory.cut_all()
            nursery.cancel_scope.cancel()


class _WeatheredStream(trio.abc.HalfCloseableStream):
    """The client's end of a connection."""

    def __init__(
        self,
        stream: trio.StapledStream[Any, Any],
        weather: Weather,
        random: Random,
        on_close: Callable[["_WeatheredStream"], None],
    ) -> None:
        self._stream = stream
        self._weather = weather
        self._random = random
        self._on_close = on_close
        self._receiving = trio.CancelScope()
        self._is_cut = False
        self.has_ended = False
        """Whether the exchange has closed its end."""

    def cut(self) -> None:
        """Cut the connection now."""
        self._is_cut = self.has_ended = True
        self._receiving.cancel()
        self._stream.send_stream.close()
        self._stream.receive_stream.close()
        self._on_close(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_cut:
            raise trio.BrokenResourceError("the connection was cut")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._is_cut:
            raise trio.BrokenResourceError("the connection was cut")
        with trio.CancelScope() as self._receiving:
            delay = self._weather.longest_delay_s
            if delay:
                await trio.sleep(self._random.random() * delay)
            data = await self._stream.receive_some(max_bytes)
            chance = self._weather.cut_per_byte
            if not chance:
                return data
            last = int(math.log(1.0 - self._random.random()) / math.log1p(-chance)) if chance < 1 else 0
            if last >= len(data):
                return data
            self.cut()
            if last:
                return data[:last]
        raise trio.BrokenResourceError("the connection was cut")

    async def aclose(self) -> None:
        self._on_close(self)
        await self._stream.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Connections for httpcore."""

    def __init__(self, memory: MemoryExchange) -> None:
        self._memory = memory

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _NetworkStream(await self._memory.connect(host, port))
        except ConnectionRefusedError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """One connection for httpcore."""

    def __init__(self, stream: _WeatheredStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                return bytes(await self._stream.receive_some(max_bytes))
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await self._stream.send_all(buffer)
        except trio.TooSlowError as error:
            raise httpcore.WriteTimeout from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return self  # memory needs no encryption

    def get_extra_info(self, info: str) -> Any:
        # httpcore asks this of an idle connection: a readable one counts as closed by the server.
        return self._stream.has_ended if info == "is_readable" else None
