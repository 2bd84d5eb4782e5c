"""All symbols' appends to the log: which to send now, and what each answer means. Plain: no clock, no I/O.

One append of a symbol is under way at a time, appends of different symbols run beside each other. An answer is
``stored``, ``refused`` (another ingester was first), or ``lost`` (none came, or not from the log). After a refusal
the symbol waits for the reader, which brings the entry that was first; then its bar is judged again.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from candled.bus.symbol_log import MINUTES_MAX, SymbolLog
from candled.domain.bar import Bar
from candled.domain.event import BarEvent

ANSWER_SECONDS: Final = 2.0
"""After which an append without an answer counts as lost, and is judged and sent again."""
RETRY_SECONDS: Final = 0.05
"""Between an append that was not stored and the next try, if the reader brings nothing before."""
REFUSED_LOOK: Final = 5
"""Refusals in a row, with nothing read in between, after which the log is asked for its last entry."""
REMEMBERED_MAX: Final = 1_000_000
"""Summaries of minutes in memory, of all symbols together."""


@attrs.frozen(slots=True)
class Append:
    """One entry to append by compare-and-set."""

    event: BarEvent
    expected: int
    """Sequence of the symbol's last entry."""
    number: int
    """Names it in ``stored``, ``refused`` and ``lost``."""

    @property
    def symbol(self) -> str:
        """Whose log."""
        return self.event.bar.symbol


@attrs.define(slots=True)
class _State:
    log: SymbolLog
    sent: Append | None = None
    lost_at: float = 0.0
    """When the append under way counts as lost."""
    wait_until: float = 0.0
    refusals: int = 0


class Appends:
    """Appends of one ingester.

    Args:
        delay: seconds that a closed bar waits for ingesters of lower rank.
        symbols: how many there are, about: the more, the fewer minutes of each are remembered.
    """

    def __init__(self, delay: float = 0.0, symbols: int = 1) -> None:
        self._delay = delay
        self._minutes_max = min(MINUTES_MAX, REMEMBERED_MAX // max(1, symbols))
        self._states: dict[str, _State] = {}
        self._active: dict[str, None] = {}
        """Symbols with an offered bar or an append under way."""
        self._numbers = 0
        self.counts: Counter[str] = Counter()
        """Appends by outcome: stored, refused, lost."""

    @property
    def waiting(self) -> int:
        """Closed bars that are not in the log yet."""
        return sum(self._states[symbol].log.waiting for symbol in self._active)

    @property
    def contradictions(self) -> int:
        """Proven bars that differ from proven ones of the log."""
        return sum(state.log.contradictions for state in self._states.values())

    @property
    def too_old(self) -> int:
        """Bars that came too late for the log to judge."""
        return sum(state.log.too_old for state in self._states.values())

    def offer(self, events: Iterable[BarEvent], now: float) -> None:
        """Take closed bars of the engine; ``now``: monotonic seconds."""
        for event in events:
            self._state(event.bar.symbol).log.offer(event, now + self._delay)
            self._active[event.bar.symbol] = None

    def read(self, sequence: int, bar: Bar) -> None:
        """Take the next entry of the log."""
        state = self._state(bar.symbol)
        state.log.read(sequence, bar)
        state.wait_until, state.refusals = 0.0, 0

    def take_due(self, now: float) -> list[Append]:
        """Return the appends to send now; each is under way from here on.

        Args:
            now: monotonic seconds.
        """
        found = (self.take(symbol, now) for symbol in list(self._active))
        return [append for append in found if append is not None]

    def take(self, symbol: str, now: float) -> Append | None:
        """Return the append of one symbol to send now, if there is one; it is under way from here on.

        Args:
            symbol: which.
            now: monotonic seconds.
        """
        state = self._states.get(symbol)
        if state is None or symbol not in self._active:
            return None
        if state.sent is not None and state.lost_at <= now:
            self.lost(state.sent, now)
        if state.sent is not None or state.wait_until > now:
            return None
        event = state.log.next(now)
        if event is None:
            if not state.log.waiting:
                del self._active[symbol]
            return None
        self._numbers += 1
        state.sent = Append(event, state.log.sequence, self._numbers)
        state.lost_at = now + ANSWER_SECONDS
        return state.sent

    def stored(self, append: Append, sequence: int) -> None:
        """Take the acknowledgement of an append, however late: its entry has this sequence."""
        self.counts["stored"] += 1
        self.read(sequence, append.event.bar)
        self._settle(append)

    def refused(self, append: Append, now: float) -> bool:
        """Note that the log has another last entry than expected.

        Args:
            append: the one refused.
            now: monotonic seconds.

        Returns:
            Whether to ask the log for the symbol's last entry, because the reader does not bring it.
        """
        self.counts["refused"] += 1
        state = self._settle(append)
        if state is None or state.log.sequence != append.expected:
            return False
        state.wait_until = now + RETRY_SECONDS
        state.refusals += 1
        return state.refusals % REFUSED_LOOK == 0

    def lost(self, append: Append, now: float) -> None:
        """Note that an append was not answered, or not by the log: it may be stored or not.

        Args:
            append: which one.
            now: monotonic seconds.
        """
        state = self._settle(append)
        if state is not None:
            self.counts["lost"] += 1
            state.wait_until = now + RETRY_SECONDS

    def emptied(self, symbol: str) -> None:
        """Note that the log has no entry of this symbol any more."""
        self._states[symbol].log.emptied()

    def start_over(self) -> None:
        """Forget the log: it was replaced by an empty one, or by one of another identity."""
        self._states.clear()
        self._active.clear()

    def _state(self, symbol: str) -> _State:
        state = self._states.get(symbol)
        if state is None:
            state = self._states[symbol] = _State(SymbolLog(self._minutes_max))
        return state

    def _settle(self, append: Append) -> _State | None:
        """End an append that is under way; None if it is not, as its answer came too late."""
        state = self._states.get(append.symbol)
        if state is None or state.sent is None or state.sent.number != append.number:
            return None
        state.sent = None
        return state
