"""One symbol: its trades are accounted for by id, and bars are built of them.

A trade's way: ``Coverage.accept`` says whether it counts; the builders of bars take it (``MinuteBuilder`` always,
others as given); after a batch ``settle`` follows the gaps and lets the builders emit what is decided. Everything
that the exchange says over REST passes through here to the part that it concerns.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import attrs

from candled.domain.bar import NO_TRADE, Bar, empty_kline
from candled.domain.event import BarEvent
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.limits import ID_JUMP_MAX
from candled.domain.numbers import DECIMALS
from candled.domain.status import Gap, GapState
from candled.domain.trade import Trade
from candled.engine.builder import BarBuilder, MakeBuilder
from candled.engine.continuity import NEW, GapBook, Sighting
from candled.engine.coverage import Coverage
from candled.engine.id_watch import ORDER_TOLERANCE, Candidate, IdWatch, ids_within
from candled.engine.minutes import MinuteBuilder
from candled.engine.statistics import SymbolStatistics
from candled.engine.time_order import contradictions

DOUBTS_KEPT: Final = 100
"""Trades that contradict others and are listed, the newest."""


@attrs.define(slots=True)
class TradeCounts:
    """What became of one symbol's trades since its engine was made."""

    trades: int = 0
    duplicates: int = 0
    """Trades that came again and were not counted."""
    overlaps: int = 0
    """Aggregates not applied because part of their ids had been seen."""
    inexact: int = 0
    """Aggregates not applied because they need not sum up like their fills."""


class SymbolEngine:
    """Folds the trades of one symbol, in any order, into bars."""

    def __init__(
        self,
        symbol: str,
        next_position: Callable[[], int],
        request_reload: Callable[[int], None],
        builders: Sequence[MakeBuilder] = (),
        quote_decimals: int = DECIMALS,
    ) -> None:
        """Begin with nothing seen.

        Args:
            symbol: Its name.
            next_position: Numbers the closed bars and revisions.
            request_reload: Called once with the open time of a minute that left memory and is to change: answer
                with ``reload``.
            builders: Make the builders of other bars than 1-minute ones.
            quote_decimals: Decimals to which the quote of each trade is truncated.
        """
        self.symbol = symbol
        self.coverage = Coverage()
        self.continuity = self.coverage.continuity
        self.minutes = MinuteBuilder(symbol, self.coverage, next_position, request_reload, quote_decimals)
        self.counts = TradeCounts()
        self.gap_book = GapBook()
        self.ids = IdWatch()
        """Trades whose ids cannot follow."""
        self.lag = 0
        """Arrival of the newest trade after its exchange time, microseconds."""
        self.last_trade: Trade | None = None
        """The trade with the highest id so far."""
        self._newest_id = NO_TRADE
        self._doubts: dict[tuple[int, int], str] = {}
        """Ids of trades that contradict others, and why."""
        self._others: tuple[BarBuilder, ...] = tuple(make(symbol, self.coverage) for make in builders)

    # -- trades and time ------------------------------------------------------------------------------------------

    def apply(self, trade: Trade, events: list[BarEvent]) -> None:
        """Count one trade, once, and emit the bars that it changes or closes; call ``settle`` after a batch."""
        sighting = self.coverage.accept(trade)
        if sighting is not NEW:
            self._note_not_counted(sighting)
            return
        last_id = trade.last_id
        self.counts.trades += last_id - trade.first_id + 1
        if last_id > self._newest_id:
            self._newest_id, self.last_trade = last_id, trade
        self.minutes.add(trade, events)
        if self._others:
            for builder in self._others:
                builder.add(trade, events)

    def settle(self, exchange_time: int, events: list[BarEvent]) -> None:
        """After a batch: emit each closed bar that changed, once, when its ids are decided."""
        have_ids_changed = self.continuity.changed
        if have_ids_changed:
            self._withdraw_refuted()
            self.continuity.changed = False
            self.gap_book.note(self.continuity.missing, self.continuity.proves)
        if have_ids_changed or self.minutes.is_dirty:
            self.minutes.settle(exchange_time, events)
        for builder in self._others:
            builder.settle(exchange_time, events)

    def advance(self, ended: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Let minutes that end by ``ended`` have ended by the clock."""
        self.minutes.advance(ended, exchange_time, events)
        for builder in self._others:
            builder.advance(ended, exchange_time, events)

    def doubt(self, open_times: Sequence[int], trade: Trade, reason: str) -> None:
        """Let minutes never be complete because of a trade that contradicts others.

        Args:
            open_times: Of the minutes.
            trade: The trade, which is counted where its time says.
            reason: Why, for people to see.
        """
        self.minutes.doubt(open_times)
        self._doubts[trade.first_id, trade.last_id] = reason
        while len(self._doubts) > DOUBTS_KEPT:
            del self._doubts[next(iter(self._doubts))]

    # -- ids that cannot follow -----------------------------------------------------------------------------------

    def is_id_too_far(self, trade_id: int, time: int) -> bool:
        """Whether an id lies too far ahead of those known to be believed of a trade of this time."""
        newest, horizon = self.last_trade, self.continuity.horizon
        if horizon == NO_TRADE or trade_id <= horizon + ID_JUMP_MAX:
            return False
        since = newest.time if newest is not None else self.minutes.timeline.frontier
        return since is None or trade_id > horizon + ids_within(time - since)

    def is_id_behind(self, trade: Trade) -> bool:
        """Whether a trade is later than those of higher ids."""
        newest = self.last_trade
        if newest is not None:
            return trade.last_id < newest.first_id and trade.time > newest.time + ORDER_TOLERANCE
        frontier = self.minutes.timeline.frontier
        return (
            frontier is not None
            and trade.last_id <= self.continuity.horizon
            and trade.time > frontier + ORDER_TOLERANCE
        )

    def contradictions(self, trade: Trade) -> list[int]:
        """Open times of the minutes whose trades say that this one's time is wrong, or theirs are."""
        found = contradictions(trade, self.minutes.window, self.coverage)
        if self.last_trade is not None and self.is_id_behind(trade):
            return sorted({*found, ONE_MINUTE.floor(self.last_trade.time)})
        return found

    def begin_epoch(self, candidate: Candidate, horizon: int) -> None:
        """Begin after a reset of the trade ids: the first bar is that of the next minute.

        Args:
            candidate: The first trades of the new epoch.
            horizon: Highest id of the epoch before.
        """
        self.minutes.begin_after(candidate.last, ONE_MINUTE.floor(candidate.last.time) + MINUTE)
        self._newest_id, self.last_trade = candidate.last.last_id, candidate.last
        first_id = candidate.first.first_id
        moment = datetime.fromtimestamp(candidate.first.time // MICROSECONDS, UTC)
        self._doubts[first_id, first_id] = f"trade ids were reset here, after {horizon}, at {moment}"

    def rewind(self, exchange_time: int) -> None:
        """Let no minute from this time on have ended: it is earlier than was thought."""
        self.minutes.timeline.rewind(exchange_time)

    def forget_newest(self) -> None:
        """Hold no trade's time against that of the newest one: it may be that which is wrong."""
        self._newest_id, self.last_trade = NO_TRADE, None

    def _note_not_counted(self, sighting: Sighting) -> None:
        if sighting is Sighting.DUPLICATE:
            self.counts.duplicates += 1
        elif sighting is Sighting.OVERLAP:
            self.counts.overlaps += 1
        else:
            self.counts.inexact += 1

    # -- from stored bars -----------------------------------------------------------------------------------------

    def restore(self, bars: Sequence[Bar], disputed: Iterable[Gap] = ()) -> None:
        """Continue from stored bars.

        Args:
            bars: Consecutive ones, oldest first; see ``plan_restore``.
            disputed: Trade ids that sources contradicted each other about. Those of bars that are to be rebuilt
                stay so: what the exchange states of them now is one of the truths.
        """
        self.minutes.restore(bars)
        for gap in disputed:
            if self.continuity.lacks(gap.first_id, gap.last_id):
                self.continuity.dispute(gap.first_id, gap.last_id, gap.reason)

    def reload(self, open_time: int, stored: Bar | None) -> None:
        """Take back a minute that was requested, as it is stored; it is rebuilt whole."""
        self.minutes.reload(open_time, stored)

    # -- what the exchange says over REST -------------------------------------------------------------------------

    def state_decimals(self, price: int, quantity: int) -> None:
        """Take over the decimals of price tick and lot step that the exchange states."""
        self.coverage.state_decimals(price, quantity)

    def start_found(self, trade_id: int) -> None:
        """Fetch from this id on: it is the last trade before the first bar ever."""
        if self.coverage.wanted_start is not None:
            self.coverage.wanted_start = None
            self.continuity.lower_floor(trade_id)

    def begin_after(self, trade: Trade, exchange_time: int) -> None:
        """Begin bars with the current minute though nothing was traded lately; this was the last trade."""
        self.minutes.begin_after(trade, exchange_time)

    def newest_exists(self, trade_id: int, now: int) -> None:
        """The exchange stated its newest id; ``now``: exchange time then, microseconds since the epoch."""
        self.coverage.newest_id.note_raise(trade_id, now, self.continuity.horizon)
        self.continuity.exists(trade_id)

    def _withdraw_refuted(self) -> None:
        """Stop looking for ids that were stated too early."""
        newest = self.last_trade
        if newest is not None:
            refuted = self.coverage.newest_id.take_refuted(newest.last_id, newest.time)
            if refuted is not None:
                self.continuity.withdraw(refuted.id_before, refuted.trade_id)

    def state_newest_id(self, trade_id: int, until: int, exchange_time: int, events: list[BarEvent]) -> None:
        """Take what the exchange states of its newest id, and close the minutes that this shows to be empty.

        Args:
            trade_id: The newest id.
            until: No trade before this time has a higher id, microseconds since the epoch.
            exchange_time: Now.
            events: Takes the closes.
        """
        newest, horizon = self.coverage.newest_id, self.continuity.horizon
        if not newest.take(trade_id, until, horizon) and not self.minutes.timeline.is_waiting:
            return
        self.minutes.is_dirty = True
        silent: dict[int, Bar | None] = {
            open_time: empty_kline(self.symbol, open_time)
            for first, last in self.unsettled()
            for open_time in range(first, min(last, until - MINUTE) + 1, MINUTE)
            if self._is_known_empty(open_time)
        }
        if silent:
            self.settle_by_klines(silent, exchange_time, events)

    def _is_known_empty(self, open_time: int) -> bool:
        """Whether a minute without a trade had none: all ids from before it to what was stated after it were seen.

        Between trades it is enough that no id may still come: those that are not to be had stay unproven.
        """
        around, horizon = self.minutes.window.around(open_time), self.continuity.horizon
        if around.id_after is not None:
            return True
        stated = self.coverage.newest_id.id_after(open_time + MINUTE, horizon)
        return (
            stated is not None
            and around.id_before != NO_TRADE
            and self.continuity.proves(around.id_before, stated)
        )

    def settle_by_klines(
        self, klines: Mapping[int, Bar | None], exchange_time: int, events: list[BarEvent]
    ) -> None:
        """Settle minutes in which no trade was seen by the exchange's klines; None where it has none."""
        self.minutes.settle_by_klines(klines, exchange_time, events)

    def adopt(self, bars: Sequence[Bar], exchange_time: int, events: list[BarEvent]) -> None:
        """Take whole minutes that were made of the exchange's klines, oldest first."""
        self.minutes.adopt(bars, exchange_time, events)

    def count(self, klines: Sequence[Bar]) -> None:
        """Take over final klines of closed minutes that lack trades, where their counts prove them."""
        self.minutes.count(klines)

    # -- what is missing ------------------------------------------------------------------------------------------

    @property
    def wanted_start(self) -> int | None:
        """Open time of the first minute ever, while the trade before it is not known."""
        return self.coverage.wanted_start

    @property
    def lacks_something(self) -> bool:
        """Whether trades, klines or stored bars are wanted."""
        if self.wanted_start is not None or self.continuity.missing or self.minutes.waits_for_reload:
            return True
        if self.ids.ready is not None:
            return True
        return self.minutes.timeline.is_waiting and bool(self.unsettled())

    def unsettled(self) -> list[tuple[int, int]]:
        """Ranges of minutes, by first and last open time, whose klines are wanted because nothing was traded."""
        return self.minutes.unsettled()

    def countable(self) -> list[tuple[int, int]]:
        """Runs of closed minutes, by first and last open time, that lack ids between known ones."""
        return self.minutes.countable()

    @property
    def forming_from(self) -> int | None:
        """Lowest trade id known of a minute that has not closed."""
        return self.minutes.forming_from

    def time_before(self, trade_id: int) -> int | None:
        """Return the open time of the newest minute in memory that began before this trade, if there is one."""
        return self.minutes.window.begun_before(trade_id)

    def statistics(self, *, live: bool) -> SymbolStatistics:
        """How the symbol fares at this moment; ``live``: whether its stream is connected."""
        last, minutes = self.last_trade, self.minutes
        filled = [Gap(first, last_id, GapState.FILLED, "") for first, last_id in self.gap_book.newest_filled]
        doubted = [Gap(first, last_id, GapState.UNFILLABLE, why) for (first, last_id), why in self._doubts.items()]
        return SymbolStatistics(
            symbol=self.symbol,
            live=live,
            last_trade_id=last.last_id if last else NO_TRADE,
            last_trade_time=last.time if last else None,
            last_price=last.price if last else None,
            lag=self.lag,
            trades=self.counts.trades,
            duplicates=self.counts.duplicates,
            overlaps=self.counts.overlaps,
            inexact=self.counts.inexact,
            ids_refused=self.ids.refused,
            closes=minutes.counts.closes,
            incomplete_closes=minutes.counts.incomplete_closes,
            revisions=minutes.counts.revisions,
            gaps=tuple(sorted((*self.continuity.gaps(), *filled, *doubted), key=lambda gap: gap.first_id)),
            gaps_found=self.gap_book.found,
            gaps_filled=self.gap_book.filled,
            minutes_left=minutes.timeline.minutes_left,
        )

    @property
    def next_end(self) -> int | None:
        """When the next minute ends that is still to be closed or held."""
        return self.minutes.timeline.next_end
