"""An ingester's side of the bus: takes the place of the hub for updates, and of the journal for closed bars.

``publish`` takes the engine's events and sends its updates, one message for each symbol of a batch, so that a read
of the exchange's socket costs one message. ``close`` takes closed 1-minute bars to the log. Both never wait. One
task wakes every ``TICK_SECONDS`` for what falls due by time: hedged updates, retried appends.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog
import trio

from candled.bus.appends import Append, Appends
from candled.bus.hedge import Hedge
from candled.bus.messages import PayloadError, Subjects, decode_events, encode_events, encode_report
from candled.bus.nats.connection import Nats, NoAnswerError
from candled.bus.nats.jetstream import Appended, JetStream, JetStreamError
from candled.bus.nats.protocol import Message
from candled.bus.roster import IngesterStatus
from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent
from candled.domain.interval import ONE_MINUTE
from candled.telemetry.histogram import Histogram

TICK_SECONDS: Final = 0.02
REPORT_SECONDS: Final = 1.0
"""Between two reports of this ingester to the edges."""
EVENTS_MAX: Final = 2_000
"""In one message: a quarter of what a server takes by default."""
LATE_SECONDS: Final = 5.0
"""Since when closed bars may wait for the log before the ingester says that it is not ready."""

_log = structlog.get_logger(__name__)


class IngestBus:
    """Publishes updates and appends closed bars. ``run`` does what falls due by time.

    Args:
        nats: the connection.
        subjects: of the exchange.
        rank: of this ingester, from 0; each rank waits one ``hedge`` longer.
        hedge: seconds.
        symbols: number of symbols, about.
        forming: returns the forming 1-minute bars of all symbols, as updates.
    """

    def __init__(
        self,
        nats: Nats,
        subjects: Subjects,
        *,
        rank: int,
        hedge: float,
        symbols: int,
        forming: Callable[[], Sequence[BarEvent]],
    ) -> None:
        self._nats = nats
        self._jetstream = JetStream(nats)
        self._subjects = subjects
        self.rank = rank
        self._delay = rank * hedge
        self._forming = forming
        self._hedges: dict[str, Hedge] = {}
        self._holding: dict[str, Hedge] = {}
        self.appends = Appends(self._delay, symbols)
        self.updates_published = 0
        self.refused_payloads = 0
        self.append_seconds = Histogram()
        """From an append to its answer, whether it was stored or not."""
        self.position = 0
        """Highest position of the closed bars taken."""
        self._late_since: float | None = None
        """Since when closed bars wait without a break, monotonic seconds."""
        self._append_reason = ""
        self._to_look: dict[str, None] = {}
        """Symbols whose last entry the log is to be asked for."""
        for lower in range(rank):
            nats.subscribe(subjects.updates(lower), self._observe_updates)
        nats.subscribe(subjects.forming, self._answer_forming, queue="ingest")

    # -- what the engine emits ------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Connections made to the bus."""
        return self._nats.connects

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Publish the updates among the engine's events."""
        now = trio.current_time()
        due: dict[str, list[BarEvent]] = {}
        for event in events:
            if event.kind is UPDATE and event.bar.interval == ONE_MINUTE.name:
                symbol = event.bar.symbol
                hedge = self._hedges.get(symbol)
                if hedge is None:
                    hedge = self._hedges[symbol] = Hedge(self._delay)
                passed = hedge.offer(event, now)
                if passed:
                    due.setdefault(symbol, []).extend(passed)
                elif hedge.is_holding:
                    self._holding[symbol] = hedge
        for symbol, updates in due.items():
            self._publish(symbol, updates)

    def wanted(self, _symbol: str) -> Collection[str]:
        """Return no interval: edges make the longer bars."""
        return ()

    def close(self, events: Sequence[BarEvent]) -> None:
        """Append closed 1-minute bars to the log, as soon as it takes them."""
        self.appends.offer(events, trio.current_time())
        self.position = max(self.position, *(event.position for event in events), 0)
        self._send_due()

    def forget(self, symbol: str) -> None:
        """Drop the updates of a symbol that is no longer built; what it closed is still appended."""
        self._hedges.pop(symbol, None)
        self._holding.pop(symbol, None)

    # -- what comes from the bus ----------------------------------------------------------------------------------

    def read(self, sequence: int, bar: Bar) -> None:
        """Take the next entry of the log."""
        self.appends.read(sequence, bar)

    def start_over(self, events: Sequence[BarEvent]) -> None:
        """Begin with a log that was made again: all that is known goes into it.

        Args:
            events: closed bars of this ingester, newest revisions.
        """
        self.appends.start_over()
        self.close(events)

    def report(self, report: IngesterStatus) -> None:
        """Publish how this ingester fares."""
        self._nats.publish(self._subjects.status, encode_report(report))

    async def run(self) -> None:
        """Do what falls due by time, until cancelled."""
        while True:
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()
            for symbol, hedge in list(self._holding.items()):
                due = hedge.take_due(now)
                if due:
                    self._publish(symbol, due)
                if not hedge.is_holding:
                    del self._holding[symbol]
            self._send_due()
            while self._to_look:
                await self._look(self._to_look.popitem()[0])

    def not_ready_reason(self) -> str | None:
        """Return a sentence that says why edges do not get this ingester's bars; None if they do."""
        if not self._nats.is_connected:
            return self._nats.failure
        if self._late_since is not None and trio.current_time() - self._late_since > LATE_SECONDS:
            reason = f" ({self._append_reason})" if self._append_reason else ""
            return f"{self.appends.waiting} closed bars wait for the log on the bus{reason}."
        return None

    # -- shells of the plain rules --------------------------------------------------------------------------------

    def _publish(self, symbol: str, updates: Sequence[BarEvent]) -> None:
        subject = self._subjects.update(symbol, self.rank)
        for first in range(0, len(updates), EVENTS_MAX):
            together = updates[first : first + EVENTS_MAX]
            if self._nats.publish(subject, encode_events(together)):
                self.updates_published += len(together)

    def _send_due(self) -> None:
        now = trio.current_time()
        if self._nats.is_connected:
            for append in self.appends.take_due(now):
                self._send(append)
        if not self.appends.waiting:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now

    def _send(self, append: Append) -> None:
        sent = trio.current_time()

        def take(answer: Appended) -> None:
            now = trio.current_time()
            self.append_seconds.observe(now - sent)
            self._append_reason = answer.reason
            if answer.sequence:
                self.appends.stored(append, answer.sequence)
                following = self.appends.take(append.symbol, now)
                if following is not None:
                    self._send(following)
            elif not answer.is_refused:
                self.appends.lost(append, now)
            elif self.appends.refused(append, now):
                self._to_look[append.symbol] = None

        subject = self._subjects.close(append.symbol)
        self._jetstream.append(subject, encode_events([append.event]), append.expected, take)

    async def _look(self, symbol: str) -> None:
        """Find out whether the log has no entry of a symbol any more, which the reader cannot see."""
        try:
            if await self._jetstream.is_empty(self._subjects.stream, self._subjects.close(symbol)):
                self.appends.emptied(symbol)
        except (NoAnswerError, JetStreamError) as error:
            _log.warning("log not asked", symbol=symbol, reason=str(error))

    def _observe_updates(self, message: Message) -> None:
        try:
            events = decode_events(message.payload)
        except PayloadError:
            self.refused_payloads += 1
            return
        for event in events:
            hedge = self._hedges.get(event.bar.symbol)
            if hedge is not None:
                hedge.observe(event.bar)

    def _answer_forming(self, message: Message) -> None:
        if message.reply:
            events = self._forming()
            for first in range(0, len(events), EVENTS_MAX):
                self._nats.publish(message.reply, encode_events(events[first : first + EVENTS_MAX]))
