"""Minutes that left memory and are to change after all: they are read back from the history.

State kept: by open time the ids of trades that arrived for such a minute, which are fetched again once it is back,
and all of these sorted; and which minutes may merely repeat a close that has changed. A minute is requested once.
"""

from bisect import bisect_left, insort
from collections.abc import Callable

from candled.domain.bar import Bar

IdRange = tuple[int, int]
"""First and last trade id."""


class Returning:
    """The minutes that were requested and have not come."""

    def __init__(self, request: Callable[[int], None]) -> None:
        """Begin with none.

        Args:
            request: Called once with the open time of each minute that is to be read back.
        """
        self._request = request
        self._ids: dict[int, list[IdRange]] = {}
        self._sorted: list[IdRange] = []
        self._widest = 0
        """Maximum length of a range so far, less one."""
        self._repeating: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._ids)

    def want(self, open_time: int, first_id: int, last_id: int) -> None:
        """Read a minute back: a trade of these ids arrived for it."""
        if open_time not in self._ids:
            self._ids[open_time] = []
            self._request(open_time)
        self._ids[open_time].append((first_id, last_id))
        insort(self._sorted, (first_id, last_id))
        self._widest = max(self._widest, last_id - first_id)

    def recheck(self, open_time: int) -> None:
        """Read a minute back that may be empty: the close that it repeats has changed."""
        if open_time not in self._ids:
            self._ids[open_time] = []
            self._repeating.add(open_time)
            self._request(open_time)

    def may_repeat(self, open_time: int) -> bool:
        """Whether a minute was requested only because it may repeat a close that has changed."""
        return open_time in self._repeating

    def holds(self, first_id: int, last_id: int) -> bool:
        """Whether any of these ids waits for its minute."""
        begin = bisect_left(self._sorted, (first_id - self._widest,))
        end = bisect_left(self._sorted, (last_id + 1,), begin)
        return any(self._sorted[index][1] >= first_id for index in range(begin, end))

    def take(self, open_time: int, stored: Bar | None) -> list[IdRange] | None:
        """Return the ids that arrived for a minute that has come; None if it is of no use.

        Args:
            open_time: Of the minute.
            stored: Its newest revision, if it has a bar.
        """
        ids = self._ids.pop(open_time, None)
        for each in ids or ():
            del self._sorted[bisect_left(self._sorted, each)]
        is_repeating = open_time in self._repeating
        self._repeating.discard(open_time)
        if is_repeating and not ids and (stored is None or not stored.is_empty):
            return None
        return ids
