"""All symbols: feed events in, bar events of all intervals out.

State kept: the exchange's time, one ``SymbolEngine`` for each symbol, the roll-up to longer intervals, and which
symbols are live or lack something. ``handle`` and ``advance`` are the only ways in which it changes, and one task
calls them; what it wants in turn (trades and klines to repair, stored minutes to read back) is read off it, and
comes back as events. ``statistics`` is for everyone else.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, count
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import (
    BarsFetched,
    DecimalsStated,
    FeedEvent,
    LastTradeFound,
    MinutesCounted,
    MinutesLoaded,
    MinutesSettled,
    NewestIdsStated,
    NewestTradeStated,
    RangeUnfillable,
    ServerTime,
    ServerTimeUnavailable,
    StartFound,
    StreamLive,
    StreamLost,
    SymbolAdded,
    SymbolRemoved,
    TradeExists,
    TradesArrived,
    TradesRefused,
    TradesRepaired,
)
from candled.domain.interval import MICROSECONDS, ONE_MINUTE
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.numbers import DECIMALS
from candled.domain.trade import Trade
from candled.engine.exchange_time import ExchangeTime
from candled.engine.id_watch import ORDER_TOLERANCE, IdEpoch, IdsJumped, IdsReset
from candled.engine.rebuilds import MinutesNeeded
from candled.engine.rollup import RollUp
from candled.engine.statistics import EngineStatistics
from candled.engine.symbol import SymbolEngine
from candled.engine.trade_gate import LOOK_SECONDS, TradeGate

CLOSE_GRACE: Final = 1 * MICROSECONDS
"""Exchange time after a bar's end in which its last trades may still arrive."""
CLOSES_AT_ONCE: Final = 20
"""Symbols of which the clock closes minutes in one call: some milliseconds, most of them for longer bars."""

_by_id: Final = attrgetter("first_id")


def _nobody(_symbol: str) -> Collection[str]:
    return ()


class Engine:
    """Makes bars of feed events. Plain: time comes in as an argument, requests are read off it."""

    def __init__(
        self,
        symbols: Iterable[str] = (),
        *,
        close_grace: int = CLOSE_GRACE,
        next_position: Callable[[], int] | None = None,
        wanted: Callable[[str], Collection[str]] = _nobody,
        quote_decimals: int = DECIMALS,
    ) -> None:
        """Start with nothing seen.

        Args:
            symbols: Those to build bars for; trades of others are ignored.
            close_grace: Microseconds of exchange time.
            next_position: Numbers closed bars and revisions, rising; from 1 on by default.
            wanted: Gives the intervals of a symbol whose forming bars somebody watches. Of those longer than a
                minute only these are emitted on each trade; closed bars and revisions always are.
            quote_decimals: Decimals to which the quote of each trade is truncated.
        """
        self.time = ExchangeTime()
        self.symbols: dict[str, SymbolEngine] = {}
        self.live: set[str] = set()
        """Symbols whose stream is connected."""
        self.symbols_to_repair: set[str] = set()
        """Symbols that lack trades, klines or stored bars."""
        self.wanted = wanted
        self._rollup = RollUp()
        self._unknown_trades = 0
        self._gate = TradeGate(self.time, self.symbols)
        self._close_grace = close_grace
        self._quote_decimals = quote_decimals
        self._next_position = next_position or count(1).__next__
        self._next_end: int | None = None
        """No minute of any symbol ends before it; None: that is to be looked up."""
        self._closing: deque[str] = deque()
        """Symbols whose ended minutes are still to be closed by the clock."""
        self._next_review: int | None = None
        """Exchange time at which bars that were revised lately are looked at again."""
        self._found_early: dict[str, LastTradeFound] = {}
        """Newest trades of silent symbols that were found before the time was known."""
        self.new_epochs: list[IdEpoch] = []
        """Epochs of trade ids that began and were not logged yet: whoever logs them clears the list."""
        self._ending: dict[str, SymbolEngine] = {}
        """Engines of epochs that have ended, until the minute of the reset is over."""
        self._id_epochs: Counter[str] = Counter()
        """Resets of trade ids, by symbol."""
        self._steps_back = 0
        """Steps back of the agreed time that were acted on."""
        self._reloads: list[MinutesNeeded] = []
        for symbol in symbols:
            self._add(SymbolAdded(symbol))

    # -- events ---------------------------------------------------------------------------------------------------

    def handle(self, event: FeedEvent, local: float) -> list[BarEvent]:
        """Say what an event makes of the bars.

        Args:
            event: What happened.
            local: The monotonic clock now, seconds.

        Returns:
            Bar events of all intervals, in order: each of a minute is followed by those of the longer bars.
        """
        events: list[BarEvent] = []
        match event:
            case TradesArrived(trades=trades):
                self.time.observe(event.event_times, event.received)
                self._follow_time(local, events)
                self._apply(trades, local, events, event.received, event.event_times)
            case TradesRepaired():
                self._apply_repaired(event, local, events)
            case ServerTime():
                self.time.synchronise(event.time, event.asked, event.received)
                self._follow_time(local, events)
            case NewestIdsStated():
                self._take_newest_ids(event, local, events)
            case ServerTimeUnavailable():
                self.time.clock_unavailable()
            case StreamLive():
                self.live.update(event.symbols)
            case StreamLost():
                self.live.difference_update(event.symbols)
            case SymbolAdded():
                self._add(event)
            case SymbolRemoved(symbol=symbol):
                self._remove(symbol)
            case MinutesLoaded():
                return self._take_loaded(event, local)
            case _:
                engine = self.symbols.get(event.symbol)
                if engine is not None:
                    self._apply_fact(engine, event, local, events)
        return self._rollup.apply(events, self.wanted) if events else events

    def advance(self, local: float) -> list[BarEvent]:
        """Close what has ended by the exchange's clock; ``local`` is the monotonic clock now, seconds.

        Where many symbols have something to close, some are left to the next call, which is due at once.
        """
        events: list[BarEvent] = []
        self._follow_time(local, events)
        if self.time.known:
            now = self.time.now(local)
            if self._next_review is not None and now >= self._next_review:
                self._review(now, events)
            ended = now - self._close_grace
            if not self._closing and (self._next_end is None or ended >= self._next_end):
                self._end_epochs(ended, now, events)
                self._closing.extend(self.symbols)
            if self._closing:
                self._close_some(ended, now, events)
        return self._rollup.apply(events, self.wanted) if events else events

    def _close_some(self, ended: int, now: int, events: list[BarEvent]) -> None:
        """Close what has ended, of some symbols only: all at once would keep everybody waiting."""
        left = CLOSES_AT_ONCE
        while self._closing and left:
            engine = self.symbols.get(self._closing.popleft())
            if engine is not None:
                end = engine.next_end
                left -= end is not None and end <= ended
                engine.advance(ended, now, events)
                self._follow_up(engine)
        if not self._closing:
            self._next_end = min(self._ends(), default=None)

    # -- what is read off it --------------------------------------------------------------------------------------

    def seconds_to_next_close(self, local: float) -> float:
        """Local seconds until ``advance`` may have something to close; infinite if nothing is under way."""
        if self._closing and self.time.known:
            return 0.0
        held = LOOK_SECONDS if self._gate.held else float("inf")
        if self._next_end is None:
            self._next_end = min(self._ends(), default=None)
        if self._next_end is None or not self.time.known:
            return held
        wake = self._next_end + self._close_grace
        if self._next_review is not None:
            wake = min(wake, self._next_review)
        return min(held, self.time.seconds_until(wake, local))

    def _ends(self) -> Iterator[int]:
        """When the next minute of each symbol ends."""
        engines = chain(self._ending.values(), self.symbols.values())
        return (end for engine in engines if (end := engine.next_end) is not None)

    def take_minutes_needed(self) -> list[MinutesNeeded]:
        """Take what is to be read back from the history, each named once: answer with ``MinutesLoaded``."""
        needed, self._reloads = self._reloads, []
        return needed + self._rollup.take_needed()

    def forming(self, symbol: str, interval: str) -> Bar | None:
        """The forming bar as it stands, or None when nothing is known of the present period."""
        return self._rollup.forming(symbol, interval)

    @staticmethod
    def part_ranges(time: int) -> Mapping[str, int]:
        """Say which stored bars ``SymbolAdded.parts`` is to have.

        Args:
            time: Open time of the first minute that will come, microseconds since the epoch.

        Returns:
            For each interval the earliest open time of closed bars that are still needed.
        """
        return RollUp.seed_ranges(time)

    def statistics(self) -> EngineStatistics:
        """How everything fares at this moment."""
        return EngineStatistics(
            symbols=tuple(engine.statistics(live=name in self.live) for name, engine in self.symbols.items()),
            unknown_trades=self._unknown_trades,
            id_epochs=dict(self._id_epochs),
            misdated_trades=dict(self._gate.counts),
            held_trades=self._gate.held,
            time=self.time.statistics(),
        )

    # -- time -----------------------------------------------------------------------------------------------------

    def _follow_time(self, local: float, events: list[BarEvent]) -> None:
        """Act on what changed in the agreed time: it is earlier, or trades that were held are right after all."""
        if self.time.steps_back != self._steps_back:
            self._steps_back = self.time.steps_back
            self._next_end = None
            for engine in self.symbols.values():
                engine.rewind(self.time.now(local))
        if self._found_early and self.time.known:
            found, self._found_early = self._found_early, {}
            for symbol in found.keys() & self.symbols.keys():
                self._apply_fact(self.symbols[symbol], found[symbol], local, events)
        if self._gate.held and (released := self._gate.take_released(local)) is not None:
            self._apply(released, local, events, local)
            for engine in self.symbols.values():
                self._follow_up(engine)

    def _review(self, now: int, events: list[BarEvent]) -> None:
        """Revise the bars whose last revision was too recent when they changed."""
        self._next_review = None
        for engine in self.symbols.values():
            if engine.minutes.pace.review_at is not None:
                engine.settle(now, events)
                self._note_review(engine)

    def _note_review(self, engine: SymbolEngine) -> None:
        at = engine.minutes.pace.review_at
        if at is not None and (self._next_review is None or at < self._next_review):
            self._next_review = at

    # -- symbols --------------------------------------------------------------------------------------------------

    def _add(self, event: SymbolAdded) -> None:
        engine = self._make_symbol(event.symbol)
        if event.bars:
            engine.restore(event.bars, event.disputed)
        self._rollup.seed(event.symbol, event.parts)
        self.symbols[event.symbol] = engine
        self._follow_up(engine)
        self._next_end = None

    def _make_symbol(self, symbol: str) -> SymbolEngine:
        reloads = self._reloads_of(symbol)
        return SymbolEngine(symbol, self._next_position, reloads, quote_decimals=self._quote_decimals)

    def _remove(self, symbol: str) -> None:
        self.symbols.pop(symbol, None)
        self._ending.pop(symbol, None)
        self.time.forget(symbol)
        self.live.discard(symbol)
        self.symbols_to_repair.discard(symbol)
        self._rollup.forget(symbol)
        self._reloads = [needed for needed in self._reloads if needed.symbol != symbol]

    def _judge_ids(self, symbol: str, newest: Trade) -> SymbolEngine:
        """Judge candidates by the exchange's newest trade; return the symbol's engine, a new one after a reset."""
        engine = self.symbols[symbol]
        horizon = engine.continuity.horizon
        match engine.ids.judge(newest, engine.last_trade, horizon):
            case IdsJumped(candidate):
                engine.continuity.exists(candidate.last.last_id)
            case IdsReset(candidate):
                self._ending[symbol] = engine
                engine = self._make_symbol(symbol)
                engine.begin_epoch(candidate, horizon)
                engine.coverage.take_over(self._ending[symbol].coverage.finest)
                self.symbols[symbol] = engine
                self._id_epochs[symbol] += 1
                self.new_epochs.append(IdEpoch(symbol, horizon, candidate.first.first_id))
                self._next_end = None
        return engine

    def _end_epochs(self, ended: int, now: int, events: list[BarEvent]) -> None:
        """Close the last minute of each epoch that has ended."""
        for symbol, engine in list(self._ending.items()):
            engine.advance(ended, now, events)
            begun = self.symbols[symbol].minutes.timeline.origin
            if engine.next_end is None or engine.next_end > begun:
                del self._ending[symbol]

    def _reloads_of(self, symbol: str) -> Callable[[int], None]:
        def request(open_time: int) -> None:
            name, end = ONE_MINUTE.name, ONE_MINUTE.end(open_time)
            self._reloads.append(MinutesNeeded(symbol, name, open_time, end))

        return request

    def _take_loaded(self, event: MinutesLoaded, local: float) -> list[BarEvent]:
        if event.interval != ONE_MINUTE.name:
            return self._rollup.rebuild(event.symbol, event.interval, event.open_time, event.bars, self.wanted)
        engine, events = self.symbols.get(event.symbol), list[BarEvent]()
        if engine is not None:
            engine.reload(event.open_time, event.bars[0] if event.bars else None)
            if not engine.minutes.waits_for_reload:  # once for all that come back together
                engine.settle(self.time.now(local), events)
            self._follow_up(engine)
        return self._rollup.apply(events, self.wanted) if events else events

    def _follow_up(self, engine: SymbolEngine) -> None:
        """Note what a symbol lacks by now, and whether its minute ends before all others."""
        end = engine.next_end
        if end is not None and self._next_end is not None and end < self._next_end:
            self._next_end = end
        if engine.lacks_something:
            self.symbols_to_repair.add(engine.symbol)
        else:
            self.symbols_to_repair.discard(engine.symbol)

    # -- trades ---------------------------------------------------------------------------------------------------

    def _apply_repaired(self, event: TradesRepaired, local: float, events: list[BarEvent]) -> None:
        engine = self.symbols.get(event.symbol)
        if engine is not None:
            self._gate.ask_again()
            admitted = False
            for trade in sorted(event.trades, key=_by_id):  # each is judged by those before it
                if self._gate.admits_repaired(engine, trade, local):
                    engine.apply(trade, events)
                    admitted = True
            self._settle(engine, self.time.now(local), events, has_new=admitted)

    def _apply(
        self,
        trades: list[Trade],
        local: float,
        events: list[BarEvent],
        received: float,
        event_times: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Count trades of the stream.

        Args:
            trades: Of any symbols; the list is sorted.
            local: The monotonic clock now, seconds.
            events: Takes the bar events.
            received: When they came: their times are judged then.
            event_times: By symbol the newest event time, where it is known.
        """
        # In order of id, so that what is only reordered within a batch makes neither a gap nor a revision.
        trades.sort(key=_by_id)
        bounds = self._gate.bounds(event_times, received)
        touched: dict[str, tuple[SymbolEngine, int, int, int]] = {}
        for trade in trades:
            found = touched.get(trade.symbol)
            if found is None:
                known = self.symbols.get(trade.symbol)
                if known is None:
                    self._unknown_trades += 1
                    continue
                highest = NO_TRADE if known.last_trade is None else known.last_trade.last_id + ID_JUMP_MAX
                found = touched[trade.symbol] = (known, *bounds(trade.symbol), highest)
            engine, earliest, latest, highest = found
            newest, time = engine.last_trade, trade.time
            if (  # it does not simply continue
                newest is None
                or trade.first_id <= newest.last_id
                or not earliest <= time <= latest
                or time < newest.time - ORDER_TOLERANCE
                or trade.last_id > highest
            ) and not self._gate.admits_live(engine, trade, received, earliest, latest):
                continue
            engine.apply(trade, events)
        now = self.time.now(local)
        for engine, *_ in touched.values():
            self._settle(engine, now, events)

    def _take_newest_ids(self, event: NewestIdsStated, local: float, events: list[BarEvent]) -> None:
        """Look for ids that did not arrive, and let what is stated prove bars, if its time can be true."""
        now = self.time.now(local)
        for newest in event.stated:
            engine = self.symbols.get(newest.symbol)
            if engine is None or engine.is_id_too_far(newest.trade_id, now):
                continue
            engine.newest_exists(newest.trade_id, now)
            if self.time.known and self.time.admits(newest.until, event.received):
                engine.state_newest_id(newest.trade_id, newest.until, now, events)
            self._settle(engine, now, events, has_new=False)

    def _settle(self, engine: SymbolEngine, now: int, events: list[BarEvent], *, has_new: bool = True) -> None:
        """After a batch of a symbol's trades; ``has_new``: whether any of them was admitted."""
        engine.settle(now, events)
        self._follow_up(engine)
        self._note_review(engine)
        if has_new and engine.last_trade is not None:
            engine.lag = max(0, now - engine.last_trade.time)

    def _apply_fact(
        self,
        engine: SymbolEngine,
        event: MinutesSettled
        | MinutesCounted
        | StartFound
        | TradeExists
        | TradesRefused
        | LastTradeFound
        | NewestTradeStated
        | RangeUnfillable
        | BarsFetched
        | DecimalsStated,
        local: float,
        events: list[BarEvent],
    ) -> None:
        now = self.time.now(local)
        match event:
            case MinutesSettled(klines=klines):
                engine.settle_by_klines(klines, now, events)
            case BarsFetched(bars=bars):
                engine.adopt(bars, now, events)
            case MinutesCounted(klines=klines):
                engine.count(klines)
            case StartFound(trade_id=trade_id):
                engine.start_found(trade_id)
            case TradeExists(trade_id=trade_id):
                if not engine.is_id_too_far(trade_id, now):
                    engine.continuity.exists(trade_id)
            case NewestTradeStated(trade=trade):
                engine = self._judge_ids(event.symbol, trade)
            case TradesRefused():
                engine.continuity.refuse(event.first_id, event.last_id, f"refused: {event.reason}")
            case LastTradeFound(trade=trade):
                if not self.time.known:
                    self._found_early[event.symbol] = event
                elif self.time.admits(trade.time, local) and not engine.is_id_too_far(trade.last_id, trade.time):
                    engine.begin_after(trade, min(now, self._gate.earliest_held(event.symbol, now)))
            case RangeUnfillable():
                engine.continuity.give_up(event.first_id, event.last_id, event.reason)
            case DecimalsStated():
                engine.state_decimals(event.price, event.quantity)
        engine.settle(now, events)
        self._follow_up(engine)
