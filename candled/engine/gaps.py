"""What became of the gaps in one symbol's trade ids: found, filled, or given up."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from candled.domain.id_ranges import IdRanges

FILLED_KEPT: Final = 10
"""Filled gaps remembered, the newest."""


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
