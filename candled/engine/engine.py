"""All symbols: feed events in, bar events out."""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from operator import attrgetter
from typing import Final

from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.domain.feed_event import (
    BarsFetched,
    FeedEvent,
    LastTradeFound,
    MinutesSettled,
    RangeUnfillable,
    ServerTime,
    StartFound,
    StreamLive,
    StreamLost,
    TradeExists,
    TradesArrived,
    TradesRepaired,
)
from candled.domain.interval import MICROSECONDS
from candled.domain.trade import Trade
from candled.engine.exchange_time import ExchangeTime
from candled.engine.symbol import SymbolEngine

CLOSE_GRACE: Final = 1 * MICROSECONDS
"""Exchange time after a bar's end in which its last trades may still arrive."""

_by_id: Final = attrgetter("first_id")


class Engine:
    """Turns what the feed tells into bars. Plain: time comes in as an argument, requests are read off it."""

    def __init__(
        self,
        symbols: Iterable[str] = (),
        *,
        close_grace: int = CLOSE_GRACE,
        next_position: Callable[[], int] | None = None,
    ) -> None:
        """Start with nothing seen.

        Args:
            symbols: those to build bars for; trades of others are ignored.
            close_grace: microseconds of exchange time.
            next_position: numbers the closed bars told, rising; from 1 on if nothing is said.
        """
        self.time = ExchangeTime()
        self.symbols: dict[str, SymbolEngine] = {}
        self.live: set[str] = set()
        """Symbols whose stream is connected."""
        self.needy: set[str] = set()
        """Symbols that lack trades, klines or stored bars."""
        self.unknown_trades = 0
        """Trades of symbols that nobody asked for."""
        self.absurd_trades = 0
        """Trades of the stream dated so far ahead that they were fetched over REST instead."""
        self._close_grace = close_grace
        self._next_position = next_position or count(1).__next__
        self._next_end: int | None = None
        for symbol in symbols:
            self.add(symbol)

    def add(self, symbol: str, stored: Sequence[Bar] = ()) -> None:
        """Build bars for this symbol from now on; ``stored``: see ``SymbolEngine.restore``."""
        engine = SymbolEngine(symbol, self._next_position)
        if stored:
            engine.restore(stored)
        self.symbols[symbol] = engine
        self._note_needs(engine)
        self._next_end = None

    def remove(self, symbol: str) -> None:
        """Stop building bars for this symbol; its forming bar is let go."""
        self.symbols.pop(symbol, None)
        self.live.discard(symbol)
        self.needy.discard(symbol)

    def handle(self, event: FeedEvent, local: float) -> list[BarEvent]:
        """What an event of the feed makes of the bars. ``local``: the monotonic clock now, seconds."""
        events: list[BarEvent] = []
        match event:
            case TradesArrived(trades=trades):
                self.time.observe(event.event_time, event.received)
                self._apply(self._plausible(trades, event.received), local, events)
            case TradesRepaired(trades=trades):
                self._apply(trades, local, events)
            case ServerTime():
                self.time.synchronise(event.time, event.asked, event.received)
            case StreamLive():
                self.live.update(event.symbols)
            case StreamLost():
                self.live.difference_update(event.symbols)
            case _:
                engine = self.symbols.get(event.symbol)
                if engine is not None:
                    self._apply_fact(engine, event, self.time.now(local), events)
        return events

    def advance(self, local: float) -> list[BarEvent]:
        """Close what has ended by the exchange's clock."""
        events: list[BarEvent] = []
        if self.time.known:
            now = self.time.now(local)
            ended = now - self._close_grace
            if self._next_end is None or ended >= self._next_end:
                for engine in self.symbols.values():
                    engine.advance(ended, now, events)
                    self._note_needs(engine)
                self._next_end = min(
                    (end for engine in self.symbols.values() if (end := engine.next_end) is not None),
                    default=None,
                )
        return events

    def seconds_to_next_close(self, local: float) -> float:
        """Local seconds until ``advance`` may have something to close; infinite if nothing is under way."""
        ends = [end for engine in self.symbols.values() if (end := engine.next_end) is not None]
        if not ends or not self.time.known:
            return float("inf")
        return self.time.seconds_until(min(ends) + self._close_grace, local)

    def _plausible(self, trades: list[Trade], received: float) -> list[Trade]:
        """Leave out trades dated far ahead, which would close every bar until then: REST is asked for them."""
        absurd = [trade for trade in trades if self.time.is_absurd(trade.time, received)]
        if not absurd:
            return trades
        self.absurd_trades += len(absurd)
        for trade in absurd:
            engine = self.symbols.get(trade.symbol)
            if engine is not None:
                engine.continuity.exists(trade.last_id)
                self._note_needs(engine)
        return [trade for trade in trades if not self.time.is_absurd(trade.time, received)]

    def _apply(self, trades: list[Trade], local: float, events: list[BarEvent]) -> None:
        # In order of id, so that what is only reordered within a batch makes neither a gap nor a revision.
        trades.sort(key=_by_id)
        touched: dict[str, SymbolEngine] = {}
        for trade in trades:
            engine = touched.get(trade.symbol)
            if engine is None:
                engine = self.symbols.get(trade.symbol)
                if engine is None:
                    self.unknown_trades += 1
                    continue
                touched[trade.symbol] = engine
            engine.apply(trade, events)
        now = self.time.now(local)
        for engine in touched.values():
            engine.settle(now, events)
            self._note_needs(engine)
            if engine.last_trade is not None:
                engine.lag = max(0, now - engine.last_trade.time)

    def _note_needs(self, engine: SymbolEngine) -> None:
        if engine.lacks_something:
            self.needy.add(engine.symbol)
        else:
            self.needy.discard(engine.symbol)

    def _apply_fact(
        self,
        engine: SymbolEngine,
        event: MinutesSettled | StartFound | TradeExists | LastTradeFound | RangeUnfillable | BarsFetched,
        now: int,
        events: list[BarEvent],
    ) -> None:
        match event:
            case MinutesSettled(klines=klines):
                engine.settled(klines, now, events)
            case BarsFetched(bars=bars):
                engine.adopt(bars, now, events)
            case StartFound(trade_id=trade_id):
                engine.start_found(trade_id)
            case TradeExists(trade_id=trade_id):
                engine.continuity.exists(trade_id)
            case LastTradeFound(trade=trade):
                if self.time.known:
                    engine.begin_after(trade, now)
            case RangeUnfillable():
                engine.continuity.give_up(event.first_id, event.last_id, event.reason)
        engine.settle(now, events)
        self._note_needs(engine)
