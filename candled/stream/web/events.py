"""Live bars for the chart as server-sent events: an outlet of the hub, with the hub's rules for slow clients."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import trio
from starlette.types import Receive, Scope, Send

from candled.domain.status import DaemonStatus
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.subscription import Selection
from candled.stream.web.forms import message_form, status_form

UPDATES_PER_SECOND: Final = 20.0
"""For each symbol and interval: more than an eye sees is not sent."""

STATUS_SECONDS: Final = 2.0
"""How often the daemon's state is told; by its absence the page knows that the connection is dead."""

_RETRY_MILLISECONDS: Final = 1_000
_MESSAGES_AT_ONCE: Final = 500
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # proxies that would gather events before they pass them on
]


class EventOutlet:
    """The way to one chart. Nothing is sent past its task, so what a slow one does not take waits in the hub."""

    def __init__(self) -> None:
        self._news = trio.Event()

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Never at once."""
        return False

    def wake(self) -> None:
        """There is something to take."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until it is woken, or so long."""
        with trio.move_on_after(seconds):
            await self._news.wait()
        self._news = trio.Event()


class EventStream:
    """An ASGI answer: bars of one selection until the client leaves or the hub ends the stream.

    Events: ``bar`` (a message), ``status`` (the daemon's state, every two seconds), ``end`` (why the daemon ended
    it). The subscription stands before the first byte is sent, so that a client which then reads the history
    misses no bar in between.
    """

    def __init__(self, hub: Hub, selection: Selection, status: Callable[[], DaemonStatus]) -> None:
        self._hub = hub
        self._selection = selection
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            TooManyStreamsError: the limit on streams is reached; nothing was sent.
        """
        outlet = EventOutlet()
        subscription = self._hub.subscribe(self._selection, outlet)
        try:
            self._hub.go_live(subscription)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_left, receive, nursery.cancel_scope)
                await self._send_events(subscription, outlet, send)
                nursery.cancel_scope.cancel()
        finally:
            self._hub.unsubscribe(subscription)

    async def _send_events(self, subscription: Any, outlet: EventOutlet, send: Send) -> None:
        await send(_body(f"retry: {_RETRY_MILLISECONDS}\n\n".encode()))
        status_due = trio.current_time()
        while True:
            now = trio.current_time()
            parts = []
            if now >= status_due:
                parts.append(_event("status", status_form(self._status())))
                status_due = now + STATUS_SECONDS
            messages = subscription.take(now, _MESSAGES_AT_ONCE)
            parts += [_event("bar", message_form(message)) for message in messages if message.bar is not None]
            if parts:
                await send(_body(b"".join(parts)))
            if messages:
                continue
            if subscription.ended is not None:
                await send(_body(_event("end", {"cause": subscription.ended.cause.value}), more=False))
                return
            until_status = max(0.0, status_due - trio.current_time())
            await outlet.wait(min(subscription.seconds_until_due(trio.current_time()), until_status))


async def _cancel_when_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _event(name: str, document: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(document))


def _body(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
