"""Live bars for the chart as server-sent events: an outlet of the hub, with the hub's rules for slow clients."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import trio
from starlette.types import Receive, Scope, Send

from candled.domain.status import DaemonStatus
from candled.domain.storage import BarReader
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.session import Session, open_session
from candled.stream.subscription import Selection
from candled.stream.web.forms import message_form, status_form

UPDATES_PER_SECOND: Final = 20.0
"""Updates a second for each symbol and interval: more would not be visible."""

STATUS_SECONDS: Final = 2.0
"""Seconds between reports of the daemon's state; without them the page considers the connection dead."""

_RETRY_MILLISECONDS: Final = 1_000
_MESSAGES_AT_ONCE: Final = 100
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # for proxies that would buffer events
]


class EventOutlet:
    """Delivers to one chart, and schedules reports of the daemon's state.

    Only its task sends, so messages for a slow client wait in the hub.
    """

    def __init__(self) -> None:
        self._news = trio.Event()
        self._status_due = trio.current_time()

    @property
    def has_own(self) -> bool:
        """Whether the daemon's state is due."""
        return trio.current_time() >= self._status_due

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Return False: messages always go through the outlet's task."""
        return False

    def wake(self) -> None:
        """Wake the task: a message is ready."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Sleep until woken or the state is due, at most ``seconds``."""
        with trio.move_on_after(min(seconds, max(0.0, self._status_due - trio.current_time()))):
            await self._news.wait()
        self._news = trio.Event()

    def status_sent(self) -> None:
        """Note that the daemon's state is being sent now."""
        self._status_due = trio.current_time() + STATUS_SECONDS


class EventStream:
    """An ASGI answer: bars of one selection until the client leaves or the hub ends the stream.

    Events: ``bar`` (a message), ``status`` (the daemon's state, every two seconds), ``end`` (why the daemon ended
    it). The subscription stands before the first byte is sent, so that a client which then reads the history
    misses no bar in between.
    """

    def __init__(
        self, hub: Hub, stored: BarReader, selection: Selection, status: Callable[[], DaemonStatus]
    ) -> None:
        self._hub = hub
        self._stored = stored
        self._selection = selection
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            TooManyStreamsError: the limit on streams is reached; nothing was sent.
        """
        outlet = EventOutlet()
        # Live from the start, so nothing stored is read.
        with open_session(
            self._hub, self._stored, self._selection, outlet, clock=trio.current_time, batch=_MESSAGES_AT_ONCE
        ) as session:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_left, receive, nursery.cancel_scope)
                await self._send_events(session, outlet, send)
                nursery.cancel_scope.cancel()

    async def _send_events(self, session: Session, outlet: EventOutlet, send: Send) -> None:
        await send(_body(f"retry: {_RETRY_MILLISECONDS}\n\n".encode()))
        async for messages in session:
            parts = []
            if outlet.has_own:
                parts.append(_event("status", status_form(self._status())))
                outlet.status_sent()
            parts += [_event("bar", message_form(message)) for message in messages if message.bar is not None]
            if parts:
                await send(_body(b"".join(parts)))
        assert session.ended is not None
        await send(_body(_event("end", {"cause": session.ended.cause.value}), more=False))


async def _cancel_when_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _event(name: str, document: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(document))


def _body(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
