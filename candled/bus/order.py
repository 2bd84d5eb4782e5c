"""The order of events at an edge: forming bars rise, closes come first, nothing comes twice. Plain.

Updates arrive from several ingesters, at most once and in any order; closed bars arrive from the log, each once.
An update passes if it says more of its symbol than every update before. One of the minute after a bar whose close
has not been read waits for it, the newest one only, and no longer than ``hold``: then updates of that minute pass
without it.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from candled.bus.hedge import Extent, extent_of
from candled.domain.event import UPDATE, BarEvent
from candled.domain.interval import ONE_MINUTE


@attrs.define(slots=True)
class _Symbol:
    published: Extent = (0, -1)
    """The newest update that passed."""
    closed_until: int = 0
    """End of the newest closed bar; 0: none was read."""
    passed: int = 0
    """Open time of the newest minute whose updates no longer wait."""
    held: BarEvent | None = None
    held_since: float = 0.0


class EdgeOrder:
    """Order of the events of all symbols at one edge.

    Args:
        hold: seconds that updates wait for the close of the bar before.
    """

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._symbols: dict[str, _Symbol] = {}
        self._holding: dict[str, None] = {}
        self.sequence = 0
        """Of the newest entry of the log that was taken."""
        self.dropped = 0
        """Updates that said nothing new."""

    def start_at(self, sequence: int, closed_until: Mapping[str, int]) -> None:
        """Begin after an entry of the log.

        Args:
            sequence: of the last entry that was read.
            closed_until: end of each symbol's newest closed bar, microseconds since the epoch.
        """
        self.sequence = sequence
        for symbol, end in closed_until.items():
            self._symbols.setdefault(symbol, _Symbol()).closed_until = end

    def close(self, event: BarEvent) -> Sequence[BarEvent]:
        """Take a closed bar of the log, at its position; return what to publish, in order.

        Args:
            event: its CLOSE or REVISION.
        """
        if event.position <= self.sequence:
            return ()
        self.sequence = event.position
        state = self._symbols.setdefault(event.bar.symbol, _Symbol())
        state.closed_until = max(state.closed_until, event.bar.close_time)
        held = state.held
        if held is None or held.bar.open_time > state.closed_until:
            return (event,)
        self._release(event.bar.symbol, state)
        return (event, *self._pass(state, held))

    def update(self, event: BarEvent, now: float) -> Sequence[BarEvent]:
        """Take an update of an ingester; return what to publish, in order.

        Args:
            event: the update.
            now: monotonic seconds.
        """
        bar = event.bar
        state = self._symbols.setdefault(bar.symbol, _Symbol())
        waits_after = max(state.closed_until or state.published[0] or bar.open_time, state.passed)
        if bar.open_time <= waits_after:
            return self._pass(state, event)
        if state.held is None:
            state.held_since = now
            self._holding[bar.symbol] = None
        if state.held is None or extent_of(bar) > extent_of(state.held.bar):
            state.held = event
        return ()

    def take_overdue(self, now: float) -> list[BarEvent]:
        """Return the updates whose bar before was not closed in time, monotonic seconds."""
        out: list[BarEvent] = []
        for symbol in list(self._holding):
            state = self._symbols[symbol]
            if state.held is not None and now - state.held_since >= self._hold:
                held = state.held
                state.passed = held.bar.open_time
                self._release(symbol, state)
                out += self._pass(state, held)
        return out

    def forget(self, symbol: str) -> None:
        """Drop the state of a symbol that is no longer served."""
        self._symbols.pop(symbol, None)
        self._holding.pop(symbol, None)

    def _release(self, symbol: str, state: _Symbol) -> None:
        state.held = None
        self._holding.pop(symbol, None)

    def _pass(self, state: _Symbol, event: BarEvent) -> Sequence[BarEvent]:
        extent = extent_of(event.bar)
        if extent <= state.published or event.bar.open_time < state.closed_until:
            self.dropped += 1
            return ()
        state.published = extent
        return (event,)


class RisingBars:
    """Order of the longer forming bars, which are made of what ``EdgeOrder`` let pass.

    When updates of a minute no longer wait for the close before, that close comes after them, and what it says of
    a longer bar is older than what was published: ``pass_on`` leaves it out.
    """

    def __init__(self) -> None:
        self._published: dict[str, dict[str, Extent]] = {}
        """By symbol and interval."""

    def pass_on(self, events: Iterable[BarEvent]) -> list[BarEvent]:
        """Return events without the updates of longer bars that say less than those before."""
        return [event for event in events if event.kind is not UPDATE or self._rises(event)]

    def forget(self, symbol: str) -> None:
        """Drop the state of a symbol that is no longer served."""
        self._published.pop(symbol, None)

    def _rises(self, event: BarEvent) -> bool:
        bar = event.bar
        if bar.interval == ONE_MINUTE.name:
            return True
        intervals = self._published.setdefault(bar.symbol, {})
        extent = extent_of(bar)
        if extent < intervals.get(bar.interval, extent):
            return False
        intervals[bar.interval] = extent
        return True
