"""Which trade ids of one symbol were seen, which are missing, and which the exchange does not have.

State kept, all as compact ranges: the ids *seen*; those *given up*, with the reason; and, derived from both, the
*missing* ones between the floor (lowest id of concern) and the horizon (highest id known to exist).

Invariants: ids that arrive together are seen together or not at all; the horizon never falls, and the floor only
falls; an id is missing exactly if it lies between the two and is neither seen nor given up. ``changed`` is raised
whenever the missing or the given-up ids change, and put back by whoever followed that up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from candled.domain.bar import NO_TRADE
from candled.domain.id_ranges import IdRanges
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.status import Gap, GapState

FILLED_KEPT: Final = 10
"""Filled gaps remembered, the newest."""
REFUSED_KEPT: Final = 1_000
"""Refused ranges of ids whose reason is remembered."""


class Sighting(Enum):
    """What became of a range of ids that arrived together."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OVERLAP = "overlap"
    """Part of the ids had been seen: the rest must be fetched one by one."""
    INEXACT = "inexact"
    """An aggregate that need not sum up like its fills: those that were not seen must be fetched."""


NEW: Final = Sighting.NEW
"""For what runs on every trade: a member of an enum is slow to look up."""


class Continuity:
    """The set of ids seen, between the first id of concern and the highest id known to exist.

    Ids in between that were not seen are *missing*, unless they were given up as unfillable.
    """

    def __init__(self) -> None:
        self.floor: int | None = None
        """Lowest id of concern; None before anything was seen."""
        self.horizon = NO_TRADE
        """Highest id known to exist."""
        self.changed = False
        """Whether the missing or the unfillable ids changed since somebody last put it back."""
        self._seen = IdRanges()
        self._unfillable = IdRanges()
        self._reasons: dict[tuple[int, int], str] = {}
        self._disputed = IdRanges()
        """Ids that sources contradict each other about: given up for good, and never counted again."""
        self._missing: list[tuple[int, int]] = []
        self._refused: dict[tuple[int, int], str] = {}
        """Why ids were refused that arrived with values that cannot be; the newest ``REFUSED_KEPT``."""

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Ranges to fetch, lowest first."""
        return list(self._missing)

    def gaps(self) -> tuple[Gap, ...]:
        """Missing and unfillable ranges, for people to see."""
        still_open = [
            Gap(first, last, GapState.OPEN, self._why_refused(first, last)) for first, last in self._missing
        ]
        given_up = [
            Gap(first, last, GapState.UNFILLABLE, reason, is_disputed=self._disputed.overlaps(first, last))
            for (first, last), reason in self._reasons.items()
            if not self._seen.covers(first, last)
        ]
        return tuple(sorted((*still_open, *given_up), key=lambda gap: gap.first_id))

    def anchor(self, floor: int, horizon: int) -> None:
        """Go on from stored bars: ids from ``floor`` to ``horizon`` were seen, lower ones are of no concern."""
        self.floor, self.horizon = floor, max(floor, horizon)
        self._seen.add(self.floor, self.horizon)

    def see(self, first: int, last: int) -> Sighting:
        """Ids ``first..last`` arrived together. They count as seen only if none of them was."""
        if first == self.horizon + 1 and self.floor is not None:  # the next trade: nearly every call
            self._seen.add(first, last)
            self.horizon = last
            return NEW
        if self.floor is None:
            self.floor = first
        elif first < self.floor:
            return Sighting.DUPLICATE if last < self.floor else Sighting.OVERLAP
        if self._disputed.overlaps(first, last):
            self.exists(last)
            return Sighting.DUPLICATE if self._disputed.covers(first, last) else Sighting.OVERLAP
        if self._seen.overlaps(first, last):
            if self._seen.covers(first, last):
                return Sighting.DUPLICATE
            self.exists(last)
            return Sighting.OVERLAP
        self._seen.add(first, last)
        self.horizon = max(self.horizon, last)
        self._find_missing()
        return Sighting.NEW

    def decline(self, first: int, last: int) -> Sighting:
        """Ids ``first..last`` arrived together in a form that cannot be counted: those not seen are missing."""
        if self.floor is None:
            self.lower_floor(first)
        if self._seen.covers(first, last):
            return Sighting.DUPLICATE
        self.exists(last)
        return Sighting.INEXACT

    def see_all(self, first: int, last: int) -> None:
        """Every id from ``first`` to ``last`` is accounted for, whether or not it had been seen."""
        self._seen.add(first, last)
        self.horizon = max(self.horizon, last)
        self._find_missing()

    def exists(self, trade_id: int) -> None:
        """The exchange has this id, and so all before it."""
        if trade_id > self.horizon and self.floor is not None:
            self.horizon = trade_id
            self._find_missing()

    def withdraw(self, id_before: int, trade_id: int) -> None:
        """Ids after ``id_before`` and up to ``trade_id`` need not exist: look for none that did not come."""
        self.horizon = max(id_before, self._seen.last or NO_TRADE)
        self._take_back_given_up(id_before + 1, trade_id)
        self._reasons = {
            ids: reason
            for ids, reason in self._reasons.items()
            if ids[1] <= id_before or self._disputed.overlaps(*ids)
        }
        self._find_missing()

    def refuse(self, first: int, last: int, reason: str) -> None:
        """Ids ``first..last`` arrived with values that cannot be: they exist but were not seen."""
        if self.floor is None or last > self.horizon + ID_JUMP_MAX or last < self.floor:
            return
        self._refused.pop((first, last), None)
        self._refused[first, last] = reason
        if len(self._refused) > REFUSED_KEPT:
            del self._refused[next(iter(self._refused))]
        self.exists(last)

    @property
    def refusals_known(self) -> int:
        """How many refused ranges are remembered with their reason."""
        return len(self._refused)

    def _why_refused(self, first: int, last: int) -> str:
        """What is known of refused ids in this range; nothing if none is."""
        return next((why for (a, b), why in self._refused.items() if a <= last and b >= first), "")

    def lower_floor(self, trade_id: int) -> None:
        """Ids from this one on are of concern."""
        if self.floor is None or trade_id < self.floor:
            self.floor = trade_id
            self._find_missing()

    def ask_again(self, first: int, last: int) -> None:
        """Take back that these ids are unfillable; those that were seen meanwhile stay seen."""
        self._take_back_given_up(first, last)
        self._find_missing()

    def unsee(self, first: int, last: int) -> None:
        """Forget ids, so that they are fetched again."""
        if first <= last:
            self._seen.discard(first, last)
            self._take_back_given_up(first, last)
            self._find_missing()

    def _take_back_given_up(self, first: int, last: int) -> None:
        """Let these ids be wanted again, but for those that are disputed: no answer settles them."""
        self._unfillable.discard(first, last)
        for disputed_first, disputed_last in self._disputed:
            if disputed_first <= last and disputed_last >= first:
                self._unfillable.add(max(first, disputed_first), min(last, disputed_last))

    def dispute(self, first: int, last: int, reason: str) -> None:
        """Prove nothing by these ids any more: sources contradict each other about them."""
        self._disputed.add(first, last)
        self._seen.discard(first, last)
        self._unfillable.add(first, last)
        self._reasons[first, last] = reason
        self._find_missing()

    def is_disputed(self, first: int, last: int) -> bool:
        """Whether any of these ids is disputed."""
        return self._disputed.overlaps(first, last)

    def give_up(self, first: int, last: int, reason: str) -> None:
        """The exchange does not have those of these ids that were not seen."""
        for hole in self._seen.missing(first, last):
            self._unfillable.add(*hole)
            refused = self._why_refused(*hole)
            self._reasons[hole] = f"{refused} on the stream; {reason}" if refused else reason
        self._find_missing()

    @property
    def seen(self) -> IdRanges:
        """Every id that was seen, for proofs: not to be changed."""
        return self._seen

    def proves(self, first: int, last: int) -> bool:
        """Whether every id from ``first`` to ``last`` was seen."""
        return self._seen.covers(first, last)

    def may_come(self, first: int, last: int) -> bool:
        """Whether any id from ``first`` to ``last`` was neither seen nor given up, known to exist or not."""
        first = first if self.floor is None else max(first, self.floor)
        return any(self._unfillable.missing(*hole) for hole in self._seen.missing(first, last))

    def lacks(self, first: int, last: int) -> bool:
        """Whether any id from ``first`` to ``last`` is missing and may still come."""
        index = bisect_left(self._missing, (last + 1,))  # up to there all begin early enough
        return index > 0 and self._missing[index - 1][1] >= first

    def _find_missing(self) -> None:
        if self.floor is None:
            return
        missing = [
            part
            for hole in self._seen.missing(self.floor, self.horizon)
            for part in self._unfillable.missing(*hole)
        ]
        self.changed = True
        self._missing = missing


class GapBook:
    """Follows each gap from the jump in ids to its end, while the repair makes it smaller or splits it."""

    def __init__(self) -> None:
        self.found = 0
        self.filled = 0
        self.newest_filled: deque[tuple[int, int]] = deque(maxlen=FILLED_KEPT)
        """First and last id of each, as it was found; the newest last."""
        self._open = IdRanges()

    def note(self, missing: Sequence[tuple[int, int]], proves: Callable[[int, int], bool]) -> None:
        """These ids are missing now; ``proves`` says whether all of a range were seen."""
        lacking = IdRanges()
        for first, last in missing:
            lacking.add(first, last)
            self.found += not self._open.overlaps(first, last)
        unchanged = []
        for first, last in self._open:
            if lacking.overlaps(first, last):
                unchanged.append((first, last))
            elif proves(first, last):
                self.filled += 1
                self.newest_filled.append((first, last))
        for first, last in unchanged:
            lacking.add(first, last)
        self._open = lacking
