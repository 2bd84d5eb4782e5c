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
    """Asyncio side: lets one handler sleep until somebody on either side wakes it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._send: asyncio.Timeout | None = None
        self._interrupted = False

    def wake(self) -> None:
        """Wake the handler, now or at its next wait."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Sleep until woken, at most ``seconds``."""
        if not self._event.is_set():
            timer = self._loop.call_later(seconds, self._event.set)
            try:
                await self._event.wait()
            finally:
                timer.cancel()
        self._event.clear()

    def interrupt(self) -> None:
        """End the ``interruptible`` wait under way, and every later one."""
        self._interrupted = True
        if self._send is not None:
            self._send.reschedule(self._loop.time())

    async def interruptible(self, awaitable: Awaitable[None], seconds: float | None = None) -> bool:
        """Await it; False if ``interrupt`` or the end of ``seconds`` came first."""
        if self._interrupted:
            seconds = 0
        try:
            async with asyncio.timeout(seconds) as self._send:
                await awaitable
        except TimeoutError:
            return False
        finally:
            self._send = None
        return True
