"""What the log says of one symbol, and what this ingester has to add. Plain: no clock, no I/O.

The log is the one order of closed bars. Each entry is appended by compare-and-set on the sequence of the symbol's
last entry, so an ingester only adds to what it has read. State kept: that sequence, a summary of the newest entry
of each minute, and the offered bars that are not in the log yet.

Invariants:

1. An offered bar leaves ``_offered`` only when the log says as much of its minute, or more.
2. The revision of an entry is that of the minute's entry before it plus one: no two entries have the same.
   A minute that is appended after a later one begins with 1.
3. A refused or lost append changes nothing here. What the reader brings decides whether the bar is still news,
   so that an append whose acknowledgement was lost is not repeated.

Deduplication by (symbol, open time, revision) would not do: revision 0 of an ingester that missed trades would
hide revision 0 of another that has them all.
"""

from typing import Final

import attrs
from msgspec.structs import replace

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE

MINUTES_MAX: Final = 7 * 1_440
"""Minutes before the newest one that can still be revised: as far back as an ingester rebuilds bars."""


@attrs.frozen(slots=True)
class Logged:
    """Summary of a minute's newest entry."""

    revision: int
    complete: bool
    trade_count: int
    content: int
    """Hash of the values that two proofs of one minute must share."""

    @classmethod
    def of(cls, bar: Bar) -> "Logged":
        """Summarize a bar of the log."""
        return cls(bar.revision, bar.complete, bar.trade_count, content_of(bar))

    def is_improved_by(self, bar: Bar) -> bool:
        """Return whether a bar says more than this entry: it is the proof, or it knows more trades."""
        if self.complete:
            return False
        return bar.complete or bar.trade_count > self.trade_count

    def contradicts(self, bar: Bar) -> bool:
        """Return whether both are proven and differ: a fault of an ingester, or of the exchange."""
        return self.complete and bar.complete and self.content != content_of(bar)


def content_of(bar: Bar) -> int:
    """Hash what a bar says of its trades; how it was proven, and its number, are left out."""
    return hash(
        (
            *(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trade_count),
            *(bar.taker_buy_volume, bar.taker_buy_quote_volume, bar.first_trade_id, bar.last_trade_id),
        )
    )


@attrs.define(slots=True)
class _Offer:
    event: BarEvent
    due: float


class SymbolLog:
    """The log of one symbol, seen by one ingester.

    Args:
        minutes_max: minutes before the newest logged one that are remembered; older bars are not appended.
    """

    def __init__(self, minutes_max: int = MINUTES_MAX) -> None:
        self._minutes_max = minutes_max
        self._logged: dict[int, Logged] = {}
        self._newest = -1
        """Open time of the newest logged minute."""
        self._offered: dict[int, _Offer] = {}
        """By open time, in the order of the first offer."""
        self.sequence = 0
        """Of the last entry read; the expected one of the next append."""
        self.contradictions = 0
        """Offered bars that were proven and differ from the log's, which is proven too."""
        self.too_old = 0
        """Offered bars of minutes that the log no longer judges."""

    def __repr__(self) -> str:
        return f"SymbolLog(sequence={self.sequence}, minutes={len(self._logged)}, offered={len(self._offered)})"

    @property
    def waiting(self) -> int:
        """Bars that are not in the log yet, as far as it was read."""
        return len(self._offered)

    def read(self, sequence: int, bar: Bar) -> None:
        """Take the next entry of the log; one that was taken before changes nothing."""
        if sequence <= self.sequence:
            return
        self.sequence = sequence
        self._logged[bar.open_time] = Logged.of(bar)
        if bar.open_time > self._newest:
            self._newest = bar.open_time
            self._forget_old()

    def offer(self, event: BarEvent, due: float) -> None:
        """Take a closed bar of this ingester's engine.

        Args:
            event: its CLOSE or REVISION.
            due: when to append it if nobody else has by then, monotonic seconds.
        """
        known = self._offered.get(event.bar.open_time)
        if known is None:
            self._offered[event.bar.open_time] = _Offer(event, due)
        else:
            known.event = event

    def next(self, now: float) -> BarEvent | None:
        """Return the entry to append after ``sequence``; None if there is none, or none that is due.

        Args:
            now: monotonic seconds.
        """
        while self._offered:
            open_time, offer = next(iter(self._offered.items()))
            logged = self._logged.get(open_time)
            if not self._is_news(logged, offer.event.bar):
                del self._offered[open_time]
                continue
            if offer.due > now:
                return None
            return self._entry(logged, offer.event)
        return None

    def emptied(self) -> None:
        """Note that the log has no entry of this symbol any more: all were removed by their age."""
        self.sequence = 0

    def _is_news(self, logged: Logged | None, bar: Bar) -> bool:
        if logged is None:
            if bar.open_time <= self._newest - self._minutes_max * MINUTE:
                self.too_old += 1
                return False
            return True
        self.contradictions += logged.contradicts(bar)
        return logged.is_improved_by(bar)

    def _entry(self, logged: Logged | None, event: BarEvent) -> BarEvent:
        """Return an event as an entry. A minute that later ones have overtaken begins with revision 1.

        The longer bars that hold it may have closed without it, and their revisions are the sums of the minutes'.
        """
        if logged is None and event.bar.open_time > self._newest:
            return BarEvent(BarEventKind.CLOSE, replace(event.bar, revision=0), event.exchange_time)
        revision = 1 if logged is None else logged.revision + 1
        return BarEvent(BarEventKind.REVISION, replace(event.bar, revision=revision), event.exchange_time)

    def _forget_old(self) -> None:
        oldest = self._newest - self._minutes_max * MINUTE
        while self._logged and (first := next(iter(self._logged))) <= oldest:
            del self._logged[first]
