"""The one place where asyncio meets Trio: grpclib speaks asyncio, all else here is Trio.

Trio is the host, an asyncio loop runs inside it (trio-asyncio). Handlers of grpclib are asyncio tasks: what they
need of either side they get here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import trio_asyncio

_P = ParamSpec("_P")
_T = TypeVar("_T")


@asynccontextmanager
async def open_asyncio() -> AsyncIterator[None]:
    """Trio side: an asyncio loop lives inside."""
    async with trio_asyncio.open_loop():
        yield


async def run_asyncio(function: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Trio side, inside ``open_asyncio``: await an asyncio function."""
    result: _T = await trio_asyncio.aio_as_trio(function)(*args, **kwargs)
    return result


def call_trio(function: Callable[_P, Awaitable[_T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Asyncio side: the same Trio function for a handler to await."""

    async def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = await trio_asyncio.trio_as_aio(function)(*args, **kwargs)
        return result

    return call


class Wakeup:
    """Asyncio side: lets one handler sleep until somebody on either side wakes it.

    Args:
        is_over: asked at each waking; once it says so, a send that waits for the client is broken off too.
    """

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._send: asyncio.Timeout | None = None

    def wake(self) -> None:
        """Wake the handler, now or at its next wait."""
        self._event.set()
        if self._send is not None and self._is_over():
            self._loop.call_soon(self._give_up)

    async def wait(self, seconds: float) -> None:
        """Sleep until woken, at most ``seconds``."""
        if not self._event.is_set():
            timer = self._loop.call_later(seconds, self._event.set)
            try:
                await self._event.wait()
            finally:
                timer.cancel()
        self._event.clear()

    def _give_up(self) -> None:
        if self._send is not None and not self._send.expired():
            self._send.reschedule(self._loop.time())

    async def unless_over(self, awaitable: Awaitable[None]) -> None:
        """Await it, or give it up as soon as it is over."""
        try:
            async with asyncio.timeout(0 if self._is_over() else None) as self._send:
                await awaitable
        except TimeoutError:
            return
        finally:
            self._send = None
