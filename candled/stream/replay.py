"""Stored bars for a stream that begins in the past, and the seam to what happens now.

The stream is subscribed first, so closed bars wait for it from that moment on; what was closed before and is not
stored yet is put in front of them; then stored bars are told, and each of them drops what waits and says the same.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from candled.domain.bar import Bar
from candled.domain.interval import INTERVALS
from candled.stream.history import StoredBars
from candled.stream.hub import Hub
from candled.stream.message import Message, MessageKind
from candled.stream.subscription import Subscription
from candled.stream.tokens import LivePoint, ReplayPoint

_PAGE: Final = 1_000
_END_OF_TIME: Final = 1 << 62
_RANKS: Final = {name: rank for rank, name in enumerate(INTERVALS)}


def replay(
    hub: Hub,
    stored: StoredBars,
    subscription: Subscription,
    begin: LivePoint | ReplayPoint | int,
    *,
    page: int = _PAGE,
) -> AsyncIterator[list[Message]]:
    """What a stream is told before it goes live.

    Args:
        hub: where ``subscription`` is from; it must not be live yet.
        stored: the history.
        subscription: the stream.
        begin: the point to resume from, or the earliest open time to replay, microseconds since the epoch.
        page: how many bars to read at a time.

    Raises:
        HistoryBehindError: at once, not while iterating; too much waits to be stored.
    """
    selection = subscription.selection
    if isinstance(begin, LivePoint):
        subscription.wait_with(hub.unstored_after(selection, begin, 0))
        return _changes(stored, subscription, hub.symbols(), begin, page)
    if isinstance(begin, ReplayPoint):
        since = LivePoint.after(begin.position)
        subscription.wait_with(hub.unstored_after(selection, since, 0))
        return _rest_of_replay(stored, subscription, hub.symbols(), begin, since, page)
    position = hub.position
    subscription.wait_with(hub.unstored_after(selection, None, begin))
    return _from_start(stored, subscription, hub.symbols(), begin, position, None, page)


async def _from_start(
    stored: StoredBars,
    subscription: Subscription,
    served: Sequence[str],
    start_time: int,
    position: int,
    after: ReplayPoint | None,
    page: int,
) -> AsyncIterator[list[Message]]:
    """Every stored bar from ``start_time`` on: interval by interval, symbol by symbol, oldest first."""
    selection = subscription.selection
    for interval in sorted(selection.intervals, key=_RANKS.__getitem__):
        for symbol in sorted(selection.symbols or served):
            start = start_time
            if after is not None:
                here, there = (_RANKS[interval], symbol), (_RANKS[after.interval], after.symbol)
                if here < there:
                    continue
                if here == there:
                    start = max(start, after.open_time + 1)
            while True:
                bars = await stored.bars(symbol, interval, start, _END_OF_TIME, page)
                subscription.told(bars)
                if bars:
                    yield [
                        Message(
                            MessageKind.CLOSE,
                            bar,
                            bar.close_time,
                            ReplayPoint(position, start_time, interval, bar.open_time, symbol).token(),
                        )
                        for bar in bars
                    ]
                if len(bars) < page:
                    break
                start = bars[-1].open_time + 1


async def _rest_of_replay(
    stored: StoredBars,
    subscription: Subscription,
    served: Sequence[str],
    point: ReplayPoint,
    since: LivePoint,
    page: int,
) -> AsyncIterator[list[Message]]:
    """What a broken replay did not tell, then what changed since of the bars that it told."""
    async for messages in _from_start(stored, subscription, served, point.start_time, point.position, point, page):
        yield messages
    last = (_RANKS[point.interval], point.symbol, point.open_time)
    selection = subscription.selection
    # Not the tokens of `_changes`: bars that closed or changed since this stream was opened still wait, and the
    # token of a later change would claim that they were told. This one says that the replay itself is done.
    done = ReplayPoint(
        point.position,
        point.start_time,
        max(selection.intervals, key=_RANKS.__getitem__),
        _END_OF_TIME,
        max(selection.symbols or served, default=point.symbol),
    ).token()

    def was_told(bar: Bar) -> bool:
        return (_RANKS[bar.interval], bar.symbol, bar.open_time) <= last

    async for messages in _changes(stored, subscription, served, since, page, was_told):
        yield [Message(message.kind, message.bar, message.exchange_time, done) for message in messages]


async def _changes(
    stored: StoredBars,
    subscription: Subscription,
    served: Sequence[str],
    point: LivePoint,
    page: int,
    concerns: Callable[[Bar], bool] = lambda _bar: True,
) -> AsyncIterator[list[Message]]:
    """Every stored bar whose newest revision is later than ``point``, in order of those revisions."""
    selection = subscription.selection
    symbols = sorted(selection.symbols or served)
    intervals = sorted(selection.intervals, key=_RANKS.__getitem__)
    floor = point.position - 1
    while True:
        rows = await stored.changed_since(floor, symbols, intervals, page)
        more = len(rows) >= page
        if more and rows[0][0] != rows[-1][0]:
            # The last position may go on in the next page: leave it to that.
            rows = [row for row in rows if row[0] != rows[-1][0]]
        if not rows:
            return
        floor = rows[-1][0]
        changed = [
            (after, bar)
            for position, bar in rows
            if (after := LivePoint(position, _RANKS[bar.interval], bar.open_time)) > point and concerns(bar)
        ]
        subscription.told([bar for _, bar in changed])
        if changed:
            yield _in_order(changed)
        if not more:
            return


def _in_order(changed: list[tuple[LivePoint, Bar]]) -> list[Message]:
    """Messages in order of open time; each one's point is where everything up to it is told."""
    changed.sort(key=lambda row: (row[1].open_time, row[0]))
    # From the end: a message may only claim what is below everything that comes after it.
    claims: list[LivePoint] = []
    lowest: LivePoint | None = None
    highest = max(point for point, _ in changed)
    for point, _bar in reversed(changed):
        claims.append(highest if lowest is None else LivePoint.before(lowest.position))
        lowest = point if lowest is None else min(lowest, point)
    return [
        Message(MessageKind.REVISION if bar.revision else MessageKind.CLOSE, bar, bar.close_time, claim.token())
        for (_, bar), claim in zip(changed, reversed(claims), strict=True)
    ]
