"""Longer bars out of 1-minute bars, as they close, change and form.

Each longer bar is merged from the bars of a shorter interval (its *parts*): 15m from three 5m, 1d from two 12h.
So a closing costs a handful of merges, and what must stay in memory is small: for each symbol the parts of the
periods that are open, and of the ones before while a late revision is still likely.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE, ONE_MINUTE, Interval

_PART_NAMES: Final = {
    "3m": "1m",
    "5m": "1m",
    "15m": "5m",
    "30m": "15m",
    "1h": "30m",
    "2h": "1h",
    "4h": "2h",
    "6h": "2h",
    "8h": "4h",
    "12h": "4h",
    "1d": "12h",
    "1w": "1d",
    "1M": "1d",
}
_PARTS: Final = {INTERVALS[name]: INTERVALS[part] for name, part in _PART_NAMES.items()}
_LONGER: Final = tuple(_PARTS)
"""Longer intervals, each after its parts."""

_USERS: Final = {
    part: tuple(longer for longer, p in _PARTS.items() if p is part)
    for part in INTERVALS.values()
    if part in _PARTS.values()
}

_SLACK: Final = 30 * MINUTE
"""How long after the end of a period its parts stay: most repairs are done by then."""


@attrs.frozen(slots=True)
class MinutesNeeded:
    """A closed longer bar changed, but its parts are no longer in memory: answer with ``RollUp.rebuild``."""

    symbol: str
    interval: str
    open_time: int
    close_time: int


@attrs.define
class _Repair:
    """Minutes that changed in a longer bar whose parts are being fetched."""

    minutes: dict[int, Bar]
    exchange_time: int
    position: int
    owed_from: int
    """Position of the first of them."""


@attrs.define
class _Symbol:
    """What is remembered of one symbol."""

    closed: dict[Interval, dict[int, Bar]]
    """Closed bars of every interval that others are made of, by open time."""
    open_minutes: dict[int, Bar]
    """Minutes that have trades and are not closed yet: one, and now and then two."""
    closed_until: int | None = None
    """End of the newest closed minute: longer bars that end by then are closed."""
    bases: dict[Interval, tuple[int, Bar | None]] = attrs.Factory(dict)
    """The closed part of the forming bar of each wanted interval with its open time: a cache."""


def _nothing(_symbol: str) -> Collection[str]:
    return ()


class RollUp:
    """Makes the longer bars of every symbol. Plain: events in, events out."""

    def __init__(self) -> None:
        self._symbols: dict[str, _Symbol] = {}
        self._repairs: dict[tuple[str, Interval, int], _Repair] = {}
        self._needs: list[MinutesNeeded] = []

    @staticmethod
    def seed_ranges(time: int) -> Mapping[str, int]:
        """What to seed with at a start: for each interval the earliest open time of closed bars still needed.

        Args:
            time: open time of the first minute that will come, microseconds since the epoch.
        """
        return {part.name: _kept_from(part, time) for part in _USERS}

    def seed(self, symbol: str, bars: Iterable[Bar]) -> None:
        """Remember stored closed bars of one symbol, of the intervals that ``seed_ranges`` names, at the start."""
        state = self._state(symbol)
        for bar in bars:
            state.closed[INTERVALS[bar.interval]][bar.open_time] = bar
            if bar.interval == ONE_MINUTE.name:
                state.closed_until = max(state.closed_until or bar.close_time, bar.close_time)

    def apply(
        self, events: Sequence[BarEvent], wanted: Callable[[str], Collection[str]] = _nothing
    ) -> list[BarEvent]:
        """The same events, each followed by what it means for the longer bars, shortest interval first.

        Args:
            events: events of 1m bars, in order.
            wanted: gives the intervals whose forming bars somebody watches, of one symbol. Only those are told
                on each trade; closed bars and revisions of all intervals always are.
        """
        out: list[BarEvent] = []
        for event in events:
            out.append(event)
            bar = event.bar
            state = self._symbols.get(bar.symbol) or self._state(bar.symbol)
            if event.kind is BarEventKind.UPDATE:
                state.open_minutes[bar.open_time] = bar
                names = wanted(bar.symbol)
                if names:
                    self._tell_forming(state, bar, event.exchange_time, names, out)
            else:
                state.open_minutes.pop(bar.open_time, None)
                state.bases.clear()
                state.closed[ONE_MINUTE][bar.open_time] = bar
                if state.closed_until is None or bar.close_time > state.closed_until:
                    self._close(state, event, out)
                else:
                    self._revise(state, event, out)
                    names = wanted(bar.symbol)
                    if names:
                        self._tell_forming(state, bar, event.exchange_time, names, out)
        return self._noting_what_is_owed(out)

    def forming(self, symbol: str, interval: str) -> Bar | None:
        """The forming bar as it stands, or None when nothing is known of the present period."""
        state = self._symbols.get(symbol)
        if state is None:
            return None
        newest = max(state.open_minutes, default=None)
        if newest is None:
            newest = state.closed_until
        if newest is None:
            return None
        longer = INTERVALS[interval]
        if longer is ONE_MINUTE:
            return state.open_minutes.get(newest)
        return self._build(state, longer, longer.floor(newest))

    def take_needs(self) -> list[MinutesNeeded]:
        """The closed bars that changed and whose minutes must be fetched, each told once."""
        needs, self._needs = self._needs, []
        return needs

    def rebuild(
        self, need: MinutesNeeded, minutes: Sequence[Bar], wanted: Callable[[str], Collection[str]] = _nothing
    ) -> list[BarEvent]:
        """The revision of a bar that was needed, from its stored minutes, oldest first, and what follows from it.

        The minutes that changed are remembered here, so it does no harm if what is stored lags a little behind.
        """
        longer = INTERVALS[need.interval]
        repair = self._repairs.pop((need.symbol, longer, need.open_time), None)
        if repair is None:  # the symbol was dropped meanwhile
            return []
        by_time = {bar.open_time: bar for bar in minutes} | repair.minutes
        bar = _closed(merge_bars([by_time[time] for time in sorted(by_time)], longer))
        out = [BarEvent(BarEventKind.REVISION, bar, repair.exchange_time, repair.position)]
        state = self._state(need.symbol)
        if longer in _USERS and need.open_time >= _kept_from(longer, state.closed_until or 0):
            state.closed[longer][need.open_time] = bar
            state.bases.clear()
            self._tell_forming(state, bar, repair.exchange_time, wanted(need.symbol), out)
        return self._noting_what_is_owed(out)

    def forget(self, symbol: str) -> None:
        """Drop everything known of a symbol that is no longer served."""
        self._symbols.pop(symbol, None)
        for key in [key for key in self._repairs if key[0] == symbol]:
            del self._repairs[key]
        self._needs = [need for need in self._needs if need.symbol != symbol]

    def _noting_what_is_owed(self, events: list[BarEvent]) -> list[BarEvent]:
        """The same, each closed bar with the position from which on longer bars are still to be told."""
        if not self._repairs:
            return events
        owed_from = min(repair.owed_from for repair in self._repairs.values())
        return [
            event if event.kind is BarEventKind.UPDATE else replace(event, owed_from=owed_from) for event in events
        ]

    def _state(self, symbol: str) -> _Symbol:
        state = self._symbols.get(symbol)
        if state is None:
            state = self._symbols[symbol] = _Symbol({part: {} for part in _USERS}, {})
        return state

    def _close(self, state: _Symbol, event: BarEvent, out: list[BarEvent]) -> None:
        """A minute newer than all before closed: close every longer bar that ends by its end."""
        before, now = state.closed_until, event.bar.close_time
        state.closed_until = now
        first = event.bar.open_time if before is None else min(before - MINUTE, event.bar.open_time)
        for longer in _LONGER:
            # Usually the one bar that holds the minute; after an outage also the one that it cut short.
            for open_time in sorted({longer.floor(first), longer.floor(event.bar.open_time)}):
                close_time = longer.end(open_time)
                if close_time > now or (before is not None and close_time <= before):
                    continue
                bar = self._build(state, longer, open_time, only_closed=True)
                if bar is None:
                    continue
                if longer in _USERS:
                    state.closed[longer][open_time] = bar
                out.append(BarEvent(BarEventKind.CLOSE, bar, event.exchange_time, event.position))
                stale = self._stale_parts(bar.symbol, longer, open_time)
                if stale:  # it closes on time, with what was known of them, and is told again
                    minutes = {time: minute for repair in stale for time, minute in repair.minutes.items()}
                    self._ask(bar.symbol, longer, open_time, minutes, event)
        _prune(state, now)

    def _revise(self, state: _Symbol, event: BarEvent, out: list[BarEvent]) -> None:
        """A minute that had closed, or was withheld, is told again: tell each closed bar that holds it again."""
        minute = event.bar
        assert state.closed_until is not None
        for longer in _LONGER:
            open_time = longer.floor(minute.open_time)
            if longer.end(open_time) > state.closed_until:
                continue
            key = (minute.symbol, longer, open_time)
            repair = self._repairs.get(key)
            if repair is not None:
                repair.minutes[minute.open_time] = minute
                repair.position, repair.exchange_time = event.position, event.exchange_time
                continue
            held = open_time >= _kept_from(_PARTS[longer], state.closed_until)
            stale = self._stale_parts(minute.symbol, longer, open_time)
            bar = self._build(state, longer, open_time, only_closed=True) if held and not stale else None
            if bar is None:
                self._ask(minute.symbol, longer, open_time, {minute.open_time: minute}, event)
                continue
            if longer in _USERS:
                state.closed[longer][open_time] = bar
            out.append(BarEvent(BarEventKind.REVISION, bar, event.exchange_time, event.position))
        _prune(state, state.closed_until)

    def _stale_parts(self, symbol: str, longer: Interval, open_time: int) -> list[_Repair]:
        """Repairs under way of bars that this one is made of: it must not be merged from them now."""
        part, end = _PARTS[longer], longer.end(open_time)
        stale = []
        while self._repairs and part is not ONE_MINUTE and open_time < end:
            repair = self._repairs.get((symbol, part, open_time))
            if repair is not None:
                stale.append(repair)
            open_time = part.end(open_time)
        return stale

    def _ask(
        self, symbol: str, longer: Interval, open_time: int, minutes: dict[int, Bar], event: BarEvent
    ) -> None:
        """This closed bar is to be made again from its minutes; these are the ones that changed."""
        key = (symbol, longer, open_time)
        self._repairs[key] = _Repair(minutes, event.exchange_time, event.position, event.position)
        self._needs.append(MinutesNeeded(symbol, longer.name, open_time, longer.end(open_time)))

    def _tell_forming(
        self, state: _Symbol, changed: Bar, exchange_time: int, names: Collection[str], out: list[BarEvent]
    ) -> None:
        """The forming bars of the wanted intervals that hold the bar that changed, usually the forming minute."""
        alone = len(state.open_minutes) == 1
        for name in names:
            longer = INTERVALS[name]
            if longer is ONE_MINUTE:
                continue
            open_time = longer.floor(changed.open_time)
            if state.closed_until is not None and longer.end(open_time) <= state.closed_until:
                continue
            bar: Bar | None
            if alone and changed is state.open_minutes.get(changed.open_time):
                cached = state.bases.get(longer)
                if cached is None or cached[0] != open_time:
                    base = self._build(state, longer, open_time, skip_open=True)
                    cached = state.bases[longer] = (open_time, base)
                bar = _extend(cached[1], changed, longer, open_time)
            else:
                bar = self._build(state, longer, open_time)
            if bar is not None:
                out.append(BarEvent(BarEventKind.UPDATE, bar, exchange_time))

    def _build(
        self,
        state: _Symbol,
        longer: Interval,
        open_time: int,
        *,
        only_closed: bool = False,
        skip_open: bool = False,
    ) -> Bar | None:
        """Merge what is known of one longer bar; None if nothing is.

        Args:
            state: its symbol.
            longer: its interval.
            open_time: its open time.
            only_closed: the bar is closed, whether or not its last minute is known.
            skip_open: leave out minutes that are still open.
        """
        part = _PARTS[longer]
        end = longer.end(open_time)
        closed = state.closed[part]
        bars = {time: bar for time, bar in closed.items() if open_time <= time < end}
        if not only_closed or part is not ONE_MINUTE:
            minutes = [] if skip_open or only_closed else list(state.open_minutes)
            if part is ONE_MINUTE:
                bars |= {time: state.open_minutes[time] for time in minutes if open_time <= time < end}
            else:
                if not only_closed and state.closed_until is not None:
                    minutes.append(state.closed_until - MINUTE)
                for time in {part.floor(minute) for minute in minutes if open_time <= minute < end} - bars.keys():
                    bar = self._build(state, part, time, skip_open=skip_open)
                    if bar is not None:
                        bars[time] = bar
        if not bars:
            return None
        merged = merge_bars([bars[time] for time in sorted(bars)], longer)
        return _closed(merged) if only_closed else merged


def _kept_from(part: Interval, now: int) -> int:
    """Open time of the oldest bars of ``part`` that are kept when minutes are closed until ``now``."""
    return min(user.floor(now - MINUTE - _SLACK) for user in _USERS[part])


def _prune(state: _Symbol, now: int) -> None:
    for part, bars in state.closed.items():
        kept_from = _kept_from(part, now)
        for time in [time for time in bars if time < kept_from]:
            del bars[time]


def _closed(bar: Bar) -> Bar:
    return bar if bar.closed else replace(bar, closed=True)


def _extend(base: Bar | None, minute: Bar, longer: Interval, open_time: int) -> Bar:
    """``merge_bars([base, minute])`` for the one case that runs on every trade: a forming minute with trades."""
    if base is None or minute.is_empty:
        return merge_bars([minute] if base is None else [base, minute], longer)
    empty = base.is_empty
    return Bar(
        base.symbol,
        longer.name,
        open_time,
        base.close_time,
        minute.open if empty else base.open,
        minute.high if empty or minute.high > base.high else base.high,
        minute.low if empty or minute.low < base.low else base.low,
        minute.close,
        base.volume + minute.volume,
        base.quote_volume + minute.quote_volume,
        base.trade_count + minute.trade_count,
        base.taker_buy_volume + minute.taker_buy_volume,
        base.taker_buy_quote_volume + minute.taker_buy_quote_volume,
        minute.first_trade_id if empty or base.first_trade_id == NO_TRADE else base.first_trade_id,
        minute.last_trade_id,
        base.previous_trade_id,
        False,
        False,
        base.revision + minute.revision,
    )
