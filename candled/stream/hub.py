"""Publish the engine's bars to the clients' streams. Plain: no Trio, no asyncio, no wire form.

State: open streams by selection (``groups``) and how far bars are published (``progress``). Closed bars that
are not stored yet are in ``unstored``, which others read too.

The order of events in ``publish``, which runs without a checkpoint:

1. Events go in runs of at most 48, so that what one stream gets at once fits an HTTP/2 frame.
2. For each event the groups that take it get the same message, built once; closed bars enter the tail.
3. Each touched group's subscriptions are offered the run: those that keep up write at once (``Outlet.send_now``),
   the others queue it. One whose queue is full is ended.
4. ``after_publish`` callbacks let outlets write their gathered frames.

Invariants: a closed bar is in the tail before any stream has it; a subscription exists from ``subscribe`` on, so a
replay that begins later misses nothing; groups are replaced, never mutated, as ``publish`` may iterate over them.
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent
from candled.domain.interval import INTERVALS
from candled.domain.storage import StoredPosition
from candled.stream.groups import Group, Groups, Key
from candled.stream.message import Message, MessageKind, message_of
from candled.stream.progress import Progress
from candled.stream.resume import LivePoint, ResumeTokens
from candled.stream.subscription import Counters, EndCause, Ended, Outlet, Selection, Subscription
from candled.stream.unstored import UnstoredTail

HEARTBEAT_SECONDS: Final = 15.0
_TOGETHER_MAX: Final = 48
"""Messages offered to a stream at once: they fit one HTTP/2 frame, so a burst does not count as slowness."""


class TooManyStreamsError(Exception):
    """The limit on open streams is reached."""


@attrs.frozen(slots=True)
class HubStatistics:
    """The hub at one moment."""

    subscribers: int
    messages: int
    """Published since the start, counted once each, however many streams took it."""
    conflated: int
    """Forming bars replaced by newer ones before a slow stream took them."""
    fell_behind: int
    """Streams ended because their backlog of closed bars was full."""
    unstored: int
    """Closed bars in the tail of unstored ones."""


class Hub:
    """Fans bar events out to streams by their selections.

    Args:
        clock: monotonic seconds.
        snapshot: the forming bar of a symbol and interval, now.
        symbols: the symbols served now.
        stored: the history; publish an event here before it is given to the history.
        unstored: takes every closed bar that is published; None makes one over ``stored``.
        oldest_position: the position after which every change is still known; None: all are.
        backlog_max: maximum number of closed bars that wait for one slow stream.
        streams_max: maximum number of open streams.
        heartbeat: seconds of silence after which a stream gets a HEARTBEAT.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        snapshot: Callable[[str, str], Bar | None],
        symbols: Callable[[], Sequence[str]],
        stored: StoredPosition,
        unstored: UnstoredTail | None = None,
        oldest_position: Callable[[], int] | None = None,
        backlog_max: int = 10_000,
        streams_max: int = 10_000,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.symbols = symbols
        self.tokens = ResumeTokens(stored.history_id)
        """Writes and reads the resume tokens of this hub's streams."""
        self.unstored = UnstoredTail(stored) if unstored is None else unstored
        self._clock = clock
        self._snapshot = snapshot
        self._stored = stored
        self._oldest_position = oldest_position
        self._backlog_max = backlog_max
        self._streams_max = streams_max
        self._heartbeat = heartbeat
        self._groups = Groups()
        self._progress = Progress()
        self._flushes: list[Callable[[], None]] = []
        self._counters = Counters()
        self._messages = 0
        self._closing = False

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Send events to every stream that takes them, in order, without waiting.

        Args:
            events: of all intervals, in the order of the engine; their positions rise.
        """
        for first in range(0, len(events), _TOGETHER_MAX):
            self._offer(events if len(events) <= _TOGETHER_MAX else events[first : first + _TOGETHER_MAX])
        for flush in self._flushes:
            flush()

    def _offer(self, events: Sequence[BarEvent]) -> None:
        # Deeper and longer than elsewhere on purpose: this runs for every trade, a call for each event or group
        # would cost more than the loops do.
        now = self._clock()
        groups_of, progress = self._groups.by_key.get, self._progress
        takers: dict[Key, list[Group]] = {}
        touched: dict[Group, None] = {}
        closed_events: list[BarEvent] = []
        for event in events:
            bar = event.bar
            closed = event.kind is not UPDATE
            if closed:
                closed_events.append(event)
                progress.note_closed(event)
            if event.exchange_time > progress.exchange_time:
                progress.exchange_time = event.exchange_time
            message: Message | None = None
            key = (bar.symbol, bar.interval)
            groups = takers.get(key)
            if groups is None:
                groups = takers[key] = [*groups_of(key, ()), *groups_of((None, bar.interval), ())]
            for group in groups:
                if closed or not group.closed_only:
                    if message is None:
                        message = message_of(event, self.tokens)
                        self._messages += 1
                    group.batch.append(message)
                    touched[group] = None
        if closed_events:
            self.unstored.append(closed_events, now)
        for group in touched:
            batch, group.batch = group.batch, []
            for subscription in group.subscriptions:
                if not subscription.offer(batch, now):
                    subscription.end(Ended(EndCause.FELL_BEHIND, self._resume_time(subscription)))

    def after_publish(self, flush: Callable[[], None]) -> None:
        """Call ``flush`` at the end of every ``publish``: outlets may gather messages until then."""
        self._flushes.append(flush)

    def wanted(self, symbol: str) -> frozenset[str]:
        """Return the intervals of a symbol whose forming bars some stream takes."""
        return self._groups.wanted(symbol)

    def subscribe(self, selection: Selection, outlet: Outlet) -> Subscription:
        """Open a stream: from here on it misses no closed bar. It is live once ``go_live`` is called.

        Args:
            selection: which messages it takes.
            outlet: delivers to its client.

        Raises:
            TooManyStreamsError: the limit on streams is reached.
        """
        if self._groups.streams >= self._streams_max:
            raise TooManyStreamsError
        subscription = Subscription(
            selection,
            outlet,
            backlog_max=self._backlog_max,
            heartbeat=self._heartbeat,
            now=self._clock(),
            counters=self._counters,
        )
        self._groups.add(subscription)
        if self._closing:
            subscription.end(Ended(EndCause.SHUTDOWN, self._resume_time(subscription)))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a stream that is gone."""
        self._groups.remove(subscription)

    def go_live(self, subscription: Subscription) -> None:
        """Send snapshots, then live messages, after the replay if there is one."""
        selection = subscription.selection
        intervals = sorted(selection.intervals, key=list(INTERVALS).index)
        symbols = sorted(selection.symbols) or self.symbols()
        subscription.go_live(((symbol, interval) for symbol in symbols for interval in intervals), self._forming)

    def _forming(self, symbol: str, interval: str) -> Message | None:
        bar = self._snapshot(symbol, interval)
        return None if bar is None else Message(MessageKind.SNAPSHOT, bar, self._progress.exchange_time)

    @property
    def position(self) -> int:
        """Position of the newest closed bar published or stored."""
        return max(self._progress.position, self._stored.stored_position)

    @property
    def oldest_position(self) -> int:
        """A stream that resumes from an earlier position would miss changes that are not known any more."""
        return 0 if self._oldest_position is None else self._oldest_position()

    @property
    def here(self) -> LivePoint:
        """Resume point of a stream that begins now: resuming from it misses nothing."""
        floor = self._progress.resume_floor
        if 0 < floor <= self.position:
            return LivePoint.before(floor)
        return LivePoint.after(self.position)

    def unstored_after(self, selection: Selection, point: LivePoint | None, start_time: int) -> list[Message]:
        """Return messages for the published closed bars that are not stored yet, in order.

        Args:
            selection: which bars.
            point: only bars after it; None: from ``start_time`` on.
            start_time: earliest open time if there is no point.

        Raises:
            HistoryBehindError: the tail dropped bars that are not stored yet.
        """
        return [
            message_of(event, self.tokens)
            for event in self.unstored.events()
            if selection.takes(event.bar)
            and (event.bar.open_time >= start_time if point is None else LivePoint.of(event) > point)
        ]

    def forget(self, symbol: str) -> None:
        """Stop serving a symbol: streams that named it end, those of all symbols continue."""
        for subscription in self._groups.naming(symbol):
            subscription.end(Ended(EndCause.REMOVED, self._resume_time(subscription), symbol))
        self._progress.forget(symbol)
        self._groups.forget(symbol)

    def close(self) -> None:
        """End every stream, and refuse new ones, when the daemon stops."""
        self._closing = True
        self._end_streams(EndCause.SHUTDOWN)

    def send_elsewhere(self) -> None:
        """End every open stream because this process gets no new bars; new streams are taken."""
        self._end_streams(EndCause.CUT_OFF)

    def stop_waiting(self) -> None:
        """Cancel the pending sends of ended streams that still wait for their clients."""
        for subscription in self._groups:
            if subscription.ended is not None:
                subscription.stop()

    def statistics(self) -> HubStatistics:
        """Return the hub's figures at this moment."""
        return HubStatistics(
            self._groups.streams,
            self._messages,
            self._counters.conflated,
            self._counters.fell_behind,
            len(self.unstored),
        )

    def _end_streams(self, cause: EndCause) -> None:
        for subscription in self._groups:
            subscription.end(Ended(cause, self._resume_time(subscription)))
        for flush in self._flushes:
            flush()

    def _resume_time(self, subscription: Subscription) -> int | None:
        selection = subscription.selection
        symbols = selection.symbols or self.symbols()
        return self._progress.resume_time(symbols, selection.intervals, subscription.oldest_waiting)
