"""One symbol's trades become its 1-minute bars, with a proof by trade id for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.status import Gap, GapState
from candled.domain.trade import Trade
from candled.engine.continuity import Continuity, Sighting
from candled.engine.gaps import GapBook
from candled.engine.minute import Minute
from candled.engine.window import Window

WINDOW_MINUTES: Final = 10
"""Closed minutes kept in memory, so that a late trade can merge into its bar."""
WINDOW_MINUTES_MAX: Final = 11_000
"""So many at most while trades of theirs may still come: more than a week, so that after such an absence no minute
that was passed over is forgotten before it is decided. The oldest leave, to be rebuilt whole if trades do come."""


@attrs.define(slots=True)
class Counts:
    """What one symbol's engine counted since it was made."""

    trades: int = 0
    duplicates: int = 0
    """Trades that came again and were not counted."""
    overlaps: int = 0
    """Aggregates not applied because part of their ids had been seen."""
    closes: int = 0
    incomplete_closes: int = 0
    revisions: int = 0


class SymbolEngine:
    """Folds the trades of one symbol, in any order, into closed bars in order of open time.

    A minute whose span of ids holds a missing one is *undecided*. A minute in which no trade was seen is *held*
    until the exchange's kline of it says that it was empty, and *withheld*, passed over, when a later bar closes
    before that; its bar is then told as a revision.
    """

    def __init__(self, symbol: str, next_position: Callable[[], int]) -> None:
        self.symbol = symbol
        self.continuity = Continuity()
        self.counts = Counts()
        self.gap_book = GapBook()
        self.lag = 0
        """Arrival of the newest trade after its exchange time, microseconds."""
        self.last_trade: Trade | None = None
        """The trade with the highest id so far."""
        self.wanted_start: int | None = None
        """Open time of the first minute ever, while the trade before it is not known."""
        self._next_position = next_position
        self._window = Window()
        self._forming: Minute | None = None
        """The newest minute: where nearly every trade goes."""
        self._origin = 0
        """Open time of the first bar of all; earlier trades only prove."""
        self._frontier: int | None = None
        """Open time of the first minute that is neither closed nor passed over."""
        self._due = 0
        """Exchange time up to which minutes have ended, by trade or by clock."""
        self._withheld = IdRanges()
        """Minutes passed over without a bar, as numbers since the epoch."""
        self._incomplete: set[int] = set()
        """Open times of closed minutes in memory that may yet change."""
        self._evicted: dict[int, list[tuple[int, int]]] = {}
        """Ids that arrived for minutes no longer in memory, by open time."""
        self._dirty = False

    # -- from stored bars ---------------------------------------------------------------------------------------

    def restore(self, bars: Sequence[Bar]) -> None:
        """Go on from stored bars: consecutive ones, oldest first, from the oldest to be rebuilt up to the newest.

        An incomplete one is rebuilt whole: its ids count as not seen. With none to rebuild, the newest is enough.
        """
        first, newest = bars[0], bars[-1]
        floor = first.previous_trade_id
        if floor == NO_TRADE:
            floor = max(first.first_trade_id, 0)
            if not first.complete:
                self.wanted_start = first.open_time
        self._origin = first.open_time
        self._frontier = self._due = newest.close_time
        self._window.begin_after(first.previous_trade_id, first.open)
        self.continuity.anchor(floor, newest.known_trade_id)
        close_time, known = first.open_time, first.previous_trade_id
        for number, bar in enumerate(bars):
            if close_time < bar.open_time:
                self._withheld.add(close_time // MINUTE, bar.open_time // MINUTE - 1)
            self.continuity.unsee(known + 1, bar.previous_trade_id)
            # Whole minutes between those to be rebuilt stay out of memory: what they know of ids is kept.
            before = max(known, bar.previous_trade_id)
            self._window.knows_before(bar.open_time, _last_before(bar, before))
            if not bar.complete:
                self._window.insert(Minute(self.symbol, bar.open_time, bar.previous_trade_id, bar))
                self._incomplete.add(bar.open_time)
                # What it says of the id before it may be older than what those before it say.
                self.continuity.unsee(before + 1, bar.last_trade_id)
            elif _is_beside_a_hole(bars, number):
                self._window.resume(
                    self._window.insert(Minute(self.symbol, bar.open_time, bar.previous_trade_id, bar)), bar
                )
            close_time, known = bar.close_time, max(known, bar.known_trade_id)
        self._dirty = True

    def reopen(self, open_time: int, stored: Bar | None) -> None:
        """Bring back a minute that left memory and is to change; it is rebuilt whole."""
        ids = self._evicted.pop(open_time, [])
        if open_time in self._window:
            return
        self._window.insert(Minute(self.symbol, open_time, NO_TRADE, stored))
        self._withheld.discard(open_time // MINUTE, open_time // MINUTE)
        self._incomplete.add(open_time)
        if stored is not None:
            self._window.knows_before(open_time, _last_before(stored, stored.previous_trade_id))
        if stored is not None and not stored.is_empty:
            ids.append((stored.first_trade_id, stored.last_trade_id))
        for first, last in ids:
            self.continuity.unsee(first, last)

    # -- trades -------------------------------------------------------------------------------------------------

    def apply(self, trade: Trade, events: list[BarEvent]) -> None:
        """Count one trade, once. Bars that this closes are told; call ``settle`` after a batch."""
        if self.wanted_start is not None:
            self.continuity.lower_floor(trade.first_id)
        sighting = self.continuity.see(trade.first_id, trade.last_id)
        if sighting is not Sighting.NEW:
            if sighting is Sighting.DUPLICATE:
                self.counts.duplicates += 1
            else:
                self.counts.overlaps += 1
            return
        self.counts.trades += trade.last_id - trade.first_id + 1
        if self.last_trade is None or trade.last_id > self.last_trade.last_id:
            self.last_trade = trade
        if trade.is_placeholder:
            self._dirty = True
            if self._window.begins_nowhere and trade.time < self._origin and trade.first_id > 0:
                self.continuity.lower_floor(trade.first_id - 1)  # the trade before the first bar is still wanted
            return
        minute = self._forming
        if minute is not None and minute.open_time <= trade.time < minute.close_time:
            minute.add(trade)
        else:
            self._dirty = True
            minute = self._place(trade)
            if minute is None:
                return
            if minute.last_id == NO_TRADE:
                self._window.first_trade(minute)
            minute.add(trade)
            if minute.open_time > self._due:
                self._due = minute.open_time
                self._close_due(trade.time, events)
        if minute.published is None and not self._is_past(minute.open_time):
            events.append(BarEvent(BarEventKind.UPDATE, minute.forming_bar(), trade.time))
        else:
            self._dirty = True
            self._incomplete.add(minute.open_time)

    def settle(self, exchange_time: int, events: list[BarEvent]) -> None:
        """After a batch: tell each closed bar that changed, once, when its ids are decided."""
        if self.continuity.changed:
            self.continuity.changed = False
            self.gap_book.note(self.continuity.missing, self.continuity.proves)
        elif not self._dirty:
            return
        self._dirty = False
        self._close_due(exchange_time, events, decided_only=True)
        self._review(exchange_time, events)
        self._evict()

    def advance(self, ended: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Minutes that end by ``ended`` have ended by the clock."""
        if self._frontier is None or ended < max(self._due, self._frontier) + MINUTE:
            return
        self._due = ended // MINUTE * MINUTE
        self._close_due(exchange_time, events)
        self._evict()

    @property
    def next_end(self) -> int | None:
        """When the next minute ends that is still to be closed or held."""
        if self._frontier is None:
            return None
        return max(self._frontier, self._due) + MINUTE

    # -- what the exchange says over REST -----------------------------------------------------------------------

    def start_found(self, trade_id: int) -> None:
        """The last trade before the first bar ever has this id: fetch from it on."""
        if self.wanted_start is not None:
            self.wanted_start = None
            self.continuity.lower_floor(trade_id)

    def begin_after(self, trade: Trade, exchange_time: int) -> None:
        """Nothing was traded lately; this was the last trade. Bars begin with the current minute all the same."""
        if self._frontier is None:
            self._origin = self._frontier = ONE_MINUTE.floor(max(exchange_time, trade.time))
            if trade.is_placeholder:
                self.continuity.lower_floor(trade.first_id)
            elif trade.time < self._origin:
                self.continuity.anchor(trade.last_id, trade.last_id)
                self._window.begin_after(trade.last_id, trade.price)
            else:
                self.continuity.lower_floor(trade.first_id)
                self.wanted_start = self._origin
        self.continuity.exists(trade.last_id)

    def unsettled(self) -> list[tuple[int, int]]:
        """Ranges of minutes, by first and last open time, whose klines are wanted because nothing was traded."""
        wanted = []
        if self._frontier is not None:
            later = self._window.times(self._frontier)
            end = min(self._due, later[0] if later else self._due)
            if end > self._frontier and not self._is_undecided(self._frontier):
                wanted.append((self._frontier, end - MINUTE))
        wanted += [
            (first * MINUTE, last * MINUTE)
            for first, last in self._withheld
            if not self._is_undecided(first * MINUTE)
        ]
        return wanted

    def settled(self, klines: Mapping[int, Bar | None], exchange_time: int, events: list[BarEvent]) -> None:
        """The exchange's klines of minutes in which no trade was seen; None where there is none."""
        unseen = [
            kline
            for open_time, kline in sorted(klines.items())
            if kline is not None and not kline.is_empty and self._is_unsettled(open_time)
        ]
        before, after, proven = NO_TRADE, None, False
        if unseen:
            before, after = (
                self._window.id_before(unseen[0].open_time),
                self._window.id_after(unseen[-1].open_time),
            )
            known_to = before + sum(kline.trade_count for kline in unseen)
            # Where later trades are known, those of the klines are not to be had. The klines are proven if their
            # counts meet the known ids at both ends.
            proven = before != NO_TRADE and known_to + 1 == after
        for open_time, kline in sorted(klines.items()):
            if self._frontier is None or open_time > self._frontier:
                break  # the minutes before it are not settled yet
            if not self._is_unsettled(open_time):
                continue
            if kline is not None and not kline.is_empty:
                if after is None:  # the stream brought nothing since: the trades may be there to be fetched
                    if before == NO_TRADE:
                        break
                    self.continuity.exists(known_to)
                    if self.continuity.lacks(before + 1, known_to):
                        break
                self._take_kline(kline, before, proven, exchange_time, events)
                before += kline.trade_count if proven else 0
            elif kline is not None and self._window.close_before(open_time) is not None:
                minute = self._window.insert(Minute(self.symbol, open_time))
                if open_time == self._frontier:
                    self._close(minute, exchange_time, events)
                else:
                    self._tell(minute, exchange_time, events)
            self._pass_over(open_time)
        self._dirty = True

    def _is_unsettled(self, open_time: int) -> bool:
        """Whether this minute is held or withheld, and no missing trade may belong to it."""
        number = open_time // MINUTE
        is_passed_over = self._withheld.covers(number, number) or not self._is_past(open_time)
        return is_passed_over and open_time not in self._window and not self._is_undecided(open_time)

    def _take_kline(
        self, kline: Bar, before: int, proven: bool, exchange_time: int, events: list[BarEvent]
    ) -> None:
        """A minute of which the exchange has a kline, but none of whose trades is to be had.

        ``before``: the highest id before it, as far as is known; ``proven``: whether its ids follow from that.
        """
        bar = replace(
            kline,
            first_trade_id=before + 1 if proven else NO_TRADE,
            last_trade_id=before + kline.trade_count if proven else NO_TRADE,
            previous_trade_id=before,
            closed=True,
            complete=proven,
            revision=1,
        )
        minute = self._window.insert(Minute(self.symbol, kline.open_time, before))
        self._window.resume(minute, bar)
        if proven:
            self.continuity.see(bar.first_trade_id, bar.last_trade_id)
        self.counts.revisions += 1
        self._publish(minute, bar, BarEventKind.REVISION, exchange_time, events)

    def _pass_over(self, open_time: int) -> None:
        """This minute is dealt with."""
        if open_time == self._frontier:
            self._frontier = open_time + MINUTE
        else:
            self._withheld.discard(open_time // MINUTE, open_time // MINUTE)

    def adopt(self, bars: Sequence[Bar], exchange_time: int, events: list[BarEvent]) -> None:
        """Whole minutes from the exchange's klines, oldest first, with the ids that counting gives."""
        for bar in bars:
            number = bar.open_time // MINUTE
            if bar.open_time in self._window or self._frontier is None:
                continue
            if bar.open_time > self._frontier:
                self._end_before(bar.open_time, exchange_time, events)
            held = bar.open_time == self._frontier
            if not held and not self._withheld.covers(number, number):
                continue
            if not bar.is_empty:
                sighting = self.continuity.see(bar.first_trade_id, bar.last_trade_id)
                if sighting is Sighting.OVERLAP:
                    continue  # part of it was counted from trades, so the rest must come as trades too
            minute = self._window.insert(Minute(self.symbol, bar.open_time, bar.previous_trade_id))
            self._window.resume(minute, bar)
            if held:
                self._frontier = bar.close_time
                self._publish(minute, bar, BarEventKind.CLOSE, exchange_time, events)
            else:
                self._withheld.discard(number, number)
                self._publish(minute, replace(bar, revision=1), BarEventKind.REVISION, exchange_time, events)
        self._dirty = True

    @property
    def minutes_left(self) -> int:
        """Minutes that have ended and have no bar yet: they wait for their trades or for the exchange's klines."""
        if self._frontier is None:
            return 0
        held = max(0, self._due - self._frontier) // MINUTE
        return held + sum(last - first + 1 for first, last in self._withheld)

    def gaps(self) -> tuple[Gap, ...]:
        """Missing and unfillable ranges, and those filled lately, by id."""
        filled = [Gap(first, last, GapState.FILLED, "") for first, last in self.gap_book.newest_filled]
        return tuple(sorted((*self.continuity.gaps(), *filled), key=lambda gap: gap.first_id))

    @property
    def lacks_something(self) -> bool:
        """Whether trades, klines or stored bars are wanted."""
        if self.wanted_start is not None or self.continuity.missing or self._evicted:
            return True
        passed_over = self._frontier is not None and (self._frontier < self._due or len(self._withheld) > 0)
        return passed_over and bool(self.unsettled())

    @property
    def to_reopen(self) -> list[int]:
        """Open times of minutes that left memory and are to change: ``reopen`` them."""
        return list(self._evicted)

    # -- where a trade goes -------------------------------------------------------------------------------------

    def _place(self, trade: Trade) -> Minute | None:
        """The minute of a trade; None where its bar is not in memory or none is wanted."""
        open_time = ONE_MINUTE.floor(trade.time)
        if self._frontier is None:
            self._frontier = self._origin = self.wanted_start = open_time
        minute = self._window.get(open_time)
        if minute is not None:
            return minute
        if open_time < self._origin:
            self._window.saw_before(trade)
            return None
        number = open_time // MINUTE
        if self._is_past(open_time) and not self._withheld.covers(number, number):
            self._evicted.setdefault(open_time, []).append((trade.first_id, trade.last_id))
            return None
        self._withheld.discard(number, number)
        minute = self._window.insert(Minute(self.symbol, open_time, self._window.id_before(open_time)))
        if self._forming is None or open_time > self._forming.open_time:
            self._forming = minute
        return minute

    def _is_past(self, open_time: int) -> bool:
        return self._frontier is not None and open_time < self._frontier

    # -- closing ------------------------------------------------------------------------------------------------

    def _close_due(
        self, exchange_time: int, events: list[BarEvent], *, decided_only: bool = False, until: int | None = None
    ) -> None:
        """Close what has ended and was traded, in order; what was not traded before it is passed over.

        ``decided_only``: what a repair brings late waits for the rest of its trades, as nothing is due just now.
        ``until``: nothing from this open time on; else from what is due on.
        """
        if self._frontier is None:
            return
        for open_time in self._window.times(self._frontier, self._due if until is None else until):
            if decided_only and self._is_undecided(open_time):
                return
            if open_time > self._frontier:
                self._withheld.add(self._frontier // MINUTE, open_time // MINUTE - 1)
            self._frontier = open_time + MINUTE
            self._close(self._window[open_time], exchange_time, events)

    def _end_before(self, open_time: int, exchange_time: int, events: list[BarEvent]) -> None:
        """A bar from here on is known, so whatever is before it has ended: close it, or pass it over."""
        assert self._frontier is not None
        self._due = max(self._due, open_time)
        self._close_due(exchange_time, events, until=open_time)
        if self._frontier < open_time:
            self._withheld.add(self._frontier // MINUTE, open_time // MINUTE - 1)
            self._frontier = open_time

    def _close(self, minute: Minute, exchange_time: int, events: list[BarEvent]) -> None:
        bar = self._closed_bar(minute, revision=0)
        self.counts.closes += 1
        self.counts.incomplete_closes += not bar.complete
        self._publish(minute, bar, BarEventKind.CLOSE, exchange_time, events)

    def _closed_bar(self, minute: Minute, revision: int) -> Bar:
        close_before = self._window.close_before(minute.open_time)
        return minute.closed_bar(
            previous_id=self._window.id_before(minute.open_time),
            previous_close=minute.last_price if close_before is None else close_before,
            complete=self._is_complete(minute),
            revision=revision,
        )

    def _publish(
        self, minute: Minute, bar: Bar, kind: BarEventKind, exchange_time: int, events: list[BarEvent]
    ) -> None:
        minute.published = bar
        if bar.complete:
            self._incomplete.discard(bar.open_time)
        else:
            self._incomplete.add(bar.open_time)
        events.append(BarEvent(kind, bar, exchange_time, self._next_position()))

    # -- revising -----------------------------------------------------------------------------------------------

    def _review(self, exchange_time: int, events: list[BarEvent]) -> None:
        """Tell the closed bars that changed and whose ids are decided, one revision each."""
        if not self._incomplete:
            return
        changed_until = None
        for open_time in self._window.times(min(self._incomplete)):
            if not self._is_past(open_time):
                break
            minute = self._window[open_time]
            # An empty bar repeats the close right before it: between bars that are apart, others may be stored.
            repeats = changed_until == open_time and minute.trade_count == 0
            if (open_time in self._incomplete or repeats) and not self._is_undecided(open_time):
                before = minute.last_price if minute.published is None else minute.published.close
                self._tell(minute, exchange_time, events)
                if minute.last_price != before:
                    changed_until = minute.close_time

    def _tell(self, minute: Minute, exchange_time: int, events: list[BarEvent]) -> None:
        """Tell a closed bar as it now is, if that differs from what was told."""
        published = minute.published
        bar = self._closed_bar(minute, revision=1 if published is None else published.revision + 1)
        if published is not None:
            if not bar.complete and (published.complete or bar.trade_count < published.trade_count):
                return  # rebuilt from less than was once counted: what was told is nearer the truth
            known = replace(published, revision=bar.revision, previous_trade_id=bar.previous_trade_id)
            if bar == known:
                return
        self.counts.revisions += 1
        self._publish(minute, bar, BarEventKind.REVISION, exchange_time, events)

    # -- proof --------------------------------------------------------------------------------------------------

    def _is_complete(self, minute: Minute) -> bool:
        """Whether every id from the bar before to the bar after was seen."""
        before, after = self._window.id_before(minute.open_time), self._window.id_after(minute.open_time)
        if before == NO_TRADE or after is None:
            return False
        if minute.last_id != NO_TRADE:
            before, after = min(before, minute.first_id), max(after, minute.last_id)
        return self.continuity.proves(before, after)

    def _is_undecided(self, open_time: int) -> bool:
        """Whether a missing id may belong to this minute."""
        before, after = self._window.id_before(open_time), self._window.id_after(open_time)
        first = before + 1 if before != NO_TRADE else self.continuity.floor or 0
        return self.continuity.lacks(first, self.continuity.horizon if after is None else after - 1)

    # -- bounded memory -----------------------------------------------------------------------------------------

    def _evict(self) -> None:
        """Let old minutes go, oldest first; one that may still change stays while there is room."""
        if self._frontier is None:
            return
        oldest_kept = self._frontier - WINDOW_MINUTES * MINUTE
        while (open_time := self._window.oldest) is not None and open_time < oldest_kept:
            if len(self._window) <= WINDOW_MINUTES_MAX and self._may_change(open_time):
                return
            self._window.drop_oldest()
            self._withheld.discard(0, open_time // MINUTE)
            self._incomplete.discard(open_time)

    def _may_change(self, open_time: int) -> bool:
        """Whether this minute, the oldest in memory, may change or be what one passed over before it builds on."""
        later = self._window.second_oldest or open_time + MINUTE
        if self._withheld.overlaps(0, later // MINUTE):
            return True
        if open_time not in self._incomplete:
            return False
        return (
            self.wanted_start is not None
            or self._window.id_after(open_time) is None
            or self._is_undecided(open_time)
        )


def _last_before(bar: Bar, known: int) -> int:
    """The highest id before a stored bar, as far as is known: not one of its own."""
    return known if bar.is_empty else min(known, bar.first_trade_id - 1)


def _is_beside_a_hole(bars: Sequence[Bar], number: int) -> bool:
    """Whether a complete bar is next to one that is to be rebuilt or is not there, or is the newest."""
    if number == len(bars) - 1:
        return True
    after, before = bars[number + 1], bars[number - 1] if number else None
    if not after.complete or after.open_time > bars[number].close_time:
        return True
    return before is not None and (not before.complete or before.close_time < bars[number].open_time)
