"""Stored bars for a chart that scrolls back: pages from the newest to the oldest."""

from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.interval import DAY, Interval
from candled.stream.history import StoredBars
from candled.stream.hub import Hub
from candled.stream.subscription import Selection

LIMIT_MAX: Final = 2_000
_MONTH: Final = 31 * DAY


@attrs.frozen
class Page:
    """Closed bars, oldest first, and whether there are older ones."""

    bars: list[Bar]
    older: bool


async def page_before(stored: StoredBars, hub: Hub, symbol: str, interval: Interval, end: int, limit: int) -> Page:
    """The newest closed bars with ``open_time < end``, at most ``limit``, each in its newest revision.

    Bars that are published but not yet stored are among them. Where the history has holes there may be fewer than
    ``limit``; there is at least one as long as there is any.

    Raises:
        HistoryBehindError: more waits to be stored than is remembered.
    """
    selection = Selection(symbols=frozenset({symbol}), intervals=frozenset({interval.name}))
    messages = hub.unstored_after(selection, None, 0)
    unstored = {message.bar.open_time: message.bar for message in messages if message.bar is not None}

    async def between(start: int, stop: int, count: int) -> dict[int, Bar]:
        bars = {bar.open_time: bar for bar in await stored.bars(symbol, interval.name, start, stop, count)}
        return bars | {time: bar for time, bar in unstored.items() if start <= time < stop}

    first = min(await between(0, end, 1), default=end)
    if first >= end:
        return Page([], older=False)
    length = interval.length or _MONTH
    span = length * limit
    start, stop = interval.floor(end - span), end
    width = span
    while start > first and not await between(start, stop, 1):  # a long absence: look further back
        width *= 4
        start, stop = max(interval.floor(stop - width), first), start
    while stop - start > max(span, 2 * length):  # and find the newest bars in what was found
        middle = interval.floor((start + stop) // 2)
        if await between(middle, stop, 1):
            start = middle
        else:
            stop = middle
    found = await between(start, stop, limit + 2)
    newest = max(found)
    start = max(interval.floor(newest - span) + 1, first)
    bars = await between(start, newest + 1, limit)
    return Page([bars[time] for time in sorted(bars)][-limit:], older=start > first)
