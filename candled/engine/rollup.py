"""Longer bars out of 1-minute bars, as they close, change and form.

Each longer bar is merged from its parts (``interval_tree``). State kept, for each symbol: the closed bars that
are parts of periods that are open or ended lately, and the minutes that have trades and are not closed. Bars
whose parts have left memory are rebuilt from stored minutes (``rebuilds``).

Order of events: each event of a minute is followed by what it means for the longer bars, shortest interval first,
so that parts are there before the bars that are made of them. A closed minute closes every bar that ends with it.
A revised one revises every closed bar that holds it, under the position of the minute's own revision.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import UPDATE, BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE, ONE_MINUTE, Interval
from candled.engine.interval_tree import LONGER, PARTS, USERS, kept_from
from candled.engine.rebuilds import MinutesNeeded, Rebuilds, merged_minutes


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
        self._rebuilds = Rebuilds()

    @staticmethod
    def seed_ranges(time: int) -> Mapping[str, int]:
        """What to seed with at a start: for each interval the earliest open time of closed bars still needed.

        Args:
            time: open time of the first minute that will come, microseconds since the epoch.
        """
        return {part.name: kept_from(part, time) for part in USERS}

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
            wanted: Gives the intervals of a symbol whose forming bars somebody watches. Only those are emitted
                on each trade; closed bars and revisions of all intervals always are.
        """
        out: list[BarEvent] = []
        touched: dict[str, tuple[_Symbol, list[str]]] = {}
        """With each symbol the longer intervals of it that are wanted."""
        for event in events:
            out.append(event)
            bar = event.bar
            found = touched.get(bar.symbol)
            if found is None:
                longer = [name for name in wanted(bar.symbol) if name != ONE_MINUTE.name]
                found = touched[bar.symbol] = (self._state(bar.symbol), longer)
            state, names = found
            if event.kind is UPDATE:
                state.open_minutes[bar.open_time] = bar
                if names:
                    self._emit_forming(state, bar, event.exchange_time, names, out)
            else:
                state.open_minutes.pop(bar.open_time, None)
                state.bases.clear()
                state.closed[ONE_MINUTE][bar.open_time] = bar
                if state.closed_until is None or bar.close_time > state.closed_until:
                    self._close(state, event, out)
                else:
                    self._revise(state, event, out)
                    if names:
                        self._emit_forming(state, bar, event.exchange_time, names, out)
        return self._rebuilds.with_resume_floor(out)

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

    def take_needed(self) -> list[MinutesNeeded]:
        """Take the closed bars that changed and whose minutes must be read back, each named once."""
        return self._rebuilds.take_needed()

    def rebuild(
        self,
        symbol: str,
        interval: str,
        open_time: int,
        minutes: Sequence[Bar],
        wanted: Callable[[str], Collection[str]] = _nothing,
    ) -> list[BarEvent]:
        """Emit the revision of a bar whose minutes were read back, and what follows from it.

        Args:
            symbol: As named in ``MinutesNeeded``.
            interval: As named there.
            open_time: As named there.
            minutes: Its stored minutes, oldest first. Those that changed are remembered here, so it does no harm
                if what is stored lags a little behind.
            wanted: Gives the intervals of a symbol whose forming bars somebody watches.
        """
        longer = INTERVALS[interval]
        rebuild = self._rebuilds.finish(symbol, longer, open_time)
        if rebuild is None:
            return []
        bar = _closed(merge_bars(merged_minutes(minutes, rebuild.minutes), longer))
        out = [BarEvent(BarEventKind.REVISION, bar, rebuild.exchange_time, rebuild.position)]
        state = self._state(symbol)
        if longer in USERS and open_time >= kept_from(longer, state.closed_until or 0):
            state.closed[longer][open_time] = bar
            state.bases.clear()
            self._emit_forming(state, bar, rebuild.exchange_time, wanted(symbol), out)
        return self._rebuilds.with_resume_floor(out)

    def forget(self, symbol: str) -> None:
        """Drop everything known of a symbol that is no longer served."""
        self._symbols.pop(symbol, None)
        self._rebuilds.forget(symbol)

    def _state(self, symbol: str) -> _Symbol:
        state = self._symbols.get(symbol)
        if state is None:
            state = self._symbols[symbol] = _Symbol({part: {} for part in USERS}, {})
        return state

    def _close(self, state: _Symbol, event: BarEvent, out: list[BarEvent]) -> None:
        """A minute newer than all before closed: close every longer bar that ends by its end."""
        before, now = state.closed_until, event.bar.close_time
        state.closed_until = now
        first = event.bar.open_time if before is None else min(before - MINUTE, event.bar.open_time)
        for longer in LONGER:
            # Usually the one bar that holds the minute; after an outage also the one that it cut short.
            for open_time in sorted({longer.floor(first), longer.floor(event.bar.open_time)}):
                close_time = longer.end(open_time)
                if close_time > now or (before is not None and close_time <= before):
                    continue
                bar = self._build(state, longer, open_time, only_closed=True)
                if bar is None:
                    continue
                if longer in USERS:
                    state.closed[longer][open_time] = bar
                out.append(BarEvent(BarEventKind.CLOSE, bar, event.exchange_time, event.position))
                stale = self._rebuilds.of_parts(bar.symbol, longer, open_time)
                if stale:  # it closes on time, with what was known of them, and is revised
                    minutes = {time: minute for rebuild in stale for time, minute in rebuild.minutes.items()}
                    self._rebuilds.request(bar.symbol, longer, open_time, minutes, event)
        _prune(state, now)

    def _revise(self, state: _Symbol, event: BarEvent, out: list[BarEvent]) -> None:
        """Revise each closed bar that holds a minute which changed after its close."""
        minute = event.bar
        assert state.closed_until is not None
        for longer in LONGER:
            open_time = longer.floor(minute.open_time)
            if longer.end(open_time) > state.closed_until:
                continue
            if self._rebuilds.note(longer, open_time, event):
                continue
            has_parts = open_time >= kept_from(PARTS[longer], state.closed_until)
            stale = self._rebuilds.of_parts(minute.symbol, longer, open_time)
            bar = self._build(state, longer, open_time, only_closed=True) if has_parts and not stale else None
            if bar is None:
                self._rebuilds.request(minute.symbol, longer, open_time, {minute.open_time: minute}, event)
                continue
            if longer in USERS:
                state.closed[longer][open_time] = bar
            out.append(BarEvent(BarEventKind.REVISION, bar, event.exchange_time, event.position))
        _prune(state, state.closed_until)

    def _emit_forming(
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
                out.append(BarEvent(UPDATE, bar, exchange_time))

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
        part = PARTS[longer]
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


def _prune(state: _Symbol, now: int) -> None:
    for part, bars in state.closed.items():
        oldest = kept_from(part, now)
        for time in [time for time in bars if time < oldest]:
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
        base.quote_decimals,
    )
