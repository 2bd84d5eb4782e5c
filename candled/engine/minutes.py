"""1-minute bars of one symbol: an order-insensitive fold of its trades, closed in order, revised when they change.

State kept: the minutes in memory with their sums (``window``), where each minute stands in time (``timeline``),
the closed ones that may yet change (``incomplete``), and those that left memory and are read back (``returning``).
What ids prove is asked of the ``Coverage``.

Invariants:

* Each minute is closed once, in order of open time; everything after that is a revision with its number raised.
* A closed bar changes only when no missing id may belong to it, so a repair makes one revision of each bar.
* A minute in memory holds exactly the trades that were accepted for it since it came into memory.
* At most ``WINDOW_MINUTES`` settled minutes stay in memory, and ``WINDOW_MINUTES_MAX`` in all.

Order of events in a batch: trades are added (a trade past the end of a minute closes it at once); then ``settle``
closes what a repair has decided, revises what changed, and lets old minutes go.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.event import UPDATE, BarEvent, BarEventKind
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.numbers import DECIMALS
from candled.domain.proof import assign_ids_by_count, counts_meet
from candled.domain.trade import Trade
from candled.engine.continuity import Sighting
from candled.engine.counting import may_hold, merged
from candled.engine.coverage import Coverage
from candled.engine.minute import Minute, MinuteCounts
from candled.engine.restoring import last_id_before, plan_restore
from candled.engine.returning import Returning
from candled.engine.revision_pace import RevisionPace
from candled.engine.settlement import Adopt, CloseEmpty, Skip, Wait, decide
from candled.engine.timeline import MinuteState, Timeline
from candled.engine.trade_before import TradesBefore
from candled.engine.window import Window

WINDOW_MINUTES: Final = 10
"""Closed minutes kept in memory, so that a late trade can merge into its bar."""
WINDOW_MINUTES_MAX: Final = 11_000
"""Limit of minutes in memory while trades of theirs may still come: more than a week, so that after such an
absence no minute that was passed over is forgotten before it is decided. Beyond it the oldest leave, to be
rebuilt whole if trades do come."""
DOUBTED_MAX: Final = 10_000
"""Minutes remembered about whose trades the exchange contradicts itself; the oldest are forgotten."""


class MinuteBuilder:
    """The ``BarBuilder`` of 1-minute bars."""

    def __init__(
        self,
        symbol: str,
        coverage: Coverage,
        next_position: Callable[[], int],
        request_reload: Callable[[int], None],
        quote_decimals: int = DECIMALS,
    ) -> None:
        """Begin with nothing known.

        Args:
            symbol: Whose bars.
            coverage: The symbol's ids.
            next_position: Numbers the closed bars and revisions.
            request_reload: Called once with the open time of a minute that left memory and is to change: answer
                with ``reload``.
            quote_decimals: Decimals to which the quote of each trade is truncated.
        """
        self.symbol = symbol
        self._new_minute = partial(Minute, symbol, quote_decimals=quote_decimals)
        self.counts = MinuteCounts()
        self.timeline = Timeline()
        self.window = Window()
        self._coverage = coverage
        self._next_position = next_position
        self._forming: Minute | None = None
        """The newest minute: where nearly every trade goes."""
        self._incomplete: set[int] = set()
        """Open times of closed minutes in memory that may yet change."""
        self._doubted: set[int] = set()
        """Open times of minutes about whose trades the exchange contradicts itself."""
        self.pace = RevisionPace()
        """Which revisions have to wait."""
        self._returning = Returning(request_reload)
        self._trades_before = TradesBefore()
        self.is_dirty = False
        """Whether anything happened that ``settle`` has to look at."""
        self._published_counts: dict[int, int] = {}
        """The trade count last published of each forming minute that is being rebuilt, by open time: no update
        has a lower one."""
        self._disputed: set[int] = set()
        """Open times of minutes in memory with trades that sources contradict each other about."""
        coverage.on_doubt = self.rebuild_from
        coverage.on_dispute = self._dispute

    # -- from stored bars -----------------------------------------------------------------------------------------

    def restore(self, bars: Sequence[Bar]) -> None:
        """Continue from stored bars, see ``plan_restore``."""
        plan = plan_restore(bars)
        continuity = self._coverage.continuity
        self._coverage.wanted_start = plan.wanted_start
        self.timeline.resume(plan.origin, plan.end, plan.withheld)
        self.window.begin_after(plan.id_before, plan.close_before)
        continuity.anchor(plan.floor, plan.horizon)
        for first, last in plan.unseen:
            continuity.unsee(first, last)
        for open_time, trade_id in plan.known_before:
            self.window.knows_before(open_time, trade_id)
        for bar in plan.rebuilt:
            self.window.insert(self._new_minute(bar.open_time, bar.previous_trade_id, bar))
            self._incomplete.add(bar.open_time)
        for bar in plan.resumed:
            minute = self.window.insert(self._new_minute(bar.open_time, bar.previous_trade_id, bar))
            self.window.resume(minute, bar)
        self.is_dirty = True

    def reload(self, open_time: int, stored: Bar | None) -> None:
        """Take back a minute that left memory and is to change; it is rebuilt whole.

        Args:
            open_time: A minute that was requested; others are ignored.
            stored: Its newest revision, if it has a bar.
        """
        ids = self._returning.take(open_time, stored)
        if ids is None or open_time in self.window:
            return
        self.window.insert(self._new_minute(open_time, NO_TRADE, stored))
        self.timeline.admit(open_time)
        self._incomplete.add(open_time)
        self.is_dirty = True
        if stored is not None:
            before = last_id_before(stored, stored.previous_trade_id)
            again = self._trades_before.begin(open_time, ids, before)
            if again is None:
                self.window.knows_before(open_time, before)
            else:
                ids.append(again)
            if not stored.is_empty:
                ids.append((stored.first_trade_id, stored.last_trade_id))
        for first, last in ids:
            self._fetch_again(first, last)

    def _is_placed(self, trade_id: int) -> bool:
        """Whether a trade has come and waits for no minute to be read back."""
        ids = (trade_id, trade_id)
        return self._coverage.continuity.proves(*ids) and not self._returning.holds(*ids)

    @property
    def waits_for_reload(self) -> bool:
        """Whether a minute was requested and has not come."""
        return bool(self._returning)

    # -- trades ---------------------------------------------------------------------------------------------------

    def add(self, trade: Trade, events: list[BarEvent]) -> None:
        """Add an accepted trade to its minute, and close the minutes that it ends."""
        if trade.price == 0 or trade.quantity == 0:
            self._note_placeholder(trade)
            return
        minute = self._forming
        if minute is not None and minute.open_time <= trade.time < minute.close_time:
            minute.add(trade)
        else:
            self.is_dirty = True
            minute = self._place(trade)
            if minute is None:
                return
            if minute.last_id == NO_TRADE:
                self.window.first_trade(minute)
            minute.add(trade)
            if minute.open_time > self.timeline.due:
                self.timeline.end_until(minute.open_time)
                self._close_due(trade.time, events)
        frontier = self.timeline.frontier  # is_past, inlined: every trade passes here
        if minute.published is None and (frontier is None or minute.open_time >= frontier):
            if self._published_counts and minute.trade_count <= self._published_counts.get(minute.open_time, 0):
                return
            events.append(BarEvent(UPDATE, minute.forming_bar(), trade.time))
        else:
            self.is_dirty = True
            self._incomplete.add(minute.open_time)

    def begin_after(self, trade: Trade, exchange_time: int) -> None:
        """Begin with the current minute though nothing was traded lately.

        Args:
            trade: The symbol's newest trade.
            exchange_time: Now.
        """
        continuity, timeline = self._coverage.continuity, self.timeline
        if timeline.frontier is None:
            timeline.begin(ONE_MINUTE.floor(max(exchange_time, trade.time)))
            if trade.is_placeholder:
                continuity.lower_floor(trade.first_id)
            elif trade.time < timeline.origin:
                continuity.anchor(trade.last_id, trade.last_id)
                self.window.begin_after(trade.last_id, trade.price)
            else:
                continuity.lower_floor(trade.first_id)
                self._coverage.wanted_start = timeline.origin
        continuity.exists(trade.last_id)

    def _note_placeholder(self, trade: Trade) -> None:
        """Count no trade; the trade before the first bar is still wanted if this is all that came before it."""
        self.is_dirty = True
        if self.window.begins_nowhere and trade.time < self.timeline.origin and trade.first_id > 0:
            self._coverage.continuity.lower_floor(trade.first_id - 1)

    def _place(self, trade: Trade) -> Minute | None:
        """The minute of a trade; None where its bar is not in memory or none is wanted."""
        open_time, timeline = ONE_MINUTE.floor(trade.time), self.timeline
        if timeline.frontier is None:
            timeline.begin(open_time)
            self._coverage.wanted_start = open_time
        minute = self.window.get(open_time)
        if minute is not None:
            if self._forming is None and not timeline.is_past(open_time):
                self._forming = minute
            return minute
        if open_time < timeline.origin:
            self.window.saw_before(trade)
            return None
        if timeline.place(open_time) is MinuteState.EVICTED:
            self._returning.want(open_time, trade.first_id, trade.last_id)
            return None
        timeline.admit(open_time)
        minute = self.window.insert(self._new_minute(open_time, self.window.id_before(open_time)))
        if self._forming is None or open_time > self._forming.open_time:
            self._forming = minute
        return minute

    def doubt(self, open_times: Iterable[int]) -> None:
        """Let these minutes never be complete: the exchange contradicts itself about their trades."""
        self._doubted.update(open_times)
        while len(self._doubted) > DOUBTED_MAX:
            self._doubted.discard(min(self._doubted))
        self._incomplete.update(
            time for time in self._doubted if time in self.window and self.timeline.is_past(time)
        )
        self.is_dirty = True

    def rebuild_from(self, time: int) -> None:
        """Fetch the trades of the minutes in memory from this time on again: some among them are doubtful."""
        ids = self.window.ids_from(ONE_MINUTE.floor(time))
        if ids is not None:
            self._fetch_again(*ids)
        empty = (at for at in self.window.times(0) if self.window[at].last_id == NO_TRADE)
        self._incomplete.update(at for at in empty if self.timeline.is_past(at))
        self.is_dirty = True

    def _fetch_again(self, first_id: int, last_id: int) -> None:
        """Forget these ids, and every minute in memory that has any of them, so that their trades are fetched."""
        forming = [self.window[at] for at in self.window.times(self.timeline.frontier or 0)]
        self._published_counts = {
            minute.open_time: max(minute.trade_count, self._published_counts.get(minute.open_time, 0))
            for minute in forming
        }
        first_id, last_id, cleared = self.window.clear(first_id, last_id)
        self._incomplete.update(at for at in cleared if self.timeline.is_past(at))
        self._forming = None
        self.is_dirty = True
        self._coverage.continuity.unsee(first_id, last_id)

    def _dispute(self, time: int) -> None:
        """Take back the proof of the bar of this time: a trade in it is disputed."""
        open_time = ONE_MINUTE.floor(time)
        if open_time in self.window:
            self._disputed.add(open_time)
            if self.timeline.is_past(open_time):
                self._incomplete.add(open_time)
            self.is_dirty = True

    # -- the exchange's klines ------------------------------------------------------------------------------------

    def unsettled(self) -> list[tuple[int, int]]:
        """Ranges of minutes, by first and last open time, whose klines are wanted because nothing was traded."""
        wanted = []
        frontier, due = self.timeline.frontier, self.timeline.due
        if frontier is not None:
            later = self.window.times(frontier)
            end = min(due, later[0] if later else due)
            if end > frontier and not self._is_undecided(frontier):
                wanted.append((frontier, end - MINUTE))
        return wanted + [run for run in self.timeline.withheld() if not self._is_undecided(run[0])]

    def state(self, open_time: int) -> MinuteState | None:
        """Where a minute without a trade in memory stands; None if it is not over, or in memory."""
        if open_time in self.window:
            return None
        state = self.timeline.place(open_time)
        if state is MinuteState.EVICTED:
            return state
        if self._is_undecided(open_time):
            return MinuteState.UNDECIDED
        return MinuteState.UNSETTLED

    def settle_by_klines(
        self, klines: Mapping[int, Bar | None], exchange_time: int, events: list[BarEvent]
    ) -> None:
        """Settle minutes in which no trade was seen by the exchange's klines; None where it has none."""
        continuity, timeline = self._coverage.continuity, self.timeline
        if timeline.frontier is not None:
            unsettled = {open_time for open_time in klines if self.state(open_time) is MinuteState.UNSETTLED}
            decisions = decide(
                klines,
                unsettled,
                timeline.frontier,
                self.window.around,
                continuity.may_come,
                timeline.is_withheld,
            )
            carried: tuple[int, int | None] = (-1, None)
            """The minute after one without a kline, and the close before both."""
            for decision in decisions:
                match decision:
                    case Wait(known_to):
                        continuity.exists(known_to)
                        continue
                    case Adopt(bar):
                        self._take_kline(bar, exchange_time, events)
                        open_time = bar.open_time
                    case CloseEmpty(open_time):
                        self._close_empty(decision, self._close_before(open_time, carried), exchange_time, events)
                    case Skip(open_time):
                        carried = (open_time + MINUTE, self._close_before(open_time, carried))
                timeline.settle(open_time)
        self.is_dirty = True

    def _take_kline(self, bar: Bar, exchange_time: int, events: list[BarEvent]) -> None:
        minute = self.window.insert(self._new_minute(bar.open_time, bar.previous_trade_id))
        self.window.resume(minute, bar)
        if bar.complete:
            self._coverage.continuity.see(bar.first_trade_id, bar.last_trade_id)
        self.counts.revisions += 1
        self._publish(minute, bar, BarEventKind.REVISION, exchange_time, events)

    def _close_before(self, open_time: int, carried: tuple[int, int | None]) -> int | None:
        return carried[1] if open_time == carried[0] else self.window.close_before(open_time)

    def _close_empty(
        self, empty: CloseEmpty, close_before: int | None, exchange_time: int, events: list[BarEvent]
    ) -> None:
        minute = self.window.insert(self._new_minute(empty.open_time))
        minute.close = empty.price if close_before is None else close_before
        if empty.open_time == self.timeline.frontier:
            self._close(minute, exchange_time, events)
        else:
            self._revise(minute, exchange_time, events)

    def adopt(self, bars: Sequence[Bar], exchange_time: int, events: list[BarEvent]) -> None:
        """Take whole minutes made of the exchange's klines, oldest first, with the ids that counting gives."""
        timeline = self.timeline
        for bar in bars:
            if bar.open_time in self.window or timeline.frontier is None:
                continue
            if bar.open_time > timeline.frontier:
                # A bar from here on is known, so whatever is before it has ended: close it, or pass it over.
                timeline.end_until(bar.open_time)
                self._close_due(exchange_time, events, until=bar.open_time)
                timeline.pass_over_until(bar.open_time)
            is_next = bar.open_time == timeline.frontier
            if not is_next and not timeline.is_withheld(bar.open_time):
                continue
            if not bar.is_empty:
                sighting = self._coverage.continuity.see(bar.first_trade_id, bar.last_trade_id)
                if sighting is Sighting.OVERLAP:
                    continue  # part of it was counted from trades, so the rest must come as trades too
            minute = self.window.insert(self._new_minute(bar.open_time, bar.previous_trade_id))
            self.window.resume(minute, bar)
            timeline.settle(bar.open_time)
            if is_next:
                self._publish(minute, bar, BarEventKind.CLOSE, exchange_time, events)
            else:
                self._publish(minute, replace(bar, revision=1), BarEventKind.REVISION, exchange_time, events)
        self.is_dirty = True

    # -- minutes that lack trades, proven by their klines ---------------------------------------------------------

    @property
    def forming_from(self) -> int | None:
        """Lowest trade id known of a minute that has not closed."""
        frontier = self.timeline.frontier
        return None if frontier is None else self.window.id_after(frontier - MINUTE)

    def countable(self) -> list[tuple[int, int]]:
        """Return runs of closed minutes, by first and last open time, that lack ids between known ones.

        Where a gap lies across minutes they are one run, as only together can their klines account for it.
        """
        frontier = self.timeline.frontier
        if frontier is None or not self._coverage.continuity.missing:
            return []
        lacking = [(time, time) for time in self._incomplete if time < frontier and self._is_undecided(time)]
        lacking += [run for run in self.timeline.withheld() if self._is_undecided(run[0])]
        return [
            (first, last)
            for first, last in merged(lacking)
            if self.window.id_before(first) != NO_TRADE and self.window.id_after(last) is not None
        ]

    def count(self, klines: Sequence[Bar]) -> None:
        """Take over final klines of consecutive closed minutes, if they account for every id between known ones.

        Nothing of them is taken if any contradicts the trades that were seen.
        """
        first, last = klines[0].open_time, klines[-1].open_time
        continuity, timeline = self._coverage.continuity, self.timeline
        before, after = self.window.id_before(first), self.window.id_after(last)
        if before == NO_TRADE or after is None or not counts_meet(klines, before + 1, after):
            return
        if not timeline.is_past(last) or first < timeline.origin or not continuity.lacks(before + 1, after - 1):
            return
        bars = assign_ids_by_count(klines, before + 1, complete=True)
        if not all(self._agrees(bar) for bar in bars):
            return
        for bar in bars:
            minute = self.window.get(bar.open_time)
            if minute is None:
                minute = self.window.insert(self._new_minute(bar.open_time, bar.previous_trade_id))
            if minute.last_id == NO_TRADE:
                self.window.resume(minute, bar)
            else:
                minute.resume(bar)
            timeline.admit(bar.open_time)
            self._incomplete.add(bar.open_time)
        continuity.see_all(before + 1, after - 1)
        self.is_dirty = True

    def _agrees(self, bar: Bar) -> bool:
        """Whether the trades seen of a minute can be among those of its kline."""
        minute = self.window.get(bar.open_time)
        if minute is None:
            return self.timeline.is_withheld(bar.open_time)
        return may_hold(bar, minute)

    # -- closing --------------------------------------------------------------------------------------------------

    def advance(self, ended: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Let minutes that end by ``ended`` have ended by the clock."""
        timeline = self.timeline
        if timeline.frontier is None or ended < max(timeline.due, timeline.frontier) + MINUTE:
            return
        timeline.end_until(ONE_MINUTE.floor(ended))
        self._close_due(exchange_time, events)
        self._evict()

    def _close_due(
        self, exchange_time: int, events: list[BarEvent], *, decided_only: bool = False, until: int | None = None
    ) -> None:
        """Close what has ended and was traded, in order; what was not traded before it is passed over.

        Args:
            exchange_time: Now.
            events: Takes the closes.
            decided_only: Stop at a minute that a missing id may belong to: what a repair brings late waits for the
                rest of its trades, as nothing is due just now.
            until: Nothing from this open time on; else from what is due on.
        """
        timeline = self.timeline
        if timeline.frontier is None:
            return
        for open_time in self.window.times(timeline.frontier, timeline.due if until is None else until):
            if decided_only and self._is_undecided(open_time):
                return
            timeline.close(open_time)
            self._close(self.window[open_time], exchange_time, events)

    def _close(self, minute: Minute, exchange_time: int, events: list[BarEvent]) -> None:
        bar = self._closed_bar(minute, revision=0)
        self.counts.closes += 1
        self.counts.incomplete_closes += not bar.complete
        self._publish(minute, bar, BarEventKind.CLOSE, exchange_time, events)

    def _closed_bar(self, minute: Minute, revision: int) -> Bar:
        around = self.window.around(minute.open_time)
        return minute.closed_bar(
            previous_id=around.id_before,
            previous_close=around.close_before,
            proven=minute.open_time not in self._doubted
            and self._coverage.proves(around, minute.first_id, minute.last_id, minute.close_time),
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

    # -- revising -------------------------------------------------------------------------------------------------

    def settle(self, exchange_time: int, events: list[BarEvent]) -> None:
        """Close and revise what is decided now, one revision of each bar, and let old minutes go."""
        self.is_dirty, self.pace.review_at = False, None
        for trade_id in self._trades_before.next_ids(self.window, self._is_placed):
            self._fetch_again(trade_id, trade_id)
        self._close_due(exchange_time, events, decided_only=True)
        self._review(exchange_time, events)
        self._evict()

    def _review(self, exchange_time: int, events: list[BarEvent]) -> None:
        """Revise the closed bars that changed and whose ids are decided."""
        if not self._incomplete:
            return
        changed_until = None
        for open_time in self.window.times(min(self._incomplete)):
            if not self.timeline.is_past(open_time):
                break
            minute = self.window[open_time]
            # An empty bar repeats the close right before it: between bars that are apart, others may be stored.
            repeats = changed_until == open_time and minute.trade_count == 0
            if (open_time in self._incomplete or repeats) and not self._is_undecided(open_time):
                published = minute.published
                before = None if published is None else published.close
                self._revise(minute, exchange_time, events)
                if minute.last_price != before:
                    changed_until = minute.close_time
                if published is not None and minute.published is not None and minute.published.close != before:
                    self._recheck(minute.close_time)

    def _recheck(self, open_time: int) -> None:
        """Take a minute back that left memory, if it is empty: the close that it repeats has changed."""
        if open_time not in self.window and self.timeline.place(open_time) is MinuteState.EVICTED:
            self._returning.recheck(open_time)

    def _revise(self, minute: Minute, exchange_time: int, events: list[BarEvent]) -> None:
        """Emit a revision if the bar changed."""
        published = minute.published
        bar = self._closed_bar(minute, revision=1 if published is None else published.revision + 1)
        if published is not None:
            is_doubted = minute.open_time in self._doubted and bar.trade_count >= published.trade_count
            is_doubted = is_doubted or minute.open_time in self._disputed
            is_less = published.complete or bar.trade_count < published.trade_count
            if not bar.complete and is_less and not is_doubted:
                return  # rebuilt from less than was once counted: what was published is nearer the truth
            if bar == replace(published, revision=bar.revision, previous_trade_id=bar.previous_trade_id):
                return
            if not bar.complete and self.pace.is_too_soon(bar, exchange_time):
                self.is_dirty = True
                return
        self.counts.revisions += 1
        self._publish(minute, bar, BarEventKind.REVISION, exchange_time, events)

    def _is_undecided(self, open_time: int) -> bool:
        """Whether an id that is missing, or belongs to a minute to be reloaded, may concern this minute."""
        around, continuity = self.window.ids_around(open_time), self._coverage.continuity
        if self._coverage.is_undecided(around):
            return True
        if not self._returning:
            return False
        first = around.id_before + 1 if around.id_before != NO_TRADE else continuity.floor or 0
        last = continuity.horizon if around.id_after is None else around.id_after - 1
        return self._returning.holds(first, last)

    # -- bounded memory -------------------------------------------------------------------------------------------

    def _evict(self) -> None:
        """Let old minutes go, oldest first; one that may still change stays while there is room."""
        if self.timeline.frontier is None:
            return
        oldest_kept = self.timeline.frontier - WINDOW_MINUTES * MINUTE
        while (open_time := self.window.oldest) is not None and open_time < oldest_kept:
            if len(self.window) <= WINDOW_MINUTES_MAX and self._may_change(open_time):
                return
            self.window.drop_oldest()
            self.timeline.forget_until(open_time)
            self._incomplete.discard(open_time)
            self.pace.forget(open_time)
            self._disputed.discard(open_time)

    def _may_change(self, open_time: int) -> bool:
        """Whether this minute, the oldest in memory, may change or be what one passed over before it builds on."""
        later = self.window.second_oldest or open_time + MINUTE
        if self.timeline.is_any_withheld_before(later) or self._returning.may_repeat(open_time + MINUTE):
            return True
        if open_time not in self._incomplete:
            return False
        return (
            self._coverage.wanted_start is not None
            or self.window.id_after(open_time) is None
            or self._is_undecided(open_time)
        )
