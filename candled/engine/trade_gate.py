"""Which trades' times may be true: the others wait, are fetched over REST, or make their bars doubtful.

Two proofs stand against a trade's time. It cannot have happened after it arrived, by the agreed exchange time;
and ids rise with time, so it cannot lie in an earlier minute than a trade of a lower id, or in a later one than a
trade of a higher id. What contradicts either is never counted at once:

* A live trade from the future is held for a few seconds: if sources agree meanwhile that it is later than was
  known, it was right. Else, and if it contradicts its neighbours, its id counts as existing and not seen, with the
  reason, and is fetched like any missing one.
* A trade from REST passes the same gate. Its id is asked for ``CONFIRMATIONS`` times. One from the future is then
  given up; time that moves by agreement takes that back.
* If REST states a time twice that contradicts neighbours which were counted before, those that came by the stream
  alone may be wrong: the minutes concerned are fetched again, once. If the contradiction is still there, the
  exchange itself states it: the trade is counted where it says, and the minutes that it touches are never
  complete.

State kept: held trades; how often REST confirmed a time; minutes fetched again. All bounded. Plain: no clock, no
I/O; each trade is judged before it is counted, in order of id.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from candled.domain.interval import ONE_MINUTE
from candled.domain.limits import EVENT_LEAD_MAX
from candled.domain.refusal import TimeRefusal
from candled.domain.trade import Trade
from candled.engine.id_watch import ORDER_TOLERANCE

if TYPE_CHECKING:
    from candled.engine.exchange_time import ExchangeTime
    from candled.engine.symbol import SymbolEngine

HOLD_SECONDS: Final = 4.0
"""Local seconds that a trade from the future waits for sources to agree that it is later."""
HELD_MAX: Final = 20_000
"""Trades that may wait; the oldest are fetched later."""
LOOK_SECONDS: Final = 0.25
"""Local seconds between looks at those that wait, while nothing moves the time and they are many."""
FEW: Final = 100
"""Up to this number, all that wait are looked at each time: no later trade overtakes one that is right by now."""
CONFIRMATIONS: Final = 2
"""Answers of REST that must state a contradicting time before it is believed, or given up."""
REMEMBERED_MAX: Final = 10_000
"""Ids and minutes remembered; the oldest are forgotten, and at worst asked for again."""


class TradeGate:
    """Holds the times of trades against the agreed time and against their neighbours by id."""

    def __init__(self, time: "ExchangeTime", symbols: Mapping[str, "SymbolEngine"]) -> None:
        """Begin with nothing held.

        Args:
            time: The agreed exchange time.
            symbols: Whose trades are judged; those of others are let through.
        """
        self.counts: Counter[TimeRefusal] = Counter()
        """Trades that were not counted, at least at first."""
        self._time = time
        self._symbols = symbols
        self._held: deque[tuple[Trade, float]] = deque()
        self._looked = (float("-inf"), -1)
        """When those held were looked at last, and how often the time had moved then."""
        self._confirmed: dict[tuple[str, int], tuple[int, int]] = {}
        """By symbol and first id: the time that REST stated, and how often."""
        self._given_up: dict[tuple[str, int], int] = {}
        """Last id of those given up because they are from the future, by symbol and first id."""
        self._moves = 0
        self._rebuilt: dict[tuple[str, int], None] = {}
        """Minutes that were fetched again, by symbol and open time."""

    @property
    def held(self) -> int:
        """Trades that wait for an agreement on time."""
        return len(self._held)

    def earliest_held(self, symbol: str, otherwise: int) -> int:
        """Time of the earliest trade of a symbol that waits, microseconds since the epoch."""
        return min((trade.time for trade, _ in self._held if trade.symbol == symbol), default=otherwise)

    def take_released(self, local: float) -> list[Trade] | None:
        """Take those of the held trades that are right after all; those that waited long enough are refused.

        Args:
            local: The local monotonic clock, seconds.

        Returns:
            The trades, in the order in which they came; None if there was no look at them, or nothing has changed.
        """
        looked, moves = self._looked
        is_soon = moves == self._time.moves and local < looked + LOOK_SECONDS
        if not self._time.known or (is_soon and len(self._held) > FEW):
            return None
        self._looked = (local, self._time.moves)
        released, kept = [], deque[tuple[Trade, float]]()
        for trade, received in self._held:
            if self._time.admits(trade.time, received):
                released.append(trade)
            elif local - received > HOLD_SECONDS:
                self._refuse(trade, TimeRefusal.AHEAD)
            else:
                kept.append((trade, received))
        if len(kept) == len(self._held):
            return None
        self._held = kept
        return released

    def bounds(self, event_times: Mapping[str, int], received: float) -> Callable[[str], tuple[int, int]]:
        """What bounds the times of trades that came together from the stream.

        Args:
            event_times: By symbol the newest event time, where it is known.
            received: Local monotonic time when they were read.

        Returns:
            Gives the earliest and the latest time that a trade of a symbol can have. The event time bounds it,
            where that agrees with the others'; else the agreed time does. (None is later than its own message:
            see ``Decoded.trades``.)
        """
        limit, age = self._time.limit(received), self._time.age_max()

        def of(symbol: str) -> tuple[int, int]:
            said = event_times.get(symbol)
            if said is None or limit < 0:
                return 0, limit
            if not self._time.is_trusted(symbol):
                return self._time.line(received) - age, limit
            return said - age, min(limit, said + EVENT_LEAD_MAX)

        return of

    def admits_live(
        self, engine: "SymbolEngine", trade: Trade, received: float, earliest: int, latest: int
    ) -> bool:
        """Judge a live trade that does not simply continue its symbol's; hold or refuse it if it cannot be right.

        Args:
            engine: Its symbol's.
            trade: The trade.
            received: Local monotonic time when it was read.
            earliest: What its message says that its time is at least, microseconds since the epoch.
            latest: And at most.
        """
        if not trade.is_placeholder and not self._time.admits(trade.time, received):
            self._hold(trade, received)
            return False
        if engine.is_id_too_far(trade.last_id, trade.time):
            engine.ids.note(trade, engine.last_trade)
            return False
        if trade.is_placeholder:
            return True  # it takes an id and no place in time
        is_behind, newest = engine.is_id_behind(trade), engine.last_trade
        if not is_behind and engine.continuity.proves(trade.first_id, trade.last_id):
            return True  # a duplicate
        if not earliest <= trade.time <= latest:
            self._refuse(trade, TimeRefusal.EVENT)
            return False
        if is_behind:
            engine.ids.note(trade, engine.last_trade)
        is_ahead = (
            newest is not None and newest.last_id < trade.first_id and trade.time < newest.time - ORDER_TOLERANCE
        )
        if is_behind or is_ahead or engine.contradictions(trade):
            self._refuse(trade, TimeRefusal.ORDER)
            return False
        return True

    # -- live trades ----------------------------------------------------------------------------------------------

    def _hold(self, trade: Trade, received: float) -> None:
        self._held.append((trade, received))
        if len(self._held) > HELD_MAX:
            self._refuse(self._held.popleft()[0], TimeRefusal.AHEAD)

    def _refuse(self, trade: Trade, reason: TimeRefusal) -> None:
        self.counts[reason] += 1
        engine = self._symbols.get(trade.symbol)
        if engine is not None:
            engine.continuity.refuse(trade.first_id, trade.last_id, f"refused: {reason}")

    # -- trades from REST -----------------------------------------------------------------------------------------

    def admits_repaired(self, engine: "SymbolEngine", trade: Trade, local: float) -> bool:
        """Judge a trade that REST states; refuse it, give it up or doubt its minutes if it cannot be right.

        Args:
            engine: Its symbol's.
            trade: The trade; those of lower ids were judged, and counted, before.
            local: The local monotonic clock, seconds.
        """
        if engine.is_id_too_far(trade.last_id, trade.time):
            engine.ids.refused += 1
            return False
        if trade.is_placeholder or engine.continuity.proves(trade.first_id, trade.last_id):
            return True
        if self._time.known and not self._time.admits(trade.time, local):
            if self._is_confirmed(trade, TimeRefusal.AHEAD):
                self._give_up(engine, trade)
            return False
        disputed = engine.contradictions(trade)
        if not disputed:
            return True
        if not self._is_confirmed(trade, TimeRefusal.ORDER):
            return False
        minutes = sorted({*disputed, ONE_MINUTE.floor(trade.time)})
        if any((trade.symbol, open_time) not in self._rebuilt for open_time in disputed):
            for open_time in disputed:
                self._rebuilt[trade.symbol, open_time] = None
            _bound(self._rebuilt)
            engine.minutes.rebuild_from(disputed[0])
            engine.forget_newest()
            return False
        engine.doubt(minutes, trade, TimeRefusal.ORDER)
        return True

    def _is_confirmed(self, trade: Trade, reason: TimeRefusal) -> bool:
        """Whether REST stated this time often enough; count it and the refusal."""
        key = (trade.symbol, trade.first_id)
        time, times = self._confirmed.pop(key, (trade.time, 0))
        times = times + 1 if time == trade.time else 1
        if times >= CONFIRMATIONS:
            return True
        self._confirmed[key] = (trade.time, times)
        _bound(self._confirmed)
        self._refuse(trade, reason)
        return False

    def _give_up(self, engine: "SymbolEngine", trade: Trade) -> None:
        self._given_up[trade.symbol, trade.first_id] = trade.last_id
        _bound(self._given_up)
        engine.continuity.give_up(trade.first_id, trade.last_id, f"refused: {TimeRefusal.AHEAD}")

    def ask_again(self) -> None:
        """Ask again for what was given up, once the time has moved."""
        if self._moves == self._time.moves:
            return
        self._moves = self._time.moves
        for (symbol, first_id), last_id in self._given_up.items():
            engine = self._symbols.get(symbol)
            if engine is not None:
                engine.continuity.ask_again(first_id, last_id)
        self._given_up.clear()


def _bound(remembered: dict[tuple[str, int], Any]) -> None:
    """Forget the oldest, so that no exchange can make it grow."""
    while len(remembered) > REMEMBERED_MAX:
        del remembered[next(iter(remembered))]
