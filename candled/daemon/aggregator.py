"""The Trio shell round the engine: feed events come in, bar events go out to the stream and the history."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent
from candled.domain.feed_event import FeedEvent, MinutesLoaded, TradesArrived
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.storage import BarReader
from candled.engine.engine import Engine
from candled.stream.unstored import HistoryBehindError, UnstoredTail
from candled.telemetry.latency import LatencyHistograms

if TYPE_CHECKING:
    from candled.engine.rebuilds import MinutesNeeded

BEHIND_SECONDS: Final = 1.0
"""Between looks whether the history has caught up far enough to read minutes back."""


class Submitted:
    """A feed event whose sender waits until the engine handled it."""

    __slots__ = ("event", "handled")

    def __init__(self, event: FeedEvent) -> None:
        self.event = event
        self.handled = trio.Event()


class Aggregator:
    """Runs the engine: the one task that reads feed events, in their order, and so the only one that changes it.

    A second task reads minutes back from the history that the engine asked for. It changes nothing: what it has
    read waits in ``_loaded`` until the first task hands it to the engine, before the next event of the feed.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        publish: Callable[[Sequence[BarEvent]], None],
        wake_repair: Callable[[], None],
        stored: BarReader,
        unstored: UnstoredTail,
        latency: LatencyHistograms,
        follow_time: Callable[[float], None] = lambda _now: None,
        first: Iterable[FeedEvent] = (),
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            engine: Makes bars of trades.
            publish: Takes bar events of all intervals at once, without waiting.
            wake_repair: Called when the engine may lack something.
            stored: Where minutes that left memory are read back.
            unstored: Closed bars that ``publish`` took and that ``stored`` may lack.
            latency: Measures how long each batch took.
            follow_time: Called after every event with the monotonic clock, seconds.
            first: Events that come before those of the feed.
        """
        self._engine = engine
        self._publish = publish
        self._wake_repair = wake_repair
        self._stored = stored
        self._unstored = unstored
        self._latency = latency
        self._follow_time = follow_time
        self._first = deque(first)
        self._log = structlog.get_logger(__name__)
        self._needed: deque[MinutesNeeded] = deque()
        self._is_needed = trio.Event()
        self._loaded: deque[MinutesLoaded] = deque()
        self._idle: trio.CancelScope | None = None
        """While the first task waits for an event: cancelled when minutes were loaded."""

    async def run(
        self,
        receive: trio.MemoryReceiveChannel[FeedEvent | Submitted],
        closed: trio.MemorySendChannel[list[BarEvent]],
    ) -> None:
        """Handle events until there are no more senders; closed 1-minute bars go to ``closed``."""
        async with receive, closed, trio.open_nursery() as nursery:
            nursery.start_soon(self._load_minutes)
            try:
                while True:
                    item = await self._next(receive)
                    stored = self._handle(item.event if isinstance(item, Submitted) else item)
                    if stored:
                        await closed.send(stored)
                    if isinstance(item, Submitted):
                        item.handled.set()
                    self._request_missing_data()
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    def _handle(self, event: FeedEvent | None) -> list[BarEvent]:
        """Let the engine handle an event, or the clock, publish its bars and return those to be stored."""
        now = trio.current_time()
        events = self._engine.advance(now) if event is None else self._engine.handle(event, now)
        self._follow_time(now)
        if self._engine.new_epochs:
            self._log_epochs()
        if not events:
            return []
        self._publish(events)
        stored = [each for each in events if _is_stored(each)]
        self._observe_latency(event)
        return stored

    async def _next(
        self, receive: trio.MemoryReceiveChannel[FeedEvent | Submitted]
    ) -> FeedEvent | Submitted | None:
        """The next event; None when there is none and a bar may have to be closed by the clock."""
        if self._first:
            return self._first.popleft()
        if self._loaded:
            return self._loaded.popleft()
        try:
            return receive.receive_nowait()
        except trio.WouldBlock:
            pass
        # Only with nothing waiting does the clock decide, so that a backlog never closes a bar early.
        with trio.move_on_after(self._engine.seconds_to_next_close(trio.current_time())) as self._idle:
            return await receive.receive()
        return self._loaded.popleft() if self._loaded else None

    def _log_epochs(self) -> None:
        for epoch in self._engine.new_epochs:
            self._log.warning("trade ids were reset", **attrs.asdict(epoch))
        self._engine.new_epochs.clear()

    def _observe_latency(self, event: FeedEvent | None) -> None:
        """Measure a batch whose bars have been published."""
        if isinstance(event, TradesArrived):
            now = trio.current_time()
            time = self._engine.time
            believed = [at for symbol, at in event.event_times.items() if time.is_trusted(symbol)]
            if time.known and believed:
                self._latency.received.observe(max(time.now(event.received) - max(believed), 0) / MICROSECONDS)
            self._latency.published.observe(now - event.received)

    def _request_missing_data(self) -> None:
        if self._engine.symbols_to_repair:
            self._wake_repair()
        self._needed += self._engine.take_minutes_needed()
        if self._needed:
            self._is_needed.set()

    async def _load_minutes(self) -> None:
        """Read back from the history what the engine asked for."""
        while True:
            await self._is_needed.wait()
            self._is_needed = trio.Event()
            while self._needed:
                need = self._needed.popleft()
                bars = await self._minutes(need.symbol, need.open_time, need.close_time)
                self._loaded.append(MinutesLoaded(need.symbol, need.interval, need.open_time, bars))
                if self._idle is not None:
                    self._idle.cancel()

    async def _minutes(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Newest revision of each closed minute, oldest first, whether or not it is stored yet."""
        while True:
            try:
                # Before the stored ones are read: what is stored meanwhile is among those or among these.
                unstored = self._unstored.bars(symbol, ONE_MINUTE.name, start, end)
                break
            except HistoryBehindError:
                await trio.sleep(BEHIND_SECONDS)
        stored = await self._stored.bars(symbol, ONE_MINUTE.name, start, end, (end - start) // MINUTE)
        minutes = {bar.open_time: bar for bar in stored}
        for bar in unstored.values():
            known = minutes.get(bar.open_time)
            if known is None or known.revision < bar.revision:
                minutes[bar.open_time] = bar
        return [minutes[open_time] for open_time in sorted(minutes)]


def _is_stored(event: BarEvent) -> bool:
    """Whether an event goes to the history: longer bars are made of stored minutes when they are asked for."""
    return event.kind is not UPDATE and event.bar.interval == ONE_MINUTE.name
