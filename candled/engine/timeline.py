"""Which minutes of a symbol have ended, which have a bar, and which were passed over. Knows times only, no trades.

State kept: ``origin`` (open time of the first bar of all), ``frontier`` (open time of the first minute that is
neither closed nor passed over), ``due`` (exchange time up to which minutes have ended) and the minutes that were
passed over without a bar.

Invariants, once the first minute began:

* ``origin <= frontier``, and every withheld minute lies between them;
* the frontier only rises; a minute behind it has a bar, is withheld, or had no trade and no kline;
* a minute at or after the frontier has no closed bar, so bars close in order of open time.

Order of events: a trade or the clock ends minutes (``end_until``); those that were traded are closed in order
(``close``), which withholds the ones without a trade before them; the exchange's klines settle held and withheld
minutes (``settle``); a late trade or a bar takes a withheld minute back (``admit``).
"""

from collections.abc import Iterable
from enum import Enum

from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE


class MinuteState(Enum):
    """Why a minute has no bar yet, or has one that cannot be changed in memory."""

    HELD = "held"
    """Ended, no trade seen in it, nothing later closed: waits for the exchange's kline."""
    WITHHELD = "withheld"
    """Ended without a trade seen while a later minute has closed: emitted as a revision once decided."""
    UNDECIDED = "undecided"
    """A missing trade id may belong to it."""
    UNSETTLED = "unsettled"
    """Held or withheld, and no missing id may belong to it: a kline settles it."""
    EVICTED = "evicted"
    """Dealt with and no longer in memory: read back from the history if it changes."""


class Timeline:
    """The minutes of one symbol on the axis of exchange time, by open time in microseconds since the epoch."""

    __slots__ = ("_withheld", "due", "frontier", "origin")

    def __init__(self) -> None:
        self.origin = 0
        """Open time of the first bar of all; earlier trades only prove."""
        self.frontier: int | None = None
        """Open time of the first minute that is neither closed nor passed over; None before the first trade."""
        self.due = 0
        """Exchange time up to which minutes have ended, by trade or by clock."""
        self._withheld = IdRanges()
        """Minutes passed over without a bar, as numbers since the epoch."""

    def begin(self, open_time: int) -> None:
        """Begin with this minute."""
        self.origin = self.frontier = open_time

    def resume(self, origin: int, end: int, withheld: Iterable[tuple[int, int]] = ()) -> None:
        """Continue after stored bars.

        Args:
            origin: Open time of the first of them.
            end: Close time of the last of them.
            withheld: First and last open time of the minutes between them that have no bar.
        """
        self.origin, self.frontier, self.due = origin, end, end
        for first, last in withheld:
            self._withheld.add(first // MINUTE, last // MINUTE)

    # -- where a minute is ----------------------------------------------------------------------------------------

    def place(self, open_time: int) -> MinuteState | None:
        """Say where a minute is that has no trade in memory; None if it has not ended."""
        if self.is_withheld(open_time):
            return MinuteState.WITHHELD
        if self.is_past(open_time):
            return MinuteState.EVICTED
        return MinuteState.HELD if self.frontier is not None and open_time < self.due else None

    def is_past(self, open_time: int) -> bool:
        """Whether a minute lies behind the frontier."""
        return self.frontier is not None and open_time < self.frontier

    def is_withheld(self, open_time: int) -> bool:
        """Whether a minute was passed over without a bar."""
        number = open_time // MINUTE
        return self._withheld.covers(number, number)

    def withheld(self) -> list[tuple[int, int]]:
        """Runs of withheld minutes, by first and last open time."""
        return [(first * MINUTE, last * MINUTE) for first, last in self._withheld]

    def is_any_withheld_before(self, open_time: int) -> bool:
        """Whether this minute or an earlier one is withheld."""
        return self._withheld.overlaps(0, open_time // MINUTE)

    @property
    def is_waiting(self) -> bool:
        """Whether any minute is held or withheld."""
        return self.frontier is not None and (self.frontier < self.due or len(self._withheld) > 0)

    @property
    def minutes_left(self) -> int:
        """Minutes that have ended and have no bar yet."""
        if self.frontier is None:
            return 0
        held = max(0, self.due - self.frontier) // MINUTE
        return held + sum(last - first + 1 for first, last in self._withheld)

    @property
    def next_end(self) -> int | None:
        """When the next minute ends that is still to be closed or held."""
        return None if self.frontier is None else max(self.frontier, self.due) + MINUTE

    # -- what happens to minutes ----------------------------------------------------------------------------------

    def end_until(self, time: int) -> None:
        """Let the minutes up to this exchange time have ended."""
        self.due = max(self.due, time)

    def rewind(self, time: int) -> None:
        """Let no minute from this exchange time on have ended: sources agreed that it is earlier."""
        self.due = min(self.due, max(ONE_MINUTE.floor(time), self.frontier or 0))

    def close(self, open_time: int) -> None:
        """Let this minute, at or after the frontier, have a closed bar; those before it are passed over."""
        self.pass_over_until(open_time)
        self.frontier = open_time + MINUTE

    def pass_over_until(self, open_time: int) -> None:
        """Withhold the minutes from the frontier to before this one."""
        assert self.frontier is not None
        if self.frontier < open_time:
            self._withheld.add(self.frontier // MINUTE, open_time // MINUTE - 1)
            self.frontier = open_time

    def settle(self, open_time: int) -> None:
        """Let a held or withheld minute be dealt with, with a bar or for good without one."""
        if open_time == self.frontier:
            self.frontier = open_time + MINUTE
        else:
            self.admit(open_time)

    def admit(self, open_time: int) -> None:
        """Take a withheld minute back: it has a trade or a bar after all."""
        self._withheld.discard(open_time // MINUTE, open_time // MINUTE)

    def forget_until(self, open_time: int) -> None:
        """Stop waiting for withheld minutes up to this one."""
        self._withheld.discard(0, open_time // MINUTE)
