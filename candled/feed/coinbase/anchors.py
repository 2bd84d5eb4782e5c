"""What is known of the times of trade ids, and where to look for a time next. Plain: no clock, no I/O.

The exchange lists trades by id alone, so a time is found by asking for pages: each shows the times of its ids, and
the guess between the nearest two is linear. Ids and times rise together, but for trades of the same moment.
"""

from collections import deque
from typing import Final

import attrs

from candled.feed.adapter import TradePage

_KEPT: Final = 400
"""Ids of which the time is remembered, the newest to be learnt."""
_BISECT_AFTER: Final = 8
"""Guesses after which the middle is taken, whatever the times say."""


class Anchors:
    """Trade ids of one symbol whose times are known."""

    def __init__(self) -> None:
        self._known: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        """Id and time, microseconds since the epoch."""

    def learn(self, trade_id: int, time: int) -> None:
        """Remember the time of a trade."""
        if (trade_id, time) not in self._known:
            self._known.append((trade_id, time))

    def forget(self) -> None:
        """Forget everything: ids were reset."""
        self._known.clear()

    def around(self, time: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Return the nearest trade before a time and the nearest one at or after it, as id and time."""
        before = max((known for known in self._known if known[1] < time), default=None)
        after = min((known for known in self._known if known[1] >= time), default=None)
        return before, after


def guess(before: tuple[int, int] | None, after: tuple[int, int], time: int, density: float, tries: int) -> int:
    """Return an id near the first one at or after a time.

    Args:
        before: A trade before it; None if none is known: ids begin at 0.
        after: A trade at or after it.
        time: Microseconds since the epoch.
        density: Ids a microsecond, near ``after``.
        tries: Guesses before this one.
    """
    low = -1 if before is None else before[0]
    if tries >= _BISECT_AFTER:
        return (low + after[0]) // 2
    if before is None:
        found = after[0] - int((after[1] - time) * density)
    else:
        span = max(1, after[1] - before[1])
        found = before[0] + (after[0] - before[0]) * (time - before[1]) // span
    return min(max(found, low + 1), after[0])


def page_since(page: TradePage, time: int, before: tuple[int, int] | None) -> TradePage | None:
    """Return the trades of a page from a time on, if it shows which is the first of them; None if it does not.

    Rows that were refused right before the first may be of that time, too. They are kept, with the ids that are
    missing there where theirs cannot be read: ids are contiguous.

    Args:
        page: Of consecutive ids.
        time: Microseconds since the epoch.
        before: A trade before that time, as id and time, if one is known.
    """
    index = next((index for index, trade in enumerate(page.trades) if trade.time >= time), None)
    if index is None:
        return None
    first = page.trades[index].first_id
    is_first = index > 0 or first <= 1 or (before is not None and before[0] == first - 1)
    if not is_first:
        return None
    lowest = page.trades[index - 1].last_id + 1 if index > 0 else first
    refused = tuple(
        row if row.has_ids or lowest == first else attrs.evolve(row, first_id=lowest, last_id=first - 1)
        for row in page.refused
        if not row.has_ids or row.first_id >= lowest
    )
    return TradePage(page.trades[index:], refused)
