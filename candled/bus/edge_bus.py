"""An edge's side of the bus: entries of the log and updates come in, bar events go out in order.

Two readers call the same plain ``EdgeOrder``: the log's, and the subscription to updates. What it lets pass goes
to ``publish`` at once. One task wakes every ``TICK_SECONDS`` for updates whose bar before was not closed in time.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from candled.bus.messages import PayloadError, Subjects, decode_events, decode_report
from candled.bus.nats.connection import Nats
from candled.bus.nats.protocol import Message
from candled.bus.order import EdgeOrder
from candled.bus.roster import Roster
from candled.domain.event import BarEvent

TICK_SECONDS: Final = 0.02
FORMING_SECONDS: Final = 1.0
"""For the answers to a request for the forming bars."""
FORMING_TRIES: Final = 5

_log = structlog.get_logger(__name__)


class EdgeBus:
    """Brings what the ingesters publish into order.

    Args:
        nats: the connection.
        subjects: of the exchange.
        hold: seconds that updates wait for the close of the bar before.
        publish: takes 1-minute bar events, in order.
    """

    def __init__(
        self, nats: Nats, subjects: Subjects, *, hold: float, publish: Callable[[Sequence[BarEvent]], None]
    ) -> None:
        self._nats = nats
        self._subjects = subjects
        self._publish = publish
        self.order = EdgeOrder(hold)
        self.roster = Roster()
        self.updates = 0
        """Received, of all ingesters."""
        self.refused_payloads = 0
        self._subscriptions = [
            nats.subscribe(subjects.updates(), self._take_updates),
            nats.subscribe(subjects.status, self._take_report),
        ]

    @property
    def connections(self) -> int:
        """Connections made to the bus."""
        return self._nats.connects

    @property
    def live_ingesters(self) -> dict[str, int]:
        """How many ingesters read each symbol live, by their newest reports."""
        return self.roster.live_ingesters(trio.current_time())

    def close(self) -> None:
        """Receive nothing more."""
        for subscription in self._subscriptions:
            self._nats.unsubscribe(subscription)

    def take_entry(self, sequence: int, payload: bytes) -> None:
        """Take the next entry of the log."""
        try:
            events = decode_events(payload, sequence)
        except PayloadError as error:
            self.refused_payloads += 1
            _log.error("entry of the log refused", sequence=sequence, reason=str(error))
            return
        for event in events:
            self._pass(self.order.close(event))

    async def run(self) -> None:
        """Ask for the forming bars, then do what falls due by time, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_forming)
            while True:
                await trio.sleep(TICK_SECONDS)
                self._pass(self.order.take_overdue(trio.current_time()))

    async def _ask_forming(self) -> None:
        """Get the forming bars once: those of quiet symbols would not be known until their next trade."""
        inbox = self._nats.new_inbox()
        answered = False

        def take(message: Message) -> None:
            nonlocal answered
            if not message.status:  # else the server says that no ingester is there
                answered = True
                self._take_updates(message)

        subscription = self._nats.subscribe(inbox, take)
        for _ in range(FORMING_TRIES):
            self._nats.publish(self._subjects.forming, b"", reply=inbox)
            await trio.sleep(FORMING_SECONDS)
            if answered:
                break
        self._nats.unsubscribe(subscription)

    def _take_updates(self, message: Message) -> None:
        try:
            events = decode_events(message.payload)
        except PayloadError:
            self.refused_payloads += 1
            return
        now = trio.current_time()
        self.updates += len(events)
        passed: list[BarEvent] = []
        for event in events:
            passed += self.order.update(event, now)
        self._pass(passed)

    def _take_report(self, message: Message) -> None:
        try:
            self.roster.record(decode_report(message.payload), trio.current_time())
        except PayloadError:
            self.refused_payloads += 1

    def _pass(self, events: Sequence[BarEvent]) -> None:
        if events:
            self._publish(events)
