"""Which trade came before a minute that was read back, where its stored bar was wrong about that.

A stored bar names an id before its own trades. If a trade of a lower id turns out to be of that minute, the bar
was made of wrong times: what is before the minute is then found by ids, as each trade that is fetched says by its
time where it belongs. The first to be asked for is the one before the trade that turned up; while it is of the
minute too, or of none, the one before that.

State kept: for each such minute the lowest id that was asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from candled.domain.bar import NO_TRADE
from candled.engine.window import Window

IDS_MAX: Final = 1_000
"""Ids that are asked for one by one before one minute; then it stays unproven."""


class TradesBefore:
    """Looks for the trades before such minutes."""

    def __init__(self) -> None:
        """Begin with nothing to look for."""
        self._asked: dict[int, tuple[int, int]] = {}
        """By open time: the first and the lowest id that were asked for."""

    def begin(self, open_time: int, ids: Iterable[tuple[int, int]], id_before: int) -> tuple[int, int] | None:
        """Look for the trade before a minute if the ids that arrived for it contradict its stored bar.

        Args:
            open_time: Of the minute.
            ids: Ranges of ids of trades of this minute.
            id_before: What its stored bar says came before it.

        Returns:
            The ids to fetch again, since their times were wrong or are now; None if there is no contradiction.
        """
        lowest = min((first for first, _ in ids), default=None)
        if lowest is None or id_before < lowest:
            return None
        first = max(lowest - 1, 0)
        self._asked[open_time] = (first, first)
        return first, id_before

    def next_ids(self, window: Window, is_placed: Callable[[int], bool]) -> Iterator[int]:
        """Return the ids to fetch again now.

        Args:
            window: The minutes in memory.
            is_placed: Whether an id that was asked for has come and is in its minute.
        """
        for open_time, (first, lowest) in list(self._asked.items()):
            is_known = open_time not in window or window.id_before(open_time) != NO_TRADE
            if is_known or lowest == 0 or first - lowest >= IDS_MAX:
                del self._asked[open_time]
            elif is_placed(lowest):
                self._asked[open_time] = (first, lowest - 1)
                yield lowest - 1
