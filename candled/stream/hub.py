"""Where the bars of the engine meet the streams of the clients. Plain: no Trio, no asyncio, no wire form."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS
from candled.stream.history import StoredBars
from candled.stream.message import Message, MessageKind, message_of
from candled.stream.subscription import Counters, EndCause, Ended, Outlet, Selection, Subscription
from candled.stream.tokens import LivePoint

HEARTBEAT_SECONDS: Final = 15.0
_TOGETHER_MAX: Final = 48
"""Messages handed to a stream at once: so many fit one HTTP/2 frame, so that a burst is not taken for slowness."""
_UNSTORED_MAX: Final = 100_000


class HistoryBehindError(Exception):
    """More closed bars wait to be stored than are remembered: a replay would have a hole."""


class TooManyStreamsError(Exception):
    """The limit on open streams is reached."""


@attrs.frozen(slots=True)
class HubStatistics:
    """The hub at one moment."""

    subscribers: int
    messages: int
    """Published since the start, counted once each, however many streams took it."""
    conflated: int
    """Forming bars that were replaced by a newer one before a slow stream took them."""
    fell_behind: int
    """Streams ended because too many closed bars waited."""
    unstored: int
    """Closed bars remembered because they are not stored yet."""


@attrs.define(eq=False)
class _Group:
    """Streams with one selection: what they take is worked out once for all of them."""

    closed_only: bool
    keys: tuple[tuple[str | None, str], ...]
    subscriptions: dict[Subscription, None] = attrs.Factory(dict)
    batch: list[Message] = attrs.Factory(list)


class Hub:
    """Takes bar events and gives each stream what it asked for.

    Args:
        clock: monotonic seconds.
        snapshot: the forming bar of a symbol and interval, as it stands.
        symbols: the symbols served now.
        stored: the history; publish an event here before it is given to the history.
        backlog_max: how many closed bars may wait for one slow stream.
        streams_max: how many streams may be open.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        snapshot: Callable[[str, str], Bar | None],
        symbols: Callable[[], Sequence[str]],
        stored: StoredBars,
        backlog_max: int = 10_000,
        streams_max: int = 10_000,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.symbols = symbols
        self._clock = clock
        self._snapshot = snapshot
        self._stored = stored
        self._backlog_max = backlog_max
        self._streams_max = streams_max
        self._heartbeat = heartbeat
        self._groups: dict[Selection, _Group] = {}
        self._by_key: dict[tuple[str | None, str], list[_Group]] = {}
        self._wanted: dict[str, frozenset[str]] = {}
        self._flushes: list[Callable[[], None]] = []
        self._counters = Counters()
        self._streams = 0
        self._messages = 0
        self._exchange_time = 0
        self._position = 0
        self._unstored: deque[BarEvent] = deque()
        self._forgotten = 0
        self._owed_from = 0
        self._closed_until: dict[tuple[str, str], int] = {}
        self._closing = False

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Give events to every stream that takes them, in order; returns at once."""
        for first in range(0, len(events), _TOGETHER_MAX):
            self._offer(events if len(events) <= _TOGETHER_MAX else events[first : first + _TOGETHER_MAX])
        for flush in self._flushes:
            flush()

    def _offer(self, events: Sequence[BarEvent]) -> None:
        now = self._clock()
        touched: dict[_Group, None] = {}
        for event in events:
            bar = event.bar
            closed = event.kind is not BarEventKind.UPDATE
            if closed:
                self._remember(event)
            if event.exchange_time > self._exchange_time:
                self._exchange_time = event.exchange_time
            message: Message | None = None
            for key in ((bar.symbol, bar.interval), (None, bar.interval)):
                for group in self._by_key.get(key, ()):
                    if closed or not group.closed_only:
                        if message is None:
                            message = message_of(event)
                            self._messages += 1
                        group.batch.append(message)
                        touched[group] = None
        for group in touched:
            batch, group.batch = group.batch, []
            for subscription in group.subscriptions:
                if not subscription.offer(batch, now):
                    subscription.end(Ended(EndCause.FELL_BEHIND, self._resume_time(subscription)))

    def after_publish(self, flush: Callable[[], None]) -> None:
        """Call ``flush`` at the end of every ``publish``: outlets may gather until then what they send."""
        self._flushes.append(flush)

    def wanted(self, symbol: str) -> frozenset[str]:
        """The intervals of a symbol whose forming bars some stream takes."""
        wanted = self._wanted.get(symbol)
        if wanted is None:
            wanted = self._wanted[symbol] = frozenset(
                interval
                for key_symbol in (symbol, None)
                for interval in INTERVALS
                if any(not group.closed_only for group in self._by_key.get((key_symbol, interval), ()))
            )
        return wanted

    def subscribe(self, selection: Selection, outlet: Outlet) -> Subscription:
        """A new stream: from here on no closed bar passes it by. It is live once ``go_live`` is called.

        Raises:
            TooManyStreamsError: the limit on streams is reached.
        """
        if self._streams >= self._streams_max:
            raise TooManyStreamsError
        subscription = Subscription(
            selection,
            outlet,
            backlog_max=self._backlog_max,
            heartbeat=self._heartbeat,
            now=self._clock(),
            counters=self._counters,
        )
        group = self._groups.get(_group_key(selection))
        if group is None:
            symbols: tuple[str | None, ...] = tuple(sorted(selection.symbols)) or (None,)
            keys = tuple((symbol, interval) for symbol in symbols for interval in selection.intervals)
            group = self._groups[_group_key(selection)] = _Group(selection.closed_only, keys)
            for key in keys:
                self._by_key.setdefault(key, []).append(group)
            self._wanted.clear()
        group.subscriptions[subscription] = None
        self._streams += 1
        if self._closing:
            subscription.end(Ended(EndCause.SHUTDOWN, self._resume_time(subscription)))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """The stream is gone."""
        key = _group_key(subscription.selection)
        group = self._groups[key]
        # Replaced, not changed: a stream may fail and leave while `publish` goes through the others.
        group.subscriptions = {s: None for s in group.subscriptions if s is not subscription}
        self._streams -= 1
        if not group.subscriptions:
            del self._groups[key]
            for group_key in group.keys:
                groups = self._by_key[group_key] = [g for g in self._by_key[group_key] if g is not group]
                if not groups:
                    del self._by_key[group_key]
            self._wanted.clear()

    def go_live(self, subscription: Subscription) -> None:
        """The replay, if any, is told: snapshots, then everything as it happens."""
        selection = subscription.selection
        snapshots = []
        if not selection.closed_only:
            for symbol in sorted(selection.symbols) or self.symbols():
                for interval in sorted(selection.intervals, key=list(INTERVALS).index):
                    bar = self._snapshot(symbol, interval)
                    if bar is not None:
                        snapshots.append(Message(MessageKind.SNAPSHOT, bar, self._exchange_time))
        subscription.go_live(snapshots)

    @property
    def position(self) -> int:
        """Position of the newest closed bar published or stored."""
        return max(self._position, self._stored.stored_position)

    @property
    def here(self) -> LivePoint:
        """Where a stream that begins now begins: resuming from here misses nothing that it is to be told."""
        if 0 < self._owed_from <= self.position:
            return LivePoint.before(self._owed_from)
        return LivePoint.after(self.position)

    def unstored_after(self, selection: Selection, point: LivePoint | None, start_time: int) -> list[Message]:
        """Messages of the closed bars that stored bars may lack, in order.

        Args:
            selection: which bars.
            point: only what came after it; None: from ``start_time`` on.
            start_time: earliest open time, where there is no point.

        Raises:
            HistoryBehindError: some are no longer remembered.
        """
        self._prune()
        if self._forgotten > self._stored.stored_position:
            raise HistoryBehindError
        return [
            message_of(event)
            for event in self._unstored
            if selection.takes(event.bar)
            and (event.bar.open_time >= start_time if point is None else LivePoint.of(event) > point)
        ]

    def forget(self, symbol: str) -> None:
        """This symbol is no longer served: streams that asked for it by name end, those of all symbols go on."""
        for group in self._groups.values():
            if any(key_symbol == symbol for key_symbol, _ in group.keys):
                for subscription in group.subscriptions:
                    ended = Ended(EndCause.REMOVED, self._resume_time(subscription), symbol)
                    subscription.end(ended)
        for interval in INTERVALS:
            self._closed_until.pop((symbol, interval), None)
        self._wanted.pop(symbol, None)

    def close(self) -> None:
        """End every stream, and any that comes: the daemon stops."""
        self._closing = True
        for group in self._groups.values():
            for subscription in group.subscriptions:
                subscription.end(Ended(EndCause.SHUTDOWN, self._resume_time(subscription)))
        for flush in self._flushes:
            flush()

    def stop_waiting(self) -> None:
        """Streams that have ended but still wait for their clients give those up."""
        for group in self._groups.values():
            for subscription in group.subscriptions:
                if subscription.ended is not None:
                    subscription.stop()

    def statistics(self) -> HubStatistics:
        """The hub as it is now."""
        return HubStatistics(
            self._streams,
            self._messages,
            self._counters.conflated,
            self._counters.fell_behind,
            len(self._unstored),
        )

    def _remember(self, event: BarEvent) -> None:
        bar = event.bar
        key = (bar.symbol, bar.interval)
        self._closed_until[key] = max(self._closed_until.get(key, 0), bar.close_time)
        self._owed_from = event.owed_from
        self._position = max(self._position, event.position)
        self._unstored.append(event)
        self._prune()
        if len(self._unstored) > _UNSTORED_MAX:
            self._forgotten = max(self._forgotten, self._unstored.popleft().position)

    def _prune(self) -> None:
        stored, unstored = self._stored.stored_position, self._unstored
        while unstored and unstored[0].position <= stored:
            unstored.popleft()

    def _resume_time(self, subscription: Subscription) -> int | None:
        selection = subscription.selection
        ends = [
            self._closed_until[symbol, interval]
            for symbol in selection.symbols or self.symbols()
            for interval in selection.intervals
            if (symbol, interval) in self._closed_until
        ]
        oldest = subscription.oldest_waiting
        times = ends if oldest is None else [*ends, oldest]
        # Bars of every interval that were open then: each by its own alignment.
        return (
            min(
                (INTERVALS[name].floor(min(times)) for name in selection.intervals),
                default=None,
            )
            if times
            else None
        )


def _group_key(selection: Selection) -> Selection:
    """Streams that differ only in how often they want updates share a group."""
    return attrs.evolve(selection, updates_per_second=0.0)
