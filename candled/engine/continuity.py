"""Which trade ids of one symbol were seen, which are missing, and which the exchange does not have."""

from enum import Enum

from candled.domain.bar import NO_TRADE
from candled.domain.id_ranges import IdRanges
from candled.domain.status import Gap, GapState


class Sighting(Enum):
    """What seeing a range of ids means."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OVERLAP = "overlap"
    """Part of the ids had been seen: the rest must be fetched one by one."""


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
        self._missing: list[tuple[int, int]] = []

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Ranges to fetch, lowest first."""
        return list(self._missing)

    def gaps(self) -> tuple[Gap, ...]:
        """Missing and unfillable ranges, for people to see."""
        still_open = [Gap(first, last, GapState.OPEN, "waiting for the repair") for first, last in self._missing]
        given_up = [
            Gap(first, last, GapState.UNFILLABLE, reason)
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
            return Sighting.NEW
        if self.floor is None:
            self.floor = first
        elif first < self.floor:
            return Sighting.DUPLICATE if last < self.floor else Sighting.OVERLAP
        if self._seen.overlaps(first, last):
            if self._seen.covers(first, last):
                return Sighting.DUPLICATE
            self.exists(last)
            return Sighting.OVERLAP
        self._seen.add(first, last)
        self.horizon = max(self.horizon, last)
        self._find_missing()
        return Sighting.NEW

    def exists(self, trade_id: int) -> None:
        """The exchange has this id, and so all before it."""
        if trade_id > self.horizon and self.floor is not None:
            self.horizon = trade_id
            self._find_missing()

    def lower_floor(self, trade_id: int) -> None:
        """Ids from this one on are of concern."""
        if self.floor is None or trade_id < self.floor:
            self.floor = trade_id
            self._find_missing()

    def unsee(self, first: int, last: int) -> None:
        """Forget ids, so that they are fetched again."""
        if first <= last:
            self._seen.discard(first, last)
            self._unfillable.discard(first, last)
            self._find_missing()

    def give_up(self, first: int, last: int, reason: str) -> None:
        """The exchange does not have those of these ids that were not seen."""
        for hole in self._seen.missing(first, last):
            self._unfillable.add(*hole)
            self._reasons[hole] = reason
        self._find_missing()

    def proves(self, first: int, last: int) -> bool:
        """Whether every id from ``first`` to ``last`` was seen."""
        return self._seen.covers(first, last)

    def lacks(self, first: int, last: int) -> bool:
        """Whether any id from ``first`` to ``last`` is missing and may still come."""
        return any(a <= last and b >= first for a, b in self._missing)

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
