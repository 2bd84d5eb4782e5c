"""The one place where asyncio meets Trio: grpclib speaks asyncio, all else here is Trio.

Trio is the host, an asyncio loop runs inside it (trio-asyncio). Handlers of grpclib are asyncio tasks: what they
need of either side they get here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, ParamSpec, TypeVar

import structlog
import trio
import trio_asyncio

_log = structlog.get_logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_CALLBACKS_MAX: Final = 100
"""Callbacks in one turn, so that Trio's own tasks get theirs."""


@asynccontextmanager
async def open_asyncio() -> AsyncIterator[None]:
    """Trio side: an asyncio loop lives inside."""
    async with trio_asyncio.open_loop() as loop:
        _run_ready_callbacks_together(loop)
        loop.set_exception_handler(_log_callback_error)
        yield


def _log_callback_error(_loop: object, context: dict[str, Any]) -> None:
    """A callback of one connection failed: say so, and serve the others on. Trio-asyncio would end the process."""
    _log.error("asyncio callback failed", what=context.get("message"), exc_info=context.get("exception"))


def _run_ready_callbacks_together(loop: Any) -> None:
    """Run the callbacks that are ready in one turn of Trio's loop; trio-asyncio alone takes a turn for each.

    It leans on one private method, whose version is pinned; without it all works as well, only slower.
    """
    run_one = getattr(loop, "_main_loop_one", None)
    if run_one is None:
        return

    async def run_some(no_wait: bool = False) -> None:
        await run_one(no_wait)
        if not no_wait:
            with suppress(trio.WouldBlock):
                for _ in range(_CALLBACKS_MAX):
                    await run_one(True)

    loop._main_loop_one = run_some  # noqa: SLF001


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


def soon(function: Callable[[], None]) -> Callable[[], None]:
    """Asyncio side: what calls ``function`` in the loop's next turn, from either side."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        loop.call_soon(function)

    return call


class Unfinished:
    """Asyncio side: a coroutine begun outside of any task that has to wait, or failed: a task awaits it."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], waits_for: Any, failure: Exception | None = None
    ) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._failure = failure

    def __await__(self) -> Generator[Any, None, None]:
        if self._failure is not None:
            raise self._failure
        try:
            yield self._waits_for
        except BaseException:
            self._coroutine.close()
            raise
        yield from self._coroutine.__await__()


def begin(coroutine: Coroutine[Any, Any, None]) -> Unfinished | None:
    """Asyncio side, in a callback: run it up to where it waits; None if it does not, which costs no task."""
    try:
        return Unfinished(coroutine, coroutine.send(None))
    except StopIteration:
        return None
    except Exception as error:  # noqa: BLE001 - raised where it is awaited
        return Unfinished(coroutine, None, error)


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
        self._timer: asyncio.TimerHandle | None = None
        self.is_closed = False
        """The handler is done."""

    def wake(self) -> None:
        """Wake the handler, now or at its next wait."""
        self._event.set()
        if self._send is not None and self._is_over():
            self._loop.call_soon(self._give_up)

    async def wait(self, seconds: float) -> None:
        """Sleep until woken, at most ``seconds``."""
        if not self._event.is_set():
            until = self._loop.time() + seconds
            if self._timer is None or self._timer.when() > until or self._timer.cancelled():
                # An earlier timer stays: it wakes the handler once for nothing, which costs less than a timer
                # for each message.
                self._cancel_timer()
                self._timer = self._loop.call_at(until, self._ring)
            await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        """The handler is done."""
        self.is_closed = True
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        self._event.set()

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
