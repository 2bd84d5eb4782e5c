"""One symbol's repair: what it lacks and may be asked for now, and how one step of the plan is carried out.

The engine is the only one to know what is missing; this keeps what was learnt while asking for it:

- ``attempts``: a gap, a minute or the start that a request did not fill is asked for again after a backoff.
- ``_raw_only``, ``_trades_only``, ``_uncountable``: ways that did not help for a gap or a run of minutes; the plan
  then takes the next one.
- ``_evidence``: how often answers passed over ids or stated them wrongly, until they are given up.

Order of events of one step: the plan chose it from ``need``; it asks the source, submits what it found as one
feed event (a page of trades makes one revision of each bar it touches) and returns when the engine has handled
that; only then is ``need`` asked again, so that nothing is fetched twice. A step that fails raises.

Given up is only on evidence: an id that ``UNFILLABLE_TRIES`` answers passed over while they showed later ones, or
that was not shown although the exchange's klines are well past it.
"""

import random
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from candled.domain.bar import NO_TRADE, Bar, empty_kline
from candled.domain.feed_event import (
    BarsFetched,
    MinutesCounted,
    MinutesSettled,
    NewestId,
    NewestIdsStated,
    NewestTradeStated,
    RangeUnfillable,
    StartFound,
    TradesRepaired,
)
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.refusal import Refusal, Refused
from candled.feed.adapter import KlinePage
from candled.feed.errors import KeyWantedError, SourceRefusedError, SourceUnavailableError, UnreadableAnswerError
from candled.feed.repair.attempts import UNFILLABLE_TRIES, Attempts, Evidence
from candled.feed.repair.context import RepairContext
from candled.feed.repair.counted_klines import ROWS_AFTER, counted_bars, first_trade_at, last_id_before
from candled.feed.repair.plan import Gap, Need, RepairWays, Step, Way

START_LOOK_BACK: Final = MINUTE
"""Before the first bar of all: one page mostly shows the last trade in this time and the first one after it."""
STATED_SECONDS: Final = 30.0
"""How long the stream may take to state what settles silent minutes, before REST is asked."""
NOTED_GAPS: Final = 5
"""Gaps of one answer that showed nothing for which it is found out whether the exchange has them."""


class SymbolRepair:
    """See the head of the module."""

    def __init__(self, context: RepairContext, symbol: str, ways: RepairWays, rng: random.Random) -> None:
        self._context = context
        self._source = context.source
        self._missing_data = context.missing_data
        self._submit = context.submit
        self._counts = context.counts
        self._symbol = symbol
        self._ways = ways
        self._page = context.capabilities.page
        self.trouble: str | None = None
        """Why the last step filled nothing, where the exchange has refused it for good."""
        self._early_at = float("-inf")
        self._silent_since: float | None = None
        """Local monotonic clock when silent minutes were first wanted, while they are."""
        self.attempts = Attempts(rng)
        """Failed attempts, each with its backoff."""
        self._evidence = Evidence()
        self._raw_only: set[int] = set()
        """First ids of gaps where aggregates did not help."""
        self._trades_only: set[int] = set()
        """First ids of gaps where klines did not help."""
        self._uncountable: set[tuple[int, int]] = set()
        """Runs of minutes whose klines did not account for what is missing."""

    # -- what it lacks ------------------------------------------------------------------------------------------

    def need(self, now: float, *, early: bool = True) -> Need | None:
        """Return what is missing and may be asked for now; None if nothing is.

        Args:
            now: local monotonic clock, seconds.
            early: whether gaps in the forming minute count.
        """
        symbol, missing_data = self._symbol, self._missing_data
        gaps: tuple[Gap, ...] = tuple(missing_data.missing(symbol))
        if self.attempts:
            gaps = tuple(gap for gap in gaps if not self.attempts.waits(gap[0], now))
        forming_from = missing_data.forming_from(symbol)
        has_closed = bool(gaps) and (forming_from is None or gaps[0][0] < forming_from)
        starts = missing_data.wanted_start(symbol) is not None and not self.attempts.waits(Way.START, now)
        settles = self._is_worth_settling(now)
        has_candidate = missing_data.has_candidate(symbol) and not self.attempts.waits(Way.NEWEST, now)
        if not (has_candidate or starts or settles or has_closed or (early and gaps)):
            return None
        instrument = self._context.instruments.get(symbol)
        return Need(
            symbol=symbol,
            has_candidate=has_candidate,
            starts=starts,
            settles=settles,
            gaps=gaps,
            forming_from=forming_from,
            countable=has_closed and self._countable(now) is not None,
            is_live=missing_data.is_live(symbol),
            aggregates_exact=instrument is not None and instrument.aggregates_are_exact,
            reads_aggregates=instrument is not None and self._context.reads_aggregates(instrument),
            raw_only=frozenset(self._raw_only),
            trades_only=frozenset(self._trades_only),
            early_at=self._early_at,
        )

    def _is_worth_settling(self, now: float) -> bool:
        """Whether to ask about silent minutes: at once, or when what the stream states has not settled them."""
        if not self._unsettled(now):
            self._silent_since = None
            return False
        if self._silent_since is None:
            self._silent_since = now
        return not self._context.capabilities.states_newest_ids or now - self._silent_since >= STATED_SECONDS

    def next_look(self, now: float) -> float:
        """Return seconds until something may be asked for that may not be now; infinite if nothing waits."""
        stated = float("inf") if self._silent_since is None else self._silent_since + STATED_SECONDS - now
        return min(self.attempts.next_try(now), stated if stated > 0 else float("inf"))

    def _unsettled(self, now: float) -> list[list[tuple[int, int]]]:
        """Ranges of silent minutes by page of klines, the newest first."""
        found = _kline_pages(self._missing_data.unsettled(self._symbol), self._context.capabilities.kline_page)
        return [page for page in found if not self.attempts.waits((Way.SETTLE, page[0][0]), now)]

    def _countable(self, now: float) -> tuple[int, int] | None:
        """The newest run of minutes that klines may prove."""
        limit = (self._context.capabilities.kline_page - 1) * MINUTE
        for first, last in reversed(self._missing_data.countable(self._symbol)):
            is_short = last - first < limit
            if (
                is_short
                and (first, last) not in self._uncountable
                and not self.attempts.waits((Way.COUNT, first), now)
            ):
                return first, last
        return None

    # -- one step -----------------------------------------------------------------------------------------------

    async def take(self, step: Step, now: float) -> bool:
        """Carry out a step of the plan.

        Args:
            step: for this symbol.
            now: local monotonic clock, seconds.

        Returns:
            Whether it made what is missing less, or another.
        """
        if step.is_early:
            self._early_at = now
        self.trouble = None
        job = self._job(step, now)
        if job is None:
            return True
        key, work = job
        try:
            progress = await work()
        except KeyWantedError as error:  # other ways are open to the symbol meanwhile: only this is left alone
            self.trouble, progress = str(error), False
            for gap in step.gaps[1:]:
                self.attempts.put_off(gap[0], now)
        except UnreadableAnswerError as error:  # other requests may be answered well
            self.trouble, progress = str(error), False
        except (SourceUnavailableError, SourceRefusedError):
            self.attempts.put_off(key, now)  # so that something else comes first, next time
            raise
        if progress:
            self.attempts.put_back(key)
        else:
            self.attempts.put_off(key, now)
        return progress

    def _job(self, step: Step, now: float) -> tuple[Hashable, Callable[[], Awaitable[bool]]] | None:
        """What a step is about, which has a backoff of its own, and what does it; None if it is done already."""
        match step.way:
            case Way.NEWEST:
                return step.way, self._ask_for_newest
            case Way.START:
                return step.way, self._find_start
            case Way.SETTLE:
                pages = self._unsettled(now)
                return ((Way.SETTLE, pages[0][0][0]), partial(self._settle, pages[0])) if pages else None
            case Way.COUNT:
                run = self._countable(now)
                return ((Way.COUNT, run[0]), partial(self._count, *run)) if run else None
            case _:
                return step.gaps[0][0], partial(self._fill, step)

    async def _ask_for_newest(self) -> bool:
        newest = await self._source.newest(self._symbol)
        if newest is not None:
            await self._submit(NewestTradeStated(self._symbol, newest))
        return not self._missing_data.has_candidate(self._symbol)

    async def _find_start(self) -> bool:
        open_time = self._missing_data.wanted_start(self._symbol)
        if open_time is None:
            return True
        page = await self._source.aggregates_since(self._symbol, open_time - START_LOOK_BACK, self._page)
        earlier = [row for row in page.trades if row.time < open_time]
        if earlier and earlier[-1] is not page.trades[-1]:
            # Rows between the two that were refused are wanted by their ids, like any other gap.
            await self._submit(StartFound(self._symbol, earlier[-1].first_id))
            await self._submit(TradesRepaired(self._symbol, [earlier[-1]]))
            return True
        first = await first_trade_at(self._source, self._symbol, open_time)
        if first is None and self.attempts.is_lagging(Way.START):
            return False
        if first is not None and first.is_certain:
            before: int | None = first.id - 1
        else:
            before = await self._last_before(open_time)
        if before is None:
            return False
        await self._submit(StartFound(self._symbol, max(0, before)))
        return True

    async def _last_before(self, time: int) -> int | None:
        """Id of the last trade before a time, if any is known after it."""
        at = (await self._source.aggregates_since(self._symbol, time, self._page)).first_id
        if at is None:
            at = next((first for first, _ in self._missing_data.missing(self._symbol)), None)
        return None if at is None else await last_id_before(self._source, self._symbol, time, at, self._page)

    async def _fill(self, step: Step) -> bool:
        first, last = step.gaps[0]
        # Fetched trades may be refused: asking again at once would return the same.
        before = self._missing_data.missing(self._symbol)
        match step.way:
            case Way.KLINES:
                with suppress(KeyWantedError, UnreadableAnswerError):
                    # The engine takes no minute that it has: what is missing may be in none of those fetched.
                    fetched = await self._fill_by_klines(first, last)
                    if fetched and self._missing_data.missing(self._symbol) != before:
                        return True
                self._trades_only.add(first)
                return True  # another way is next
            case Way.AGGREGATES:
                with suppress(UnreadableAnswerError):
                    if await self._fill_by_aggregates(step.gaps):
                        return True
                self._raw_only.add(first)
                return True
            case _:
                try:
                    fetched = await self._fill_by_trades(step.gaps)
                except KeyWantedError:
                    fetched = await self._fill_without_key(step.gaps)
                    if not fetched:
                        raise
                return fetched and self._missing_data.missing(self._symbol) != before

    # -- by trades ----------------------------------------------------------------------------------------------

    async def _fill_by_trades(self, gaps: tuple[Gap, ...]) -> bool:
        first, last = gaps[0][0], gaps[-1][1]
        # More than the gap has: rows whose ids cannot be read are found by those after them.
        page = await self._source.trades(self._symbol, first, min(self._page, last - first + 1 + ROWS_AFTER))
        self._counts.pages += 1
        if page.last_id is None:
            await self._note_not_shown(gaps)
            return False
        lacking, shown = IdRanges(), IdRanges()
        for gap in gaps:
            lacking.add(*gap)
        for row in page.trades:
            shown.add(row.first_id, row.last_id)
        wanted = [row for row in page.trades if lacking.covers(row.first_id, row.last_id)]
        if wanted:
            self._counts.trades += len(wanted)
            await self._submit(TradesRepaired(self._symbol, wanted))
        refused = [bad for bad in page.refused if bad.has_ids and lacking.overlaps(bad.first_id, bad.last_id)]
        for bad in refused:
            shown.add(bad.first_id, bad.last_id)
            await self._note_refused(bad)
        unreadable = next((bad.reason for bad in page.refused if not bad.has_ids), None)
        for gap_first, gap_last in gaps:
            for passed_over in shown.missing(gap_first, min(gap_last, page.last_id)):
                await self._note_passed_over(*passed_over, unreadable)
        return bool(wanted)

    async def _note_refused(self, row: Refused) -> None:
        """Give up trades that the exchange states wrongly again and again."""
        if self._evidence.row_given_up(row.first_id):
            self._counts.unfillable += 1
            reason = f"refused: {row.reason}"
            await self._submit(RangeUnfillable(self._symbol, row.first_id, row.last_id, reason))

    async def _note_not_shown(self, gaps: tuple[Gap, ...]) -> None:
        """The exchange shows nothing from these gaps on: either it has no more, or its REST side lags.

        It lags for a moment nearly always, so which of the two is not asked at first.
        """
        if self.attempts.is_lagging(gaps[0][0]):
            return
        newest = await self._source.newest(self._symbol)
        for first, last in gaps[:NOTED_GAPS]:
            if newest is not None and newest.first_id > first:
                await self._note_passed_over(first, min(newest.first_id - 1, last))
            elif await self._is_past(first, last):
                await self._note_passed_over(first, last)

    async def _is_past(self, first: int, last: int) -> bool:
        """Whether the exchange's REST side shows minutes well after these ids were known to exist.

        Where a minute without trades has no kline, its clock shows that.
        """
        wanted_since = self._evidence.wanted_since
        known_at = wanted_since.get((first, last))
        if known_at is None:
            known_at = wanted_since[first, last] = await self._source.server_time()
        later = ONE_MINUTE.end(known_at) + self._context.capabilities.rest_lag_max
        if not self._context.capabilities.empty_minutes:
            return await self._source.server_time() >= later
        return bool((await self._source.klines(self._symbol, later, 1 + ROWS_AFTER)).bars)

    async def _note_passed_over(self, first: int, last: int, unreadable: Refusal | None = None) -> None:
        """Give up ids that answers pass over; ``unreadable``: why a row of this one was refused with its id."""
        tries = self._evidence.passed_over((first, last))
        if tries >= UNFILLABLE_TRIES:
            self._counts.unfillable += 1
            reason = f"the exchange passed over these ids in {tries} answers"
            if unreadable is not None:
                reason = f"refused: {unreadable}"
            await self._submit(RangeUnfillable(self._symbol, first, last, reason))

    # -- by aggregates ------------------------------------------------------------------------------------------

    async def _fill_by_aggregates(self, gaps: tuple[Gap, ...]) -> bool:
        first, last = gaps[0][0], gaps[-1][1]
        lacking = IdRanges()
        for gap in gaps:
            lacking.add(*gap)
        time = self._missing_data.time_before(self._symbol, first)
        if time is None:
            beginning = (await self._source.trades(self._symbol, first, 1)).trades
            if not beginning:
                return False
            time = beginning[0].time
        page = await self._source.aggregates_since(self._symbol, time, self._page)
        before, reached = self._missing_data.missing(self._symbol), NO_TRADE
        while page.last_id is not None and page.last_id > reached:
            self._counts.pages += 1
            reached = page.last_id
            wanted = [trade for trade in page.trades if lacking.covers(trade.first_id, trade.last_id)]
            if wanted:
                self._counts.trades += len(wanted)
                await self._submit(TradesRepaired(self._symbol, wanted))
            if reached >= last or page.cursor is None:
                break
            page = await self._source.aggregates_from(self._symbol, page.cursor, self._page)
        # Where trades have shown finer decimals than the exchange stated, the engine takes no aggregates.
        return before != self._missing_data.missing(self._symbol)

    async def _fill_without_key(self, gaps: tuple[Gap, ...]) -> bool:
        """Take aggregates where the exchange wants a key for trades; a few times, as they fill whole ones only."""
        instrument = self._context.instruments.get(self._symbol)
        first = gaps[0][0]
        if instrument is None or not instrument.aggregates_are_exact or first in self._raw_only:
            return False
        if await self._fill_by_aggregates(gaps):
            return True
        if not self.attempts.is_lagging(first):
            self._raw_only.update(gap[0] for gap in gaps)
        return False

    # -- by klines ----------------------------------------------------------------------------------------------

    def _kline_rows(self, minutes: int) -> int:
        """How many klines to ask for: those after the minutes show that theirs are final, or were refused."""
        return min(self._context.capabilities.kline_page, minutes + 1 + ROWS_AFTER)

    async def _count(self, first: int, last: int) -> bool:
        """Ask for the klines of closed minutes; the engine takes them if they account for all that is missing."""
        minutes = (last - first) // MINUTE + 1
        page = await self._source.klines(self._symbol, first, self._kline_rows(minutes))
        self._counts.pages += 1
        klines = [bar for bar in page.bars if bar.open_time <= last]
        before = self._missing_data.missing(self._symbol)
        if len(klines) == minutes:
            await self._submit(MinutesCounted(self._symbol, klines))
            if self._missing_data.missing(self._symbol) != before:
                self._counts.klines += minutes
                return True
        if len(page.bars) > len(klines):  # later klines are shown, so these will not change
            self._uncountable.add((first, last))
            return True  # another way is next
        return False

    async def _fill_by_klines(self, first: int, last: int) -> bool:
        """Take the minutes that lie wholly within a long gap from klines, counting their ids."""
        beginning = (await self._source.trades(self._symbol, first, 1)).trades
        ending = (await self._source.trades(self._symbol, last, 1)).trades
        if not beginning or not ending:
            return False
        open_time = ONE_MINUTE.end(ONE_MINUTE.floor(beginning[0].time))
        end = ONE_MINUTE.floor(ending[0].time)
        if end - open_time < self._ways.kline_minutes_min * MINUTE:
            return False
        filled = False
        async for bars in counted_bars(self._source, self._symbol, open_time, end):
            self._counts.klines += len(bars)
            await self._submit(BarsFetched(self._symbol, bars))
            filled = True
        return filled

    def _is_doubtful(self, open_time: int, page: KlinePage) -> bool:
        """Whether a kline that a page lacks may be one that was refused, and may yet be stated rightly."""
        return page.may_have(open_time) and not self._evidence.kline_given_up(open_time)

    def _without_kline(self, open_time: int) -> Bar | None:
        """Return the kline of a minute that has none while later ones have: None where that means an outage."""
        return None if self._context.capabilities.empty_minutes else empty_kline(self._symbol, open_time)

    async def _settle_by_ids(self) -> bool:
        """Settle silent minutes of an exchange whose klines count no trades, and so say less than ids do.

        REST shows which id is the newest, for a time by which it cannot lag any more.
        """
        before = self._missing_data.unsettled(self._symbol), self._missing_data.missing(self._symbol)
        asked = await self._source.server_time()
        newest = await self._source.newest(self._symbol)
        if newest is None:
            return False
        stated = NewestId(self._symbol, newest.last_id, asked - self._context.capabilities.rest_lag_max)
        await self._submit(NewestIdsStated((stated,), trio.current_time()))
        return before != (self._missing_data.unsettled(self._symbol), self._missing_data.missing(self._symbol))

    async def _settle(self, ranges: list[tuple[int, int]]) -> bool:
        if not self._context.capabilities.klines_carry_trade_count:
            return await self._settle_by_ids()
        first, last = ranges[0][0], ranges[-1][1]
        page = await self._source.klines(self._symbol, first, self._kline_rows((last - first) // MINUTE + 1))
        self._counts.pages += 1
        known = {bar.open_time: bar for bar in page.bars}
        newest = max(known, default=0)
        over = newest if newest > last else await self._source.server_time()
        before = self._missing_data.unsettled(self._symbol), self._missing_data.missing(self._symbol)
        for begin, end in ranges:  # each by itself: between them there are trades
            settled: dict[int, Bar | None] = {}
            for open_time in range(begin, end + MINUTE, MINUTE):
                if open_time in known and open_time + MINUTE <= over:
                    settled[open_time] = known[open_time]
                elif open_time < newest and not self._is_doubtful(open_time, page):
                    settled[open_time] = self._without_kline(open_time)
            if settled:  # otherwise the exchange stands still, or its REST side lags
                self._counts.klines += len(settled)
                await self._submit(MinutesSettled(self._symbol, settled))
        return before != (self._missing_data.unsettled(self._symbol), self._missing_data.missing(self._symbol))


def _kline_pages(ranges: list[tuple[int, int]], page: int) -> list[list[tuple[int, int]]]:
    """Return ranges of minutes by the page of klines that shows them, the newest first.

    What a page cannot show of its last range is left for another time.
    """
    found: list[list[tuple[int, int]]] = []
    end = 0
    for first, last in sorted(ranges):
        if not found or first > end:
            found.append([])
            end = first + (page - 2) * MINUTE
        found[-1].append((first, min(last, end)))
    return found[::-1]
