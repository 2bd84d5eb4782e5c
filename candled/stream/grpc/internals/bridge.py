"""The bridge between asyncio and Trio: grpclib runs on asyncio, everything else on Trio.

Trio is the host, an asyncio loop runs inside it (trio-asyncio). Handlers of grpclib are asyncio tasks; they use
the functions of this module to reach the other side.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, ParamSpec, TypeVar

import grpclib.utils
import structlog
import trio
import trio_asyncio

from candled.stream.shared import SharedAnswer

_log = structlog.get_logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_CALLBACKS_MAX: Final = 100
_TURN_SECONDS: Final = 0.005
"""Limits of callbacks in one turn, and of its seconds, so that Trio's tasks run too."""


@asynccontextmanager
async def open_asyncio() -> AsyncIterator[None]:
    """Run an asyncio loop while inside (call from Trio)."""
    _let_grpclib_find_its_tasks()
    async with trio_asyncio.open_loop() as loop:
        _run_ready_callbacks_together(loop)
        loop.set_exception_handler(_log_callback_error)
        yield


def _let_grpclib_find_its_tasks() -> None:
    """Replace the function that grpclib kept when it was imported, if that was before trio-asyncio was.

    From Python 3.12 on, ``asyncio.current_task`` is written in C and does not see the loop of trio-asyncio, which
    puts another one in its place. With the first one every call fails: no running event loop.
    """
    if hasattr(grpclib.utils, "_current_task"):
        grpclib.utils._current_task = asyncio.current_task


def _log_callback_error(_loop: object, context: dict[str, Any]) -> None:
    """Log the failure of one connection's callback and continue; trio-asyncio would end the process."""
    _log.error("asyncio callback failed", what=context.get("message"), exc_info=context.get("exception"))


def _run_ready_callbacks_together(loop: Any) -> None:
    """Run the callbacks that are ready in one turn of Trio's loop; trio-asyncio alone takes a turn for each.

    If the private method that it uses is missing, everything works, only slower.
    """
    if not hasattr(loop, "_main_loop_one"):
        return
    run_one = loop._main_loop_one

    async def run_some(no_wait: bool = False) -> None:
        await run_one(no_wait)
        if not no_wait:
            until = time.monotonic() + _TURN_SECONDS
            with suppress(trio.WouldBlock):
                for _ in range(_CALLBACKS_MAX):
                    await run_one(True)
                    if time.monotonic() > until:
                        break

    loop._main_loop_one = run_some


def private_attributes() -> list[tuple[object, str]]:
    """Sample the objects whose private attributes are used here, each with the attribute's name (in asyncio)."""
    return [(asyncio.get_running_loop(), "_main_loop_one"), (grpclib.utils, "_current_task")]


async def run_asyncio(function: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Await an asyncio function from Trio, inside ``open_asyncio``."""
    result: _T = await trio_asyncio.aio_as_trio(function)(*args, **kwargs)
    return result


def call_trio(function: Callable[_P, Awaitable[_T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Wrap a Trio function for an asyncio handler to await."""

    async def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = await trio_asyncio.trio_as_aio(function)(*args, **kwargs)
        return result

    return call


async def in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """Run a plain function in a thread, because it would hold the event loop (call from asyncio)."""
    return await call_trio(trio.to_thread.run_sync)(function, *args)


def shared_in_thread(prepare: Callable[[], Callable[[], _T]]) -> Callable[[], Coroutine[Any, Any, _T]]:
    """Return a function, to call from asyncio, that runs a plain function in a thread for all who wait for it.

    Args:
        prepare: called on the event loop; returns the function for the thread.
    """

    async def make() -> _T:
        return await trio.to_thread.run_sync(prepare())

    return call_trio(SharedAnswer(make).get)


async def adopt_socket(
    make_protocol: Callable[[], asyncio.Protocol],
    sock: socket.socket,
    context: ssl.SSLContext | None,
    seconds: float,
) -> None:
    """Run a protocol over an accepted connection; returns after the TLS handshake (call from asyncio).

    Args:
        make_protocol: creates the protocol.
        sock: non-blocking; owned by the protocol's transport from here on.
        context: TLS context; None: plaintext.
        seconds: timeout of the handshake.

    Raises:
        OSError: the handshake failed, or the client is gone.
    """
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(
            make_protocol, sock, ssl=context, ssl_handshake_timeout=seconds if context else None
        )
    except BaseException:
        sock.close()
        raise


async def give_way() -> None:
    """Let everything else that is ready run first (call from asyncio)."""
    await asyncio.sleep(0)


async def pause(seconds: float) -> None:
    """Sleep (call from asyncio)."""
    await asyncio.sleep(seconds)


async def within(seconds: float, awaitable: Awaitable[_T]) -> _T:
    """Await with a timeout (call from asyncio).

    Raises:
        TimeoutError: it took longer.
    """
    async with asyncio.timeout(seconds):
        return await awaitable


def soon(function: Callable[[], None]) -> Callable[[], None]:
    """Return a callback that runs ``function`` in the loop's next turn; callable from Trio and asyncio."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        loop.call_soon(function)

    return call


class Unfinished:
    """A coroutine started outside of a task that has to wait, or has failed; a task awaits it (asyncio)."""

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
    """Run a coroutine up to its first wait, in an asyncio callback; None if it finished, which costs no task."""
    try:
        return Unfinished(coroutine, coroutine.send(None))
    except StopIteration:
        return None
    except Exception as error:  # noqa: BLE001 - raised where it is awaited
        return Unfinished(coroutine, None, error)


class Wakeup:
    """Lets an asyncio handler sleep until Trio or asyncio wakes it.

    Args:
        is_over: checked at each wakeup; once true, a send that waits for the client is cancelled too.
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
                # Keep an earlier timer: one spurious wakeup costs less than a timer for each message.
                self._cancel_timer()
                self._timer = self._loop.call_at(until, self._ring)
            await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        """End the wakeup when its handler is done."""
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
        """Await it, or cancel it as soon as the stream is over."""
        try:
            async with asyncio.timeout(0 if self._is_over() else None) as self._send:
                await awaitable
        except TimeoutError:
            return
        finally:
            self._send = None
