"""Pages of closed bars from the newest to the oldest: for charts that scroll back, and for the last few bars."""

import attrs

from candled.domain.bar import Bar
from candled.domain.interval import DAY, Interval
from candled.domain.storage import BarReader
from candled.stream.hub import Hub
from candled.stream.reads import bars_per_read


@attrs.frozen
class Page:
    """Closed bars, oldest first, and whether there are older ones."""

    bars: list[Bar]
    older: bool


async def page_before(
    stored: BarReader, hub: Hub, symbol: str, interval: Interval, end: int, limit: int, *, since: int = 0
) -> Page:
    """Return the newest closed bars with ``since <= open_time < end``, each in its newest revision.

    Bars that are published but not stored yet are included. The page has at most ``limit`` bars, fewer if the
    history has holes or ``limit`` bars would need too many minutes to read; at least one if any exists.

    Args:
        stored: the history.
        hub: source of published, unstored bars.
        symbol: of the bars.
        interval: of the bars.
        end: exclusive, microseconds since the epoch, within the domain's limits.
        limit: at least 1.
        since: microseconds since the epoch.

    Raises:
        HistoryBehindError: more bars wait to be stored than the tail of unstored bars keeps.
    """
    limit = bars_per_read(interval, limit)
    unstored = hub.unstored.bars(symbol, interval.name, since, end)

    async def between(start: int, stop: int, count: int) -> dict[int, Bar]:
        bars = {bar.open_time: bar for bar in await stored.bars(symbol, interval.name, start, stop, count)}
        return bars | {time: bar for time, bar in unstored.items() if start <= time < stop}

    first = min(await between(since, end, 1), default=end)
    if first >= end:
        return Page([], older=False)
    length = interval.length or 31 * DAY
    span = length * limit
    start, stop = max(interval.floor(end - span), first), end
    width = span
    while start > first and not await between(start, stop, 1):  # a long absence: look further back
        width *= 4
        start, stop = max(interval.floor(stop - width), first), start
    while stop - start > max(span, 2 * length):  # then narrow down to the newest bars
        middle = interval.floor((start + stop) // 2)
        if await between(middle, stop, 1):
            start = middle
        else:
            stop = middle
    found = await between(start, stop, limit + 2)
    if not found:  # retention removed them meanwhile
        return Page([], older=False)
    newest = max(found)
    start = max(interval.floor(newest - span) + 1, first)
    bars = await between(start, newest + 1, limit)
    return Page([bars[time] for time in sorted(bars)][-limit:], older=start > first)
