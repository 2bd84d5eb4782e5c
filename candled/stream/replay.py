"""Replay stored bars to a stream that begins in the past, up to its live messages.

The stream is subscribed first, so closed bars are queued for it from then on; earlier closed bars that are
not stored yet are put in front of them; then stored bars are sent, each of which drops queued duplicates.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.interval import INTERVALS
from candled.domain.limits import TIME_MAX
from candled.domain.storage import BarReader
from candled.stream.hub import Hub
from candled.stream.message import Message, MessageKind
from candled.stream.reads import bars_per_read
from candled.stream.resume import LivePoint, ReplayPoint, ResumeTokens
from candled.stream.subscription import Subscription

PAGE: Final = 1_000
_RANKS: Final = {name: rank for rank, name in enumerate(INTERVALS)}


def replay(
    hub: Hub,
    stored: BarReader,
    subscription: Subscription,
    begin: LivePoint | ReplayPoint | int,
    *,
    page: int = PAGE,
) -> AsyncIterator[list[Message]]:
    """Return batches of the stored messages that a stream receives before it goes live.

    Args:
        hub: the hub of ``subscription``, which must not be live yet.
        stored: the history.
        subscription: the stream.
        begin: the point to resume from, or the earliest open time to replay, microseconds since the epoch.
        page: how many bars to read at a time.

    Raises:
        HistoryBehindError: at once, not while iterating: too many bars wait to be stored.
    """
    selection = subscription.selection
    run = _Replay(
        stored=stored,
        subscription=subscription,
        symbols=sorted(selection.symbols or hub.symbols()),
        intervals=sorted(selection.intervals, key=_RANKS.__getitem__),
        tokens=hub.tokens,
        page=page,
    )
    if isinstance(begin, LivePoint):
        subscription.wait_with(hub.unstored_after(selection, begin, 0))
        return run.changes(begin)
    if isinstance(begin, ReplayPoint):
        since = LivePoint.after(begin.position)
        subscription.wait_with(hub.unstored_after(selection, since, 0))
        return run.rest(begin, since)
    # Not the newest position: unstored bars are only queued, and would be lost if this stream breaks now.
    position = stored.stored_position
    subscription.wait_with(hub.unstored_after(selection, None, begin))
    return run.from_start(begin, position)


@attrs.frozen(kw_only=True)
class _Replay:
    """Shared state of the kinds of replay."""

    stored: BarReader
    subscription: Subscription
    symbols: Sequence[str]
    intervals: Sequence[str]
    """Shortest first."""
    tokens: ResumeTokens
    page: int

    async def from_start(
        self, start_time: int, position: int, after: ReplayPoint | None = None
    ) -> AsyncIterator[list[Message]]:
        """Yield every stored bar from ``start_time`` on: by interval, then symbol, oldest first.

        Args:
            start_time: microseconds since the epoch.
            position: newest stored position when the replay began.
            after: the point where an earlier replay was interrupted; None: none was.
        """
        for interval in self.intervals:
            for symbol in self.symbols:
                start = start_time
                if after is not None:
                    here, there = (_RANKS[interval], symbol), (_RANKS[after.interval], after.symbol)
                    if here < there:
                        continue
                    if here == there:
                        start = max(start, after.open_time + 1)
                count = bars_per_read(INTERVALS[interval], self.page)
                while True:
                    bars = await self.stored.bars(symbol, interval, start, TIME_MAX, count)
                    self.subscription.drop_sent(bars)
                    if bars:
                        yield [
                            self._message(
                                MessageKind.CLOSE,
                                bar,
                                ReplayPoint(position, start_time, interval, bar.open_time, symbol),
                            )
                            for bar in bars
                        ]
                    if len(bars) < count:
                        break
                    start = bars[-1].open_time + 1

    async def rest(self, point: ReplayPoint, since: LivePoint) -> AsyncIterator[list[Message]]:
        """Yield the rest of an interrupted replay, then later changes of the bars that it had sent."""
        async for messages in self.from_start(point.start_time, point.position, point):
            yield messages
        last = (_RANKS[point.interval], point.symbol, point.open_time)
        # Not the tokens of `changes`: bars that closed or changed since this stream was opened still wait, and
        # the token of a later change would claim that they were sent. That of `since` claims only the replay.

        def was_sent(bar: Bar) -> bool:
            return (_RANKS[bar.interval], bar.symbol, bar.open_time) <= last

        async for messages in self.changes(since, was_sent):
            yield [
                Message(message.kind, message.bar, message.exchange_time, since, self.tokens)
                for message in messages
            ]

    async def changes(
        self, point: LivePoint, concerns: Callable[[Bar], bool] = lambda _bar: True
    ) -> AsyncIterator[list[Message]]:
        """Yield every stored bar whose newest revision is later than ``point``, in order of those revisions."""
        floor = point.position - 1
        while True:
            rows = await self.stored.changed_since(floor, self.symbols, self.intervals, self.page)
            more = len(rows) >= self.page
            if more and rows[0][0] != rows[-1][0]:
                # The last position may continue in the next page: leave it to that page.
                rows = [row for row in rows if row[0] != rows[-1][0]]
            if not rows:
                return
            floor = rows[-1][0]
            changed = [
                (after, bar)
                for position, bar in rows
                if (after := LivePoint.at(position, bar.interval, bar.open_time)) > point and concerns(bar)
            ]
            self.subscription.drop_sent([bar for _, bar in changed])
            if changed:
                yield self._in_order(changed)
            if not more:
                return

    def _in_order(self, changed: list[tuple[LivePoint, Bar]]) -> list[Message]:
        """Return messages in order of open time, each with a point up to which everything was sent."""
        changed.sort(key=lambda row: (row[1].open_time, row[0]))
        # From the end: a message may only claim what is below everything that comes after it.
        claims: list[LivePoint] = []
        lowest: LivePoint | None = None
        highest = max(point for point, _ in changed)
        for point, _bar in reversed(changed):
            claims.append(highest if lowest is None else LivePoint.before(lowest.position))
            lowest = point if lowest is None else min(lowest, point)
        return [
            self._message(MessageKind.REVISION if bar.revision else MessageKind.CLOSE, bar, claim)
            for (_, bar), claim in zip(changed, reversed(claims), strict=True)
        ]

    def _message(self, kind: MessageKind, bar: Bar, point: LivePoint | ReplayPoint) -> Message:
        return Message(kind, bar, bar.close_time, point, self.tokens)
