"""Fetches what the stream did not bring: missing trades, empty minutes' klines, the trade before the first bar."""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from candled.domain.feed_event import (
    BarsFetched,
    MinutesSettled,
    RangeUnfillable,
    StartFound,
    TradesRepaired,
)
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.feed.backoff import Backoff
from candled.feed.interface import (
    Instrument,
    SourceRefusedError,
    SourceUnavailableError,
    Submit,
    TradeSource,
    Wishes,
)
from candled.feed.klines import counted_bars

if TYPE_CHECKING:
    from candled.domain.bar import Bar

PAGE: Final = 1000
"""Rows asked for at once: the exchange's own limit."""
GAPS_AT_ONCE: Final = 5
"""Pages of gaps, or of silent minutes, tried before a pause when none brings anything."""
UNFILLABLE_TRIES: Final = 4
"""Answers in which the exchange passes over an id before it counts as one that the exchange does not have."""
LAG_MAX: Final = 5 * MINUTE
"""Exchange time by which its REST side may lag behind its stream, or its clock be wrong."""


@attrs.frozen(slots=True, kw_only=True)
class RepairWays:
    """Which way a gap is filled, by how many ids it has."""

    aggregates_from: int = 5_000
    """From here on aggregates are fetched instead of raw trades: they weigh far less."""
    klines_from: int = 20_000
    """From here on its whole minutes are taken from klines."""
    kline_minutes_min: int = 5
    """Fewer whole minutes than that are fetched as trades."""


@attrs.define(slots=True)
class RepairCounts:
    """What the repair did since the start."""

    pages: int = 0
    trades: int = 0
    klines: int = 0
    failures: int = 0
    unfillable: int = 0


class Repairer:
    """Works off what the engine lacks, one symbol beside another, and tries until it lacks nothing."""

    def __init__(
        self,
        source: TradeSource,
        wishes: Wishes,
        submit: Submit,
        instruments: Mapping[str, Instrument],
        rng: random.Random,
        ways: RepairWays | None = None,
    ) -> None:
        self.counts = RepairCounts()
        self.ways = ways or RepairWays()
        self._source = source
        self._wishes = wishes
        self._submit = submit
        self._instruments = instruments
        self._rng = rng
        self._wake = trio.Event()
        self._busy: set[str] = set()
        self._trouble: dict[str, str] = {}
        """Why the last step of a symbol's repair brought nothing."""
        self._log = structlog.get_logger(__name__)

    def wake(self) -> None:
        """The engine may lack something new."""
        self._wake.set()

    def trouble(self, symbol: str) -> str | None:
        """What this symbol's repair waits for; None if it goes on."""
        return self._trouble.get(symbol)

    async def run(self) -> None:
        """Repair until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                for symbol in self._wishes.symbols():
                    if symbol not in self._busy:
                        self._busy.add(symbol)
                        nursery.start_soon(self._repair, symbol)
                await self._wake.wait()

    async def _repair(self, symbol: str) -> None:
        work = _SymbolRepair(self, symbol, self._instruments.get(symbol))
        backoff = Backoff(self._rng)
        try:
            while symbol in self._wishes.symbols():
                trouble = "the exchange does not show it yet"
                try:
                    progress = await work.step()
                except SourceUnavailableError as error:
                    progress, trouble = False, str(error)
                    self.counts.failures += 1
                    self._log.warning("repair waits for the exchange", symbol=symbol, reason=str(error))
                except SourceRefusedError as error:
                    progress, trouble = False, str(error)
                    self.counts.failures += 1
                    self._log.error("repair refused by the exchange", symbol=symbol, reason=str(error))
                if progress:
                    self._trouble.pop(symbol, None)
                    backoff.reset()
                else:
                    self._trouble[symbol] = trouble
                    await trio.sleep(backoff.next())
        finally:
            self._trouble.pop(symbol, None)
            self._busy.discard(symbol)
            self._wake.set()


class _SymbolRepair:
    """One symbol's repair, a step at a time. A step says whether it brought anything."""

    def __init__(self, repairer: Repairer, symbol: str, instrument: Instrument | None) -> None:
        self._symbol = symbol
        self._source = repairer._source  # noqa: SLF001 - one thing in two classes
        self._wishes = repairer._wishes  # noqa: SLF001
        self._submit = repairer._submit  # noqa: SLF001
        self._counts = repairer.counts
        self._ways = repairer.ways
        self._aggregates_are_exact = instrument is not None and instrument.aggregates_are_exact
        self._raw_only: set[int] = set()
        """First ids of gaps where aggregates did not help."""
        self._trades_only: set[int] = set()
        """First ids of gaps where klines did not help."""
        self._passed_over: dict[tuple[int, int], int] = {}
        """How often the exchange's answers passed over these ids."""
        self._wanted_since: dict[tuple[int, int], int] = {}
        """Exchange time when these newest ids were first asked for in vain."""

    async def step(self) -> bool:
        start = self._wishes.wanted_start(self._symbol)
        if start is not None and await self._find_start(start):
            return True
        for gaps in self._together(self._wishes.missing(self._symbol))[:GAPS_AT_ONCE]:
            if await self._fill(gaps):
                return True  # the gaps are others now
        for page in _pages(self._wishes.unsettled(self._symbol))[:GAPS_AT_ONCE]:
            if await self._settle(page):
                return True
        return False

    async def _find_start(self, open_time: int) -> bool:
        trades, _ = await self._source.aggregates_since(self._symbol, open_time, 1)
        before = trades[0].first_id - 1 if trades else await self._last_before(open_time)
        if before is None:
            return False
        await self._submit(StartFound(self._symbol, max(0, before)))
        return True

    async def _last_before(self, time: int) -> int | None:
        """Id of the last trade before a time, if any is known after it. Pages lack what the exchange has not."""
        trades, _ = await self._source.aggregates_since(self._symbol, time, PAGE)
        known = [trade.first_id for trade in trades] or [first for first, _ in self._wishes.missing(self._symbol)]
        at = known[0] if known else None
        while at:
            at = max(0, at - PAGE)
            earlier = [row.last_id for row in await self._source.trades(self._symbol, at, PAGE) if row.time < time]
            if earlier:
                return max(earlier)
        return at

    def _together(self, gaps: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Gaps by the page of raw trades that reaches them, which weighs the same however many those are."""
        pages: list[list[tuple[int, int]]] = []
        for first, last in gaps:
            if pages and first < pages[-1][0][0] + PAGE and self._is_short(*pages[-1][0]):
                pages[-1].append((first, last))
            else:
                pages.append([(first, last)])
        return pages

    def _is_short(self, first: int, last: int) -> bool:
        return last - first + 1 < min(self._ways.aggregates_from, self._ways.klines_from)

    async def _fill(self, gaps: list[tuple[int, int]]) -> bool:
        first, last = gaps[0]
        size = last - first + 1
        if size >= self._ways.klines_from and first not in self._trades_only:
            if await self._fill_by_klines(first, last):
                return True
            self._trades_only.add(first)
        if size >= self._ways.aggregates_from and self._aggregates_are_exact and first not in self._raw_only:
            if await self._fill_by_aggregates(first, last):
                return True
            self._raw_only.add(first)
        return await self._fill_by_trades(gaps)

    async def _fill_by_trades(self, gaps: list[tuple[int, int]]) -> bool:
        first, last = gaps[0][0], gaps[-1][1]
        rows = await self._source.trades(self._symbol, first, min(PAGE, last - first + 1))
        self._counts.pages += 1
        if not rows:
            await self._note_not_shown(gaps)
            return False
        lacking, shown = IdRanges(), IdRanges()
        for gap in gaps:
            lacking.add(*gap)
        for row in rows:
            shown.add(row.first_id, row.last_id)
        wanted = [row for row in rows if lacking.covers(row.first_id, row.last_id)]
        if wanted:
            self._counts.trades += len(wanted)
            await self._submit(TradesRepaired(self._symbol, wanted))
        for gap_first, gap_last in gaps:
            for passed_over in shown.missing(gap_first, min(gap_last, rows[-1].last_id)):
                await self._note_passed_over(*passed_over)
        return bool(wanted)

    async def _note_not_shown(self, gaps: list[tuple[int, int]]) -> None:
        """The exchange shows nothing from these gaps on: either it has no more, or its REST side lags."""
        newest = await self._source.newest(self._symbol)
        for first, last in gaps[:GAPS_AT_ONCE]:
            if newest is not None and newest.first_id > first:
                await self._note_passed_over(first, min(newest.first_id - 1, last))
            elif await self._is_past(first, last):
                await self._note_passed_over(first, last)

    async def _is_past(self, first: int, last: int) -> bool:
        """Whether the exchange's REST side shows minutes well after these ids were known to exist."""
        known_at = self._wanted_since.get((first, last))
        if known_at is None:
            known_at = self._wanted_since[first, last] = await self._source.server_time()
        return bool(await self._source.klines(self._symbol, ONE_MINUTE.end(known_at) + LAG_MAX, 1))

    async def _note_passed_over(self, first: int, last: int) -> None:
        tries = self._passed_over.get((first, last), 0) + 1
        self._passed_over[first, last] = tries
        if tries >= UNFILLABLE_TRIES:
            self._counts.unfillable += 1
            reason = f"the exchange passed over these ids in {tries} answers"
            await self._submit(RangeUnfillable(self._symbol, first, last, reason))

    async def _fill_by_aggregates(self, first: int, last: int) -> bool:
        beginning = await self._source.trades(self._symbol, first, 1)
        if not beginning:
            return False
        trades, cursor = await self._source.aggregates_since(self._symbol, beginning[0].time, PAGE)
        brought = False
        while trades:
            self._counts.pages += 1
            wanted = [trade for trade in trades if trade.first_id >= first and trade.last_id <= last]
            if wanted:
                brought = True
                self._counts.trades += len(wanted)
                await self._submit(TradesRepaired(self._symbol, wanted))
            if trades[-1].last_id >= last or cursor is None:
                break
            trades, cursor = await self._source.aggregates_from(self._symbol, cursor, PAGE)
        return brought

    async def _fill_by_klines(self, first: int, last: int) -> bool:
        """Take the minutes that lie wholly within a long gap from klines, counting their ids."""
        beginning = await self._source.trades(self._symbol, first, 1)
        ending = await self._source.trades(self._symbol, last, 1)
        if not beginning or not ending:
            return False
        open_time = ONE_MINUTE.end(ONE_MINUTE.floor(beginning[0].time))
        end = ONE_MINUTE.floor(ending[0].time)
        if end - open_time < self._ways.kline_minutes_min * MINUTE:
            return False
        brought = False
        async for bars in counted_bars(self._source, self._symbol, open_time, end):
            self._counts.klines += len(bars)
            await self._submit(BarsFetched(self._symbol, bars))
            brought = True
        return brought

    async def _settle(self, ranges: list[tuple[int, int]]) -> bool:
        first, last = ranges[0][0], ranges[-1][1]
        rows = await self._source.klines(self._symbol, first, (last - first) // MINUTE + 2)
        self._counts.pages += 1
        known = {row.open_time: row for row in rows}
        newest = max(known, default=0)
        over = newest if newest > last else await self._source.server_time()
        before = self._wishes.unsettled(self._symbol), self._wishes.missing(self._symbol)
        for begin, end in ranges:  # each by itself: between them there are trades
            settled: dict[int, Bar | None] = {}
            for open_time in range(begin, end + MINUTE, MINUTE):
                if open_time in known and open_time + MINUTE <= over:
                    settled[open_time] = known[open_time]
                elif open_time < newest:
                    settled[open_time] = None
            if settled:  # otherwise the exchange stands still, or its REST side lags
                self._counts.klines += len(settled)
                await self._submit(MinutesSettled(self._symbol, settled))
        return before != (self._wishes.unsettled(self._symbol), self._wishes.missing(self._symbol))


def _pages(ranges: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Ranges of minutes by the page of klines that shows them, the newest first: somebody may wait for its bar.

    What a page cannot show of its last range is left for another time.
    """
    pages: list[list[tuple[int, int]]] = []
    end = 0
    for first, last in sorted(ranges):
        if not pages or first > end:
            pages.append([])
            end = first + (PAGE - 2) * MINUTE
        pages[-1].append((first, min(last, end)))
    return pages[::-1]
