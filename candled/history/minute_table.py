"""Closed 1-minute bars in memory and the longer bars that they make: what a history without a disk reads from.

State: for each symbol its minutes, newest revision only, sorted by open time, and the changes of them, sorted by
position. Longer bars are merged when they are asked for, by the rule of every history: a bar whose last minute is
missing closes with the next minute there is, at the position of that one.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import attrs
from msgspec.structs import replace

from candled.domain.bar import Bar, merge_bars
from candled.domain.event import BarEvent
from candled.domain.interval import ONE_MINUTE, Interval, parse_interval
from candled.domain.limits import TIME_MAX, TIME_MIN

Found = tuple[int, Bar]
"""A bar and the position of its newest revision."""


@attrs.define(slots=True)
class Minutes:
    """The minutes of one symbol."""

    times: list[int] = attrs.Factory(list)
    """Open times, sorted."""
    bars: dict[int, Found] = attrs.Factory(dict)
    changes: list[tuple[int, int]] = attrs.Factory(list)
    """Position and open time of each change, sorted."""

    def put(self, position: int, bar: Bar) -> None:
        """Put a minute, unless a newer revision of it is here."""
        known = self.bars.get(bar.open_time)
        if known is None:
            insort(self.times, bar.open_time)
        elif (known[1].revision, known[0]) > (bar.revision, position):
            return
        self.bars[bar.open_time] = (position, bar)
        change = (position, bar.open_time)
        if not self.changes or self.changes[-1] < change:
            self.changes.append(change)
        else:
            insort(self.changes, change)

    def drop_oldest(self, count: int) -> int:
        """Drop the oldest minutes; returns the highest position among them."""
        dropped = [self.bars.pop(time)[0] for time in self.times[:count]]
        del self.times[:count]
        self.changes = [change for change in self.changes if change[1] in self.bars]
        return max(dropped, default=0)

    def between(self, start: int, end: int) -> list[Found]:
        """Return the minutes with ``start <= open_time < end``, oldest first."""
        times = self.times[bisect_left(self.times, start) : bisect_left(self.times, end)]
        return [self.bars[time] for time in times]

    def after(self, time: int) -> Found | None:
        """Return the first minute that opens at ``time`` or later."""
        at = bisect_left(self.times, time)
        return self.bars[self.times[at]] if at < len(self.times) else None

    def before(self, time: int) -> int | None:
        """Return the open time of the last minute that opens before ``time``."""
        at = bisect_left(self.times, time)
        return self.times[at - 1] if at else None

    def changed_since(self, position: int) -> set[int]:
        """Return the open times of the minutes that changed after ``position``."""
        return {time for _, time in self.changes[bisect_right(self.changes, (position, TIME_MAX)) :]}


@attrs.frozen
class Selection:
    """The minutes that a read needs. It does not change with the table, so another thread may merge it."""

    rule: Interval
    minutes: Sequence[Found]
    following: Found | None
    """The first minute after them."""
    end: int
    """No bar opens at this time or later."""

    def bars(self, limit: int) -> list[Bar]:
        """Return the bars, oldest first, at most ``limit``."""
        found = (bar for _, bar in _merged(self.minutes, self.following, self.rule))
        return list(islice((bar for bar in found if bar.open_time < self.end), max(limit, 0)))


class MinuteTable:
    """The minutes of all symbols.

    Attributes:
        symbols: the minutes by symbol.
        oldest_position: changes after it are all here, earlier ones may not be; 0: everything ever put is here.
    """

    def __init__(self) -> None:
        self.symbols: dict[str, Minutes] = {}
        self.oldest_position = 0

    def put(self, event: BarEvent) -> Minutes:
        """Put a closed 1-minute bar, unless a newer revision of it is here; returns its symbol's minutes."""
        minutes = self.symbols.get(event.bar.symbol)
        if minutes is None:
            minutes = self.symbols[event.bar.symbol] = Minutes()
        minutes.put(event.position, event.bar)
        return minutes

    def drop_oldest(self, minutes: Minutes, count: int) -> None:
        """Drop the oldest minutes of one symbol."""
        self.oldest_position = max(self.oldest_position, minutes.drop_oldest(count))

    def begin_of(self, symbol: str) -> int:
        """Return the time from which on all minutes are here: a longer bar that begins before would lack some."""
        minutes = self.symbols.get(symbol)
        return minutes.times[0] if minutes and self.oldest_position else TIME_MIN

    def between(self, symbol: str, start: int, end: int = TIME_MAX) -> list[Bar]:
        """Return the minutes with ``start <= open_time < end``, oldest first."""
        minutes = self.symbols.get(symbol)
        return [bar for _, bar in minutes.between(start, end)] if minutes else []

    def select(self, symbol: str, interval: str, start: int | None, end: int | None) -> Selection:
        """Return the minutes of the bars with ``start <= open_time < end``; None: without a limit."""
        rule = parse_interval(interval)
        first = TIME_MIN if start is None else start
        last = TIME_MAX if end is None else end
        minutes = self.symbols.get(symbol)
        if minutes is None:
            return Selection(rule, (), None, last)
        if rule is ONE_MINUTE:
            return Selection(rule, minutes.between(first, last), None, last)
        first = _first_whole(max(first, self.begin_of(symbol)), rule)
        # A bar that opens before `last` may end after it, and its minutes count.
        found = minutes.between(first, last if end is None else rule.end(rule.floor(last)))
        following = minutes.after(found[-1][1].close_time) if found else None
        return Selection(rule, found, following, last)

    def changed_since(self, position: int, symbols: Iterable[str], intervals: Sequence[str]) -> Iterator[Found]:
        """Return the bars whose newest revision is later than ``position``, in no order; no symbol: of all."""
        for symbol in symbols or list(self.symbols):
            minutes = self.symbols.get(symbol)
            changed = minutes.changed_since(position) if minutes else set()
            if minutes is None or not changed:
                continue
            for rule in map(parse_interval, intervals):
                begin = _first_whole(self.begin_of(symbol), rule)
                for open_time in [time for time in _bars_with(minutes, changed, rule) if time >= begin]:
                    group = minutes.between(open_time, rule.end(open_time))
                    following = minutes.after(rule.end(open_time))
                    yield from (found for found in _merged(group, following, rule) if found[0] > position)


def position_of(found: Found) -> int:
    """Return the position, as a key to sort by."""
    return found[0]


def _first_whole(time: int, rule: Interval) -> int:
    """Return the open time of the first bar that opens at ``time`` or later."""
    floor = rule.floor(time)
    return time if floor == time else rule.end(floor)


def _bars_with(minutes: Minutes, changed: set[int], rule: Interval) -> list[int]:
    """Return the open times of the bars that contain a changed minute, and of those that one of them cut short."""
    found = {rule.floor(time) for time in changed}
    if rule is not ONE_MINUTE:
        earlier = (minutes.before(time) for time in list(found))
        found |= {rule.floor(time) for time in earlier if time is not None}
    return sorted(found)


def _merged(minutes: Sequence[Found], following: Found | None, rule: Interval) -> Iterator[Found]:
    """Merge minutes into closed bars, oldest first.

    Args:
        minutes: those of whole bars, oldest first.
        following: the first minute after them.
        rule: interval of the bars.
    """
    if rule is ONE_MINUTE:
        yield from minutes
        return
    first = 0
    for at in range(1, len(minutes) + 1):
        open_time = rule.floor(minutes[first][1].open_time)
        if at < len(minutes) and minutes[at][1].open_time < rule.end(open_time):
            continue
        bar = merge_bars([minute for _, minute in minutes[first:at]], rule)
        position = max(each for each, _ in minutes[first:at])
        if bar.closed:
            yield position, bar
        else:
            after = minutes[at] if at < len(minutes) else following
            if after is not None:
                yield max(position, after[0]), replace(bar, closed=True)
        first = at
