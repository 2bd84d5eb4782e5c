"""One stream's queue: which messages it takes, which wait, and which may be dropped."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, Protocol

import attrs

from candled.domain.bar import Bar
from candled.stream.message import Message, MessageKind

_Key = tuple[str, str]
Snapshot = Callable[[str, str], Message | None]
"""Returns the message of a symbol's current forming bar of an interval."""

_HEARTBEAT: Final = MessageKind.HEARTBEAT


@attrs.frozen(slots=True, kw_only=True)
class Selection:
    """Which messages a stream takes."""

    symbols: frozenset[str] = frozenset()
    """Empty: all."""
    intervals: frozenset[str] = frozenset({"1m"})
    closed_only: bool = False
    updates_per_second: float = 0.0
    """UPDATEs a second for each symbol and interval; 0: all of them."""

    def takes(self, bar: Bar) -> bool:
        """Return whether the stream takes bars of this symbol and interval."""
        return bar.interval in self.intervals and (not self.symbols or bar.symbol in self.symbols)


class Outlet(Protocol):
    """Delivers messages to one client."""

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Send all messages without waiting, or none and return False."""

    def wake(self) -> None:
        """Wake the outlet's task: a message is ready to ``take``, or the subscription has ended."""


class EndCause(Enum):
    """Why the service ends a stream."""

    FELL_BEHIND = "fell behind"
    REMOVED = "removed"
    """A symbol that it named is no longer served."""
    SHUTDOWN = "shutdown"
    CUT_OFF = "cut off"
    """This process gets no new bars; another one may."""


@attrs.frozen(slots=True)
class Ended:
    """Why and where the service ended a stream."""

    cause: EndCause
    resume_time: int | None
    """``start_time`` that resumes without a hole, microseconds since the epoch; None if nothing closed yet."""
    symbol: str = ""
    """The symbol that was removed."""


@attrs.define
class Counters:
    """Counters of one hub's subscriptions, for metrics."""

    conflated: int = 0
    fell_behind: int = 0


class Subscription:
    """Conflation for one stream: only the newest of each forming bar, every closed bar up to a bound.

    While nothing waits, messages go straight to the outlet. Once the outlet cannot take them at once they wait
    here, and the outlet's own task fetches them with ``take`` until nothing is left. Plain: no clock, no I/O.

    Until ``go_live`` only closed bars are kept: a replay of stored bars is under way.
    """

    __slots__ = (
        "_backlog_max",
        "_busy",
        "_closed",
        "_counters",
        "_direct",
        "_forming",
        "_heartbeat",
        "_live",
        "_must_stop",
        "_not_before",
        "_outlet",
        "_period",
        "_quiet_since",
        "_send_now",
        "_snapshot",
        "_snapshots_due",
        "_wake_at",
        "ended",
        "selection",
    )

    def __init__(
        self,
        selection: Selection,
        outlet: Outlet,
        *,
        backlog_max: int,
        heartbeat: float,
        now: float,
        counters: Counters,
    ) -> None:
        self.selection = selection
        self.ended: Ended | None = None
        self._outlet = outlet
        self._send_now = outlet.send_now
        self._backlog_max = backlog_max
        self._heartbeat = heartbeat
        self._counters = counters
        self._period = 1 / selection.updates_per_second if selection.updates_per_second > 0 else 0.0
        self._live = False
        self._busy = True
        self._direct = False
        self._closed: deque[Message] = deque()
        self._forming: dict[_Key, Message] = {}
        self._snapshots_due: dict[_Key, None] = {}
        self._snapshot: Snapshot = _no_snapshot
        self._not_before: dict[_Key, float] = {}
        self._quiet_since = now
        self._wake_at = now
        self._must_stop = False

    def __repr__(self) -> str:
        state = self.ended.cause.value if self.ended else "live" if self._live else "replaying"
        return (
            f"Subscription({state}, closed={len(self._closed)}, forming={len(self._forming)}, busy={self._busy})"
        )

    @property
    def must_stop(self) -> bool:
        """Whether it has ended and even a send in progress is to be aborted."""
        return self._must_stop

    @property
    def oldest_waiting(self) -> int | None:
        """Earliest open time of the closed bars that wait."""
        return min((message.bar.open_time for message in self._closed if message.bar), default=None)

    def offer(self, messages: Sequence[Message], now: float) -> bool:
        """Offer new messages that the selection takes, in order; return False if the backlog is full."""
        # For every trade and stream: one function with all cases, and the usual one first.
        if self._direct and self._send_now(messages):
            self._quiet_since = now
            return True
        if self.ended is not None:
            return True
        due = now
        for message in messages:
            bar = message.bar
            assert bar is not None
            key = (bar.symbol, bar.interval)
            if message.has_closed_bar:
                self._closed.append(message)
                waiting = self._forming.get(key)
                if waiting is not None and waiting.bar is not None and waiting.bar.open_time <= bar.open_time:
                    del self._forming[key]
            elif self._live:
                waiting = self._forming.get(key)
                if key in self._snapshots_due:
                    del self._snapshots_due[key]
                    message = Message(MessageKind.SNAPSHOT, bar, message.exchange_time)
                elif waiting is not None:
                    self._counters.conflated += 1
                    if waiting.kind is MessageKind.SNAPSHOT:  # the first of its kind stays a snapshot
                        message = Message(MessageKind.SNAPSHOT, bar, message.exchange_time)
                self._forming[key] = message
                if self._period:
                    due = max(now, self._not_before.get(key, now))
        self._direct = False
        if not self._busy and (due < self._wake_at or self._closed):
            self._wake_at = due
            self._outlet.wake()
        return len(self._closed) <= self._backlog_max

    def go_live(self, keys: Iterable[_Key] = (), snapshot: Snapshot | None = None) -> None:
        """Take forming bars from here on, first those of ``keys`` as they stand: the replay is over.

        Args:
            keys: symbol and interval of each.
            snapshot: gives the message of one, None where nothing is forming. It is asked when the message is
                about to be sent, few at a time: thousands at once would hold the event loop.
        """
        self._live = True
        if snapshot is not None and not self.selection.closed_only:
            self._snapshot = snapshot
            self._snapshots_due = dict.fromkeys(keys)

    def take(self, now: float, limit: int) -> list[Message]:
        """Return the next messages to send, closed bars first; empty if none is due.

        The outlet's task sends what it took before it takes again. If none is due it waits
        ``seconds_until_due``, or until it is woken.
        """
        out: list[Message] = []
        closed = self._closed
        while closed and len(out) < limit:
            out.append(closed.popleft())
        self._take_snapshots(limit - len(out))
        if self._forming and len(out) < limit and self.ended is None:
            if self._period:
                keys = [key for key in self._forming if self._not_before.get(key, now) <= now][: limit - len(out)]
                for key in keys:
                    out.append(self._forming.pop(key))
                    self._not_before[key] = now + self._period
            elif len(self._forming) <= limit - len(out):
                out += self._forming.values()
                self._forming.clear()
            else:
                keys = list(self._forming)[: limit - len(out)]
                out += [self._forming.pop(key) for key in keys]
        if not out and self._live and self.ended is None and now >= self._quiet_since + self._heartbeat:
            out.append(Message(_HEARTBEAT, None, 0))
        if out:
            self._quiet_since = now
            self._busy = True
        else:
            self._busy = False
            self._direct = self._live and not self._period and self.ended is None and not self._forming
        return out

    def _take_snapshots(self, count: int) -> None:
        while count > 0 and self._snapshots_due:
            key = next(iter(self._snapshots_due))
            del self._snapshots_due[key]
            message = self._snapshot(*key)
            if message is not None:
                self._forming[key] = message
                count -= 1

    def seconds_until_due(self, now: float) -> float:
        """Return how long the outlet's task may sleep unless it is woken."""
        due = self._quiet_since + self._heartbeat
        if self._period:
            due = min([due, *(self._not_before.get(key, now) for key in self._forming)])
        self._wake_at = due
        return max(0.0, due - now)

    def end(self, ended: Ended) -> None:
        """End the stream: queued closed bars may still be sent, unless it fell behind."""
        if self.ended is None:
            self.ended = ended
            self._direct = False
            self._forming.clear()
            self._snapshots_due.clear()
            if ended.cause is EndCause.FELL_BEHIND:
                self.stop()
                self._counters.fell_behind += 1
            self._outlet.wake()

    def stop(self) -> None:
        """Stop waiting for the client of an ended stream."""
        self._must_stop = True
        self._closed.clear()
        self._outlet.wake()

    def wait_with(self, messages: Sequence[Message]) -> None:
        """Queue closed bars that are not stored yet, to be sent after the replay."""
        self._closed.extend(messages)

    def drop_sent(self, bars: Sequence[Bar]) -> None:
        """Drop queued messages that these bars, sent by the replay, equal or supersede."""
        if not self._closed:
            return
        newest = {(bar.symbol, bar.interval, bar.open_time): bar for bar in bars}
        kept: deque[Message] = deque()
        settled: set[tuple[str, str, int]] = set()
        for message in reversed(self._closed):  # newest first: once one is known as sent, so are those before it
            assert message.bar is not None
            key = (message.bar.symbol, message.bar.interval, message.bar.open_time)
            stored = newest.get(key)
            if stored is None:
                kept.appendleft(message)
            elif key in settled or stored.revision > message.bar.revision or _same(stored, message.bar):
                settled.add(key)
            else:
                kept.appendleft(message)
        self._closed = kept


def _no_snapshot(_symbol: str, _interval: str) -> None:
    return None


def _same(one: Bar, other: Bar) -> bool:
    """Return whether two bars are the same to a client."""
    return all(getattr(one, name) == getattr(other, name) for name in _SEEN)


_SEEN: Final = tuple(name for name in Bar.__struct_fields__ if name != "previous_trade_id")
