"""Who listens in a simulation, and checks what every subscriber relies on."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.session import open_session
from candled.stream.subscription import Selection
from tests.simulation.outcome import Outcome

INTERVALS: Final = ("1m", "5m", "1h")
_FIELDS: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


def numbers(bar: Bar) -> tuple[int, ...]:
    """The nine that a kline has too."""
    return tuple(getattr(bar, name) for name in _FIELDS)


class Witness:
    """Hears everything at once and holds it against what is promised of events."""

    def __init__(
        self,
        outcome: Outcome,
        *,
        latest: Callable[[], int],
        is_fooled: Callable[[Bar], bool],
        single_trades: bool,
    ) -> None:
        """Make one.

        Args:
            outcome: takes what is wrong.
            latest: what time it is at the exchange, or what its clock showed, if that was later: the end of a bar
                that may be closed. Delays and jumps are no excuse.
            is_fooled: whether the exchange lied plausibly about a bar's minute.
            single_trades: no aggregate ever comes, so each update counts one trade more.
        """
        self._outcome = outcome
        self._latest = latest
        self._is_fooled = is_fooled
        self._single_trades = single_trades
        self._proven: dict[tuple[str, int], Bar] = {}
        """The newest complete bar of each minute, of any life."""
        self._position = 0
        self._stored: Mapping[tuple[str, int], Bar] = {}
        self._life: dict[tuple[str, int], Bar] = {}
        self._forming: dict[tuple[str, int], int] = {}
        self._last_close: dict[str, int] = {}

    def begin_life(self, store: MemoryStore) -> None:
        """Start a new daemon's life: bars emitted but not stored may be emitted again."""
        self._last_close.clear()
        self._life.clear()
        self._forming.clear()
        self._stored = {
            (symbol, at): bar for symbol, minutes in store.minutes.items() for at, (_, bar) in minutes.items()
        }

    def publish(self, events: Sequence[BarEvent]) -> None:
        """Take 1-minute bar events."""
        for event in events:
            if event.bar.interval != "1m":
                continue
            self._outcome.note(event)
            if event.kind is BarEventKind.UPDATE:
                self._update(event.bar)
            else:
                self._closed(event)

    def _wrong(self, what: str, *bars: Bar | None) -> None:
        self._outcome.wrong.append(f"{what}: {' to '.join(map(str, bars))}")

    def _update(self, bar: Bar) -> None:
        self._outcome.updates += 1
        key = bar.symbol, bar.open_time
        before = self._forming.get(key, 0)
        self._forming[key] = bar.trade_count
        if bar.closed or bar.complete or bar.revision:
            self._wrong("a forming bar that claims more", bar)
        if bar.trade_count <= before or (self._single_trades and bar.trade_count != before + 1):
            self._wrong(f"an update that is not one trade more than {before}", bar)

    def _closed(self, event: BarEvent) -> None:
        bar, key = event.bar, (event.bar.symbol, event.bar.open_time)
        if event.position <= self._position:
            self._wrong(f"position {event.position} after {self._position}", bar)
        self._position = event.position
        stored = self._stored.get(key)
        last = self._life.get(key, stored)
        if event.kind is BarEventKind.CLOSE:
            latest = self._latest()
            if bar.close_time > latest:
                self._wrong(f"closed {(bar.close_time - latest) / 1e6:.3f} s early", bar)
            if bar.open_time <= self._last_close.get(bar.symbol, 0):
                self._wrong("closed out of order", bar)
            if last is not None:
                self._wrong("closed again", last, bar)
            if bar.revision:
                self._wrong("closed with a revision", bar)
            self._last_close[bar.symbol] = bar.open_time
        else:
            self._outcome.revisions += 1
            if bar.revision != (1 if last is None else last.revision + 1):
                self._wrong("a revision that does not count up", last, bar)
        proven = self._proven.get(key)
        # A daemon that crashed before it stored a bar may have proven it: the next one may know less, and says so.
        is_lost = not bar.complete and (last is None or numbers(last) != numbers(proven or bar))
        changed = proven is not None and numbers(proven) != numbers(bar)
        is_excused = self._is_fooled(bar) or (proven is not None and self._is_fooled(proven))
        if changed and not is_lost and not is_excused:
            self._wrong("a bar emitted as complete changed", proven, bar)
        if last is not None and last.complete and not bar.complete and not self._is_fooled(bar):
            self._wrong("a proof was taken back", last, bar)
        self._life[key] = bar
        if bar.complete:
            self._proven[key] = bar


class Wanderer:
    """A subscriber of the hub that leaves and comes back with its resume token, over restarts of the daemon."""

    has_own = False

    def __init__(self, outcome: Outcome, rng: random.Random) -> None:
        self._outcome = outcome
        self._rng = rng
        self._token = ""
        self._wake = trio.Event()
        self.newest: dict[tuple[str, str, int], Bar] = {}
        """The newest bar received, by symbol, interval and open time."""

    def send_now(self, messages: Sequence[Message]) -> bool:
        """Take them if it is in the mood, as a socket that may be full."""
        if self._rng.random() < 0.3:
            return False
        self._hear(messages)
        return True

    def wake(self) -> None:
        """There is something to take."""
        self._wake.set()

    async def wander(self, hub: Hub, history: MemoryHistory) -> None:
        """Listen for a while, leave for a while, until cancelled."""
        while True:
            with trio.move_on_after(self._rng.expovariate(1 / 90)):
                await self.listen(hub, history)
            await trio.sleep(self._rng.expovariate(1 / 30))

    async def listen(self, hub: Hub, history: MemoryHistory) -> None:
        """Resume and stay until cancelled."""
        selection = Selection(intervals=frozenset(INTERVALS), closed_only=True)
        begin = hub.tokens.decode(self._token) if self._token else 0
        self._outcome.resumes += 1
        with open_session(
            hub, history, selection, self, begin=begin, clock=trio.current_time, batch=20, page=50
        ) as session:
            async for messages in session:
                self._hear(messages)
                await trio.lowlevel.checkpoint()

    async def wait(self, seconds: float) -> None:
        """Sleep until there is something to take."""
        self._wake = trio.Event()
        with trio.move_on_after(seconds):
            await self._wake.wait()

    def _hear(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.has_closed_bar:
                assert message.bar is not None
                bar = message.bar
                self.newest[bar.symbol, bar.interval, bar.open_time] = bar
                self._token = message.resume_token or self._token
