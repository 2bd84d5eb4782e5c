"""Closed longer bars that changed after their parts left memory: rebuilt whole from their stored minutes.

State kept: one ``Rebuild`` for each such bar whose minutes have been requested and not come yet, with the minutes
that changed meanwhile.

Invariants: a bar is requested once, however many of its minutes change; what changed is remembered here, so it
does no harm if the minutes that come are older; no bar is merged from a part that is being rebuilt
(``of_parts``).

Until a rebuild is done its revision is still to be emitted. Whoever resumes a stream must not miss it, so every
closed bar that is emitted meanwhile carries the *resume floor*: the lowest position among the minutes that caused
the rebuilds under way.
"""

from collections.abc import Sequence

import attrs
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import ONE_MINUTE, Interval
from candled.engine.interval_tree import PARTS


@attrs.frozen(slots=True)
class MinutesNeeded:
    """Stored minutes that are to be read back. The answer is the newest revision of each, oldest first."""

    symbol: str
    interval: str
    """Of the bar that they make up."""
    open_time: int
    close_time: int


@attrs.define(slots=True)
class Rebuild:
    """One bar that waits for its minutes."""

    minutes: dict[int, Bar]
    """Those that changed, by open time, as they are now."""
    exchange_time: int
    position: int
    """Of the newest change: the revision gets it."""
    resume_floor: int
    """Position of the first change."""


class Rebuilds:
    """The rebuilds under way, of all symbols."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, Interval, int], Rebuild] = {}
        self._needed: list[MinutesNeeded] = []

    def request(
        self, symbol: str, interval: Interval, open_time: int, minutes: dict[int, Bar], event: BarEvent
    ) -> None:
        """Rebuild this bar; ``minutes`` are those that changed, and ``event`` is the one that said so."""
        self._under_way[symbol, interval, open_time] = Rebuild(
            minutes, event.exchange_time, event.position, event.position
        )
        self._needed.append(MinutesNeeded(symbol, interval.name, open_time, interval.end(open_time)))

    def note(self, interval: Interval, open_time: int, event: BarEvent) -> bool:
        """Add a minute that changed to the rebuild of the bar that holds it; False if there is none under way."""
        rebuild = self._under_way.get((event.bar.symbol, interval, open_time))
        if rebuild is None:
            return False
        rebuild.minutes[event.bar.open_time] = event.bar
        rebuild.position, rebuild.exchange_time = event.position, event.exchange_time
        return True

    def of_parts(self, symbol: str, interval: Interval, open_time: int) -> list[Rebuild]:
        """Rebuilds under way of bars that this one is made of: it must not be merged from them now."""
        part, end = PARTS[interval], interval.end(open_time)
        found = []
        while self._under_way and part is not ONE_MINUTE and open_time < end:
            rebuild = self._under_way.get((symbol, part, open_time))
            if rebuild is not None:
                found.append(rebuild)
            open_time = part.end(open_time)
        return found

    def finish(self, symbol: str, interval: Interval, open_time: int) -> Rebuild | None:
        """Take a rebuild whose minutes have come; None if it is not under way, as its symbol was dropped."""
        return self._under_way.pop((symbol, interval, open_time), None)

    def take_needed(self) -> list[MinutesNeeded]:
        """Take what is to be read back, each named once."""
        needed, self._needed = self._needed, []
        return needed

    def forget(self, symbol: str) -> None:
        """Drop the rebuilds of a symbol."""
        for key in [key for key in self._under_way if key[0] == symbol]:
            del self._under_way[key]
        self._needed = [needed for needed in self._needed if needed.symbol != symbol]

    def with_resume_floor(self, events: list[BarEvent]) -> list[BarEvent]:
        """Give each closed bar the position from which on revisions of longer bars are still to be emitted."""
        if not self._under_way:
            return events
        floor = min(rebuild.resume_floor for rebuild in self._under_way.values())
        return [
            event if event.kind is BarEventKind.UPDATE else replace(event, resume_floor=floor) for event in events
        ]


def merged_minutes(stored: Sequence[Bar], changed: dict[int, Bar]) -> list[Bar]:
    """The minutes of a bar, oldest first: those that changed replace what is stored."""
    by_time = {bar.open_time: bar for bar in stored} | changed
    return [by_time[open_time] for open_time in sorted(by_time)]
