"""One output's stream: subscribe, replay, live, end, as one async iterator of messages.

Every output (gRPC, the chart's event stream, and any other) gets its bars here and adds only its wire form and its
errors. The state: the subscription (queued messages, see ``subscription.py``), the replay while there is one, and
the output's way to sleep.

Order of events, and why nothing is missed or duplicated:

1. ``open_session`` subscribes. From then on every closed bar of the selection is queued in the subscription.
2. The replay puts published, unstored bars (``unstored.py``) in front of the queue, then yields stored bars; each
   stored bar drops queued duplicates.
3. After the replay the stream goes live: snapshots of the forming bars, then the queue.
4. Live, most messages bypass this module: while the queue is empty, ``Hub.publish`` calls ``Outlet.send_now``.
   The iterator yields only messages that the outlet could not take at once, and sleeps in ``SessionOutlet.wait``.
5. The iterator ends when the service ends the stream; ``Session.ended`` has the reason. Leaving the context
   unsubscribes.

This module depends on neither Trio nor asyncio: ``wait`` and reads are awaited in the loop that runs the output.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from candled.domain.storage import BarReader
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.replay import PAGE, replay
from candled.stream.resume import LivePoint, ReplayPoint
from candled.stream.subscription import Ended, Outlet, Selection, Subscription

BATCH: Final = 64
"""Maximum number of messages in one batch."""

Begin = LivePoint | ReplayPoint | int | None
"""Where a stream begins: at a point to resume from, at an open time in microseconds, or now."""


class SessionOutlet(Outlet, Protocol):
    """An outlet whose own task drives a session."""

    @property
    def has_own(self) -> bool:
        """Whether the output has own data to send: then it gets a batch, even an empty one."""

    async def wait(self, seconds: float) -> None:
        """Sleep until ``wake`` was called, at most ``seconds``."""


class Session:
    """One stream from its subscription to its end; iterate over it for batches of messages.

    Made by ``open_session``.
    """

    def __init__(
        self,
        hub: Hub,
        subscription: Subscription,
        outlet: SessionOutlet,
        batches: AsyncIterator[list[Message]] | None,
        clock: Callable[[], float],
        batch: int,
    ) -> None:
        self._hub = hub
        self._subscription = subscription
        self._outlet = outlet
        self._batches = batches
        self._clock = clock
        self._batch = batch
        self._replayed: list[Message] = []
        self._is_live = False

    def __repr__(self) -> str:
        return f"Session({self._subscription!r})"

    @property
    def ended(self) -> Ended | None:
        """Why the service ended the stream; None while it has not."""
        return self._subscription.ended

    @property
    def must_stop(self) -> bool:
        """Whether to abort even a send in progress."""
        return self._subscription.must_stop

    def __aiter__(self) -> "Session":
        """Iterate over batches of messages, in the order in which they are to be sent."""
        return self

    async def __anext__(self) -> list[Message]:
        """Return the next batch: not empty unless the outlet ``has_own`` to send."""
        if not self._is_live:
            messages = await self._next_of_replay()
            if messages:
                return messages
            self._hub.go_live(self._subscription)
            self._is_live = True
        subscription, outlet = self._subscription, self._outlet
        while True:
            messages = subscription.take(self._clock(), self._batch)
            if messages or outlet.has_own:
                return messages
            if subscription.ended is not None:
                raise StopAsyncIteration
            await outlet.wait(subscription.seconds_until_due(self._clock()))

    async def _next_of_replay(self) -> list[Message]:
        """Return the next stored bars; empty if the replay is over, or there is none."""
        if self._batches is None:
            return []
        if not self._replayed:
            self._replayed = await anext(self._batches, [])
        if self.ended is not None:
            # Queued messages must not follow: their tokens would claim that the replay was sent.
            raise StopAsyncIteration
        messages, self._replayed = self._replayed[: self._batch], self._replayed[self._batch :]
        return messages


@contextmanager
def open_session(
    hub: Hub,
    stored: BarReader,
    selection: Selection,
    outlet: SessionOutlet,
    *,
    begin: Begin = None,
    clock: Callable[[], float],
    batch: int = BATCH,
    page: int = PAGE,
) -> Iterator[Session]:
    """Subscribe an output for as long as the context lasts.

    Args:
        hub: where bars are published.
        stored: the history, awaitable from where the session is iterated.
        selection: which messages the output takes.
        outlet: delivers to the output's client.
        begin: where the stream begins.
        clock: monotonic seconds, the hub's own.
        batch: maximum number of messages at once.
        page: maximum number of stored bars read at once.

    Raises:
        TooManyStreamsError: the limit on streams is reached.
        HistoryBehindError: too many bars wait to be stored for a replay without a hole.
    """
    subscription = hub.subscribe(selection, outlet)
    try:
        batches = None if begin is None else replay(hub, stored, subscription, begin, page=page)
        yield Session(hub, subscription, outlet, batches, clock, batch)
    finally:
        hub.unsubscribe(subscription)
