"""The Trio shell round the engine: feed events come in, bar events go out to the stream and the history."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import FeedEvent
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.engine.engine import Engine
from candled.engine.rollup import MinutesNeeded, RollUp


class Submitted:
    """A feed event whose sender waits until the engine handled it."""

    __slots__ = ("event", "handled")

    def __init__(self, event: FeedEvent) -> None:
        self.event = event
        self.handled = trio.Event()


class StoredBars(Protocol):
    """What of the history is read back."""

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
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            engine: what turns trades into 1-minute bars.
            rollup: what turns those into longer ones.
            publish: takes bar events of all intervals at once, without waiting.
            wanted: intervals of a symbol whose forming bars somebody watches.
            wake_repair: called when the engine may lack something.
            stored: where minutes that left memory are read back.
        """
        self._engine = engine
        self._rollup = rollup
        self._publish = publish
        self._wanted = wanted
        self._wake_repair = wake_repair
        self._stored = stored
        self._needs: list[MinutesNeeded] = []
        self._recall = trio.Event()

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
                        if stored:
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
                    found = await self._stored.bars(name, ONE_MINUTE.name, open_time, open_time + MINUTE, 1)
                    symbol.reopen(open_time, found[0] if found else None)
                    self._wake_repair()
            while self._needs:
                need = self._needs.pop()
                count = (need.close_time - need.open_time) // MINUTE
                minutes = await self._stored.bars(
                    need.symbol, ONE_MINUTE.name, need.open_time, need.close_time, count
                )
                self._publish(self._rollup.rebuild(need, minutes, self._wanted))
