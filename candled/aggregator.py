"""The Trio shell round the engine: feed events come in, bar events go out to the stream and the history."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import FeedEvent, TradesArrived
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.engine.engine import Engine
from candled.engine.rollup import MinutesNeeded, RollUp
from candled.lags import Lags


class Submitted:
    """A feed event whose sender waits until the engine handled it."""

    __slots__ = ("event", "handled")

    def __init__(self, event: FeedEvent) -> None:
        self.event = event
        self.handled = trio.Event()


class StoredBars(Protocol):
    """What of the history is read back."""

    @property
    def stored_position(self) -> int:
        """Every event up to this position is stored, and ``bars`` sees it."""

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        """Stored bars with ``start <= open_time < end``, oldest first."""


class EngineWishes:
    """What the engine lacks, as the repair asks for it (``candled.feed.interface.Wishes``)."""

    def __init__(self, engine: Engine, is_listed: Callable[[str], bool]) -> None:
        """``is_listed``: whether the exchange has a symbol; what it has not cannot be fetched."""
        self._engine = engine
        self._is_listed = is_listed

    def symbols(self) -> list[str]:
        """See ``Wishes``."""
        return sorted(symbol for symbol in self._engine.needy if self._is_listed(symbol))

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """See ``Wishes``."""
        engine = self._engine.symbols.get(symbol)
        return engine.continuity.missing if engine else []

    def unsettled(self, symbol: str) -> list[tuple[int, int]]:
        """See ``Wishes``."""
        engine = self._engine.symbols.get(symbol)
        return engine.unsettled() if engine else []

    def wanted_start(self, symbol: str) -> int | None:
        """See ``Wishes``."""
        engine = self._engine.symbols.get(symbol)
        return engine.wanted_start if engine else None


class Aggregator:
    """Runs the engine: the one task that reads feed events, in their order."""

    def __init__(
        self,
        engine: Engine,
        rollup: RollUp,
        *,
        publish: Callable[[Sequence[BarEvent]], None],
        wanted: Callable[[str], Collection[str]],
        wake_repair: Callable[[], None],
        stored: StoredBars,
        lags: Lags,
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            engine: what turns trades into 1-minute bars.
            rollup: what turns those into longer ones.
            publish: takes bar events of all intervals at once, without waiting.
            wanted: intervals of a symbol whose forming bars somebody watches.
            wake_repair: called when the engine may lack something.
            stored: where minutes that left memory are read back.
            lags: told how long each batch took.
        """
        self._engine = engine
        self._rollup = rollup
        self._publish = publish
        self._wanted = wanted
        self._wake_repair = wake_repair
        self._stored = stored
        self._lags = lags
        self._needs: deque[MinutesNeeded] = deque()
        self._recall = trio.Event()
        self._unstored: deque[BarEvent] = deque()
        """Closed minutes that were told and that the history may not have yet."""

    async def run(
        self,
        receive: trio.MemoryReceiveChannel[FeedEvent | Submitted],
        closed: trio.MemorySendChannel[list[BarEvent]],
    ) -> None:
        """Handle events until there are no more senders; closed 1-minute bars go to ``closed``."""
        async with receive, closed, trio.open_nursery() as nursery:
            nursery.start_soon(self._answer_recalls)
            handled: trio.Event | None = None
            try:
                while True:
                    item = await self._next(receive)
                    now = trio.current_time()
                    if item is None:
                        events = self._engine.advance(now)
                    elif isinstance(item, Submitted):
                        events, handled = self._engine.handle(item.event, now), item.handled
                    else:
                        events = self._engine.handle(item, now)
                    if events:
                        self._publish(self._rollup.apply(events, self._wanted))
                        stored = [event for event in events if event.kind is not BarEventKind.UPDATE]
                        self._note_lags(item, stored)
                        if stored:
                            self._remember(stored)
                            await closed.send(stored)
                    if handled is not None:
                        handled.set()
                        handled = None
                    self._look_for_wishes()
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    async def _next(
        self, receive: trio.MemoryReceiveChannel[FeedEvent | Submitted]
    ) -> FeedEvent | Submitted | None:
        """The next event; None when there is none and a bar may have to be closed by the clock."""
        try:
            return receive.receive_nowait()
        except trio.WouldBlock:
            pass
        # Only with nothing waiting does the clock decide, so that a backlog never closes a bar early.
        with trio.move_on_after(self._engine.seconds_to_next_close(trio.current_time())):
            return await receive.receive()
        return None

    def _note_lags(self, item: FeedEvent | Submitted | None, stored: Sequence[BarEvent]) -> None:
        """Called when what ``item`` brought has been published."""
        now = trio.current_time()
        if isinstance(item, TradesArrived):
            late = self._engine.time.now(item.received) - item.event_time
            self._lags.received.observe(max(late, 0) / MICROSECONDS)
            self._lags.published.observe(now - item.received)
        if stored:
            self._lags.told(stored[-1].position, now)

    def _look_for_wishes(self) -> None:
        if self._engine.needy:
            self._wake_repair()
        self._needs += self._rollup.take_needs()
        if self._needs or any(self._engine.symbols[name].to_reopen for name in self._engine.needy):
            self._recall.set()

    async def _answer_recalls(self) -> None:
        """Bring back from the history what left memory and is to change after all."""
        while True:
            await self._recall.wait()
            self._recall = trio.Event()
            for name in sorted(self._engine.needy):
                symbol = self._engine.symbols.get(name)
                if symbol is None:  # removed meanwhile
                    continue
                for open_time in symbol.to_reopen:
                    found = await self._minutes(name, open_time, open_time + MINUTE)
                    symbol.reopen(open_time, found[0] if found else None)
                    self._wake_repair()
            while self._needs:
                need = self._needs.popleft()
                minutes = await self._minutes(need.symbol, need.open_time, need.close_time)
                self._publish(self._rollup.rebuild(need, minutes, self._wanted))

    def _remember(self, told: list[BarEvent]) -> None:
        """Keep what was told until it is stored; the channel to the history bounds how much that is."""
        unstored, stored = self._unstored, self._stored.stored_position
        unstored += told
        while unstored and unstored[0].position <= stored:
            unstored.popleft()

    async def _minutes(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Closed minutes as they were told last, oldest first: the history may be behind."""
        told = [e.bar for e in self._unstored if e.bar.symbol == symbol and start <= e.bar.open_time < end]
        minutes = {
            bar.open_time: bar
            for bar in await self._stored.bars(symbol, ONE_MINUTE.name, start, end, (end - start) // MINUTE)
        }
        for bar in told:
            known = minutes.get(bar.open_time)
            if known is None or known.revision < bar.revision:
                minutes[bar.open_time] = bar
        return [minutes[open_time] for open_time in sorted(minutes)]
