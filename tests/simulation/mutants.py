"""Faults planted in the engine and the feed, one at a time: the simulation must notice each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from candled import pipeline
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import StreamLive
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity, Sighting
from candled.engine.engine import Engine
from candled.engine.exchange_time import ExchangeTime
from candled.engine.minute import Minute
from candled.engine.symbol import SymbolEngine

Planted = Callable[[], Any]
"""Makes a context manager in which the fault is there."""


def _replaced(owner: type, name: str, make: Callable[[Any], Any]) -> Planted:
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _gap_ends_one_early(missing: property) -> property:
    def short(self: Continuity) -> list[tuple[int, int]]:
        assert missing.fget is not None
        return [(first, last - 1) for first, last in missing.fget(self) if last > first]

    return property(short)


def _duplicates_count(see: Any) -> Any:
    def always_new(self: Continuity, first: int, last: int) -> Sighting:
        sighting = see(self, first, last)
        return Sighting.NEW if sighting is Sighting.DUPLICATE and self.floor is not None else sighting

    return always_new


def _complete_without_a_later_trade(is_complete: Any) -> Any:
    def hasty(self: SymbolEngine, minute: Minute) -> bool:
        if self._window.id_after(minute.open_time) is not None or minute.last_id < 0:
            return bool(is_complete(self, minute))
        before = self._window.id_before(minute.open_time)
        return before >= 0 and self.continuity.proves(before, minute.last_id)

    return hasty


def _boundary_trade_stays_in_the_old_minute(apply: Any) -> Any:
    def late(self: SymbolEngine, trade: Trade, events: list[BarEvent]) -> None:
        if trade.time % MINUTE == 0:
            trade = Trade(
                trade.symbol, trade.first_id, trade.last_id, trade.price, trade.quantity, trade.time - 1,
                trade.buyer_is_maker,
            )  # fmt: skip
        apply(self, trade, events)

    return late


def _some_revisions_are_not_told(publish: Any) -> Any:
    def silent(self: SymbolEngine, minute: Minute, bar: Any, kind: Any, time: int, events: list[BarEvent]) -> None:
        told: list[BarEvent] = []
        publish(self, minute, bar, kind, time, told)
        if kind is not BarEventKind.REVISION or bar.open_time // MINUTE % 7:
            events += told

    return silent


def _withheld_minutes_are_forgotten(close_due: Any) -> Any:
    def forgetful(self: SymbolEngine, *args: Any, **options: Any) -> None:
        close_due(self, *args, **options)
        self._withheld.discard(0, 1 << 60)

    return forgetful


def _closes_are_told_twice(handle: Any) -> Any:
    def twice(self: Engine, event: Any, local: float) -> list[BarEvent]:
        events: list[BarEvent] = handle(self, event, local)
        closes = [event for event in events if event.kind is BarEventKind.CLOSE]
        return events + closes[:1]

    return twice


def _overlap_is_applied(see: Any) -> Any:
    def greedy(self: Continuity, first: int, last: int) -> Sighting:
        sighting: Sighting = see(self, first, last)
        if sighting is Sighting.OVERLAP:
            self._seen.add(first, last)
            self._find_missing()
            return Sighting.NEW
        return sighting

    return greedy


@contextmanager
def _first_trade_after_a_reconnect_is_dropped() -> Iterator[None]:
    """Its id is known, and yet it is not counted."""
    fresh: set[str] = set()
    handle, apply = Engine.handle, SymbolEngine.apply

    def handling(self: Engine, event: Any, local: float) -> list[BarEvent]:
        if isinstance(event, StreamLive):
            fresh.update(event.symbols)
        return handle(self, event, local)

    def applying(self: SymbolEngine, trade: Trade, events: list[BarEvent]) -> None:
        if self.symbol in fresh and self.continuity.floor is not None:
            fresh.discard(self.symbol)
            self.continuity.see(trade.first_id, trade.last_id)
        else:
            apply(self, trade, events)

    with mock.patch.object(Engine, "handle", handling), mock.patch.object(SymbolEngine, "apply", applying):
        yield


def _late_trades_are_dropped(apply: Any) -> Any:
    def closed_is_closed(self: SymbolEngine, trade: Trade, events: list[BarEvent]) -> None:
        minute = self._window.get(trade.time - trade.time % MINUTE)
        if minute is not None and minute.published is not None:
            self.continuity.see(trade.first_id, trade.last_id)
        else:
            apply(self, trade, events)

    return closed_is_closed


def _only_the_newest_bar_is_restored() -> Any:
    async def newest(symbol: str, last: Bar, look_back: int, stored: Any) -> list[Bar]:
        return [last]

    return mock.patch.object(pipeline, "_bars_to_go_on_from", newest)


def _a_jump_is_speed(believed_rate: Any) -> Any:
    return lambda self: self._rates[-1]


MUTANTS: Final[dict[str, Planted]] = {
    "a gap is believed to end one id early": _replaced(Continuity, "missing", _gap_ends_one_early),
    "a duplicate counts twice": _replaced(Continuity, "see", _duplicates_count),
    "an aggregate is applied though a part of it was counted": _replaced(Continuity, "see", _overlap_is_applied),
    "the first trade after a reconnect is dropped": _first_trade_after_a_reconnect_is_dropped,
    "a trade that comes after its bar closed is dropped": _replaced(
        SymbolEngine, "apply", _late_trades_are_dropped
    ),
    "complete is claimed without a later trade": _replaced(
        SymbolEngine, "_is_complete", _complete_without_a_later_trade
    ),
    "a trade on the boundary stays in the old minute": _replaced(
        SymbolEngine, "apply", _boundary_trade_stays_in_the_old_minute
    ),
    "some revisions are not told": _replaced(SymbolEngine, "_publish", _some_revisions_are_not_told),
    "withheld minutes are forgotten": _replaced(SymbolEngine, "_close_due", _withheld_minutes_are_forgotten),
    "a close is told twice": _replaced(Engine, "handle", _closes_are_told_twice),
    "a restart goes on from the newest bar alone": _only_the_newest_bar_is_restored,
    "a jump of the exchange's clock is taken for speed": _replaced(
        ExchangeTime, "_believed_rate", _a_jump_is_speed
    ),
}
