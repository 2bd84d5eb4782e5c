"""Faults planted in the engine and the feed, one at a time: the simulation must notice each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from candled.daemon import restore
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import StreamLive
from candled.domain.interval import MINUTE
from candled.domain.limits import EXCHANGE_TIME_MAX
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity, Sighting
from candled.engine.coverage import Around, Coverage
from candled.engine.engine import Engine
from candled.engine.exchange_time import ExchangeTime
from candled.engine.minute import Minute
from candled.engine.minutes import MinuteBuilder
from candled.engine.newest_id import StatedNewestId
from candled.engine.symbol import SymbolEngine
from candled.engine.timeline import Timeline
from candled.engine.trade_gate import TradeGate

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


def _complete_without_a_later_trade(proves: Any) -> Any:
    def hasty(self: Coverage, around: Around, first_id: int, last_id: int, end: int) -> bool:
        if around.id_after is not None or last_id < 0:
            return bool(proves(self, around, first_id, last_id, end))
        return around.id_before >= 0 and self.continuity.proves(around.id_before, last_id)

    return hasty


def _boundary_trade_stays_in_the_old_minute(apply: Any) -> Any:
    def late(self: MinuteBuilder, trade: Trade, events: list[BarEvent]) -> None:
        if trade.time % MINUTE == 0:
            trade = Trade(
                trade.symbol, trade.first_id, trade.last_id, trade.price, trade.quantity, trade.time - 1,
                trade.buyer_is_maker,
            )  # fmt: skip
        apply(self, trade, events)

    return late


def _some_revisions_are_not_emitted(publish: Any) -> Any:
    def silent(
        self: MinuteBuilder, minute: Minute, bar: Any, kind: Any, time: int, events: list[BarEvent]
    ) -> None:
        emitted: list[BarEvent] = []
        publish(self, minute, bar, kind, time, emitted)
        if kind is not BarEventKind.REVISION or bar.open_time // MINUTE % 7:
            events += emitted

    return silent


def _withheld_minutes_are_forgotten(close: Any) -> Any:
    def forgetful(self: Timeline, open_time: int) -> None:
        close(self, open_time)
        self.forget_until(open_time)

    return forgetful


def _closes_are_emitted_twice(handle: Any) -> Any:
    def twice(self: Engine, event: Any, local: float) -> list[BarEvent]:
        events: list[BarEvent] = handle(self, event, local)
        closes = [event for event in events if event.kind is BarEventKind.CLOSE]
        return events + closes[:1]

    return twice


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
        minute = self.minutes.window.get(trade.time - trade.time % MINUTE)
        if minute is not None and minute.published is not None:
            self.continuity.see(trade.first_id, trade.last_id)
        else:
            apply(self, trade, events)

    return closed_is_closed


def _only_the_newest_bar_is_restored() -> Any:
    async def newest(symbol: str, last: Bar, look_back: int, stored: Any) -> list[Bar]:
        return [last]

    return mock.patch.object(restore, "_bars_to_restore", newest)


def _one_source_leads_without_limit() -> Any:
    return mock.patch.multiple(
        ExchangeTime,
        _limit=lambda _self, _local: EXCHANGE_TIME_MAX,
        _supported_line=ExchangeTime._line,
    )


def _any_time_is_admitted(_admits: Any) -> Any:
    return lambda self, engine, trade, received, earliest, latest: True


@contextmanager
def _heartbeats_prove_by_their_time_alone() -> Iterator[None]:
    """Whatever newest id they state."""

    def take(self: StatedNewestId, trade_id: int, until: int, horizon: int) -> bool:
        del trade_id
        self._trade_id, self.until = horizon, max(self.until, until)
        return True

    with (
        mock.patch.object(StatedNewestId, "take", take),
        mock.patch.object(SymbolEngine, "newest_exists", return_value=None),
    ):
        yield


MUTANTS: Final[dict[str, Planted]] = {
    "a gap is believed to end one id early": _replaced(Continuity, "missing", _gap_ends_one_early),
    "a duplicate counts twice": _replaced(Continuity, "see", _duplicates_count),
    "the first trade after a reconnect is dropped": _first_trade_after_a_reconnect_is_dropped,
    "a trade that comes after its bar closed is dropped": _replaced(
        SymbolEngine, "apply", _late_trades_are_dropped
    ),
    "complete is claimed without a later trade": _replaced(Coverage, "proves", _complete_without_a_later_trade),
    "a trade on the boundary stays in the old minute": _replaced(
        MinuteBuilder, "add", _boundary_trade_stays_in_the_old_minute
    ),
    "some revisions are not emitted": _replaced(MinuteBuilder, "_publish", _some_revisions_are_not_emitted),
    "withheld minutes are forgotten": _replaced(Timeline, "close", _withheld_minutes_are_forgotten),
    "a close is emitted twice": _replaced(Engine, "handle", _closes_are_emitted_twice),
    "a restart goes on from the newest bar alone": _only_the_newest_bar_is_restored,
    "one source moves the time": _one_source_leads_without_limit,
    "the times of trades are not judged": _replaced(TradeGate, "admits_live", _any_time_is_admitted),
}

COINBASE_MUTANTS: Final[dict[str, Planted]] = {
    "a heartbeat proves by its time alone": _heartbeats_prove_by_their_time_alone,
}
"""Faults in what only its messages make use of."""
