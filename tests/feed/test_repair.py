"""The repair fetches what is missing, by the cheapest way that is exact, and gives up only on evidence."""

import random
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio
import trio.testing

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.feed_event import (
    BarsFetched,
    FeedEvent,
    MinutesSettled,
    RangeUnfillable,
    StartFound,
    TradesRepaired,
)
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE
from candled.domain.trade import Trade
from candled.feed.interface import ExchangeDescription, Instrument, SourceUnavailableError
from candled.feed.repair import LAG_MAX, Repairer, RepairWays

AGGREGATES_FROM, KLINES_FROM = RepairWays().aggregates_from, RepairWays().klines_from
START = 1_700_006_400_000_000


@attrs.define
class Source:
    """Trades 1, 2, 3, ... of one symbol, so many a minute; ids in ``lacking`` are not to be had."""

    count: int
    per_minute: int = 1000
    lacking: set[int] = attrs.Factory(set)
    failures: int = 0
    shown: int | None = None
    """Highest id that REST shows: it lags behind."""
    clock: int | None = None
    """The exchange's time, if it went on after the last trade."""
    short_pages: bool = False
    """A page is cut off before what is lacking is left out of it."""
    asked: list[str] = attrs.Factory(list)

    def trade(self, id_: int) -> Trade:
        return Trade("X", id_, id_, 100, 10**8, START + (id_ - 1) * MINUTE // self.per_minute, False)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.failures:
            self.failures -= 1
            raise SourceUnavailableError("status 503")

    def _page(self, first: int, limit: int) -> list[Trade]:
        last = self.count if self.shown is None else self.shown
        if self.short_pages:
            last = min(last, max(first, 1) + limit - 1)
        ids = (id_ for id_ in range(max(first, 1), last + 1) if id_ not in self.lacking)
        return [self.trade(id_) for id_, _ in zip(ids, range(limit), strict=False)]

    async def server_time(self) -> int:
        self._ask("time")
        return self._now()

    def _now(self) -> int:
        return self.trade(self.count).time if self.clock is None else self.clock

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        raise AssertionError

    async def trades(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        self._ask("trades")
        return self._page(first_id, limit)

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> tuple[list[Trade], int | None]:
        self._ask("aggregates")
        first = -((START - time) * self.per_minute // MINUTE) + 1
        page = self._page(first, limit)
        return page, page[-1].last_id + 1 if page else None

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> tuple[list[Trade], int | None]:
        self._ask("aggregates")
        page = self._page(cursor, limit)
        return page, page[-1].last_id + 1 if page else None

    async def newest(self, symbol: str) -> Trade | None:
        return self.trade(self.count if self.shown is None else self.shown)

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> list[Bar]:
        self._ask("klines")
        last = self._now() // MINUTE * MINUTE
        times = range(first_open_time, min(last, first_open_time + (limit - 1) * MINUTE) + 1, MINUTE)
        return [
            Bar(
                "X", "1m", at, at + MINUTE, 1, 1, 1, 1, 1, 1, self.per_minute, 1, 1, *(NO_TRADE,) * 3, True
            )
            for at in times
        ]  # fmt: skip


class Lacks:
    """What an engine would lack, shrinking as events bring it."""

    def __init__(self, first: int, last: int) -> None:
        self.seen, self.first, self.last = IdRanges(), first, last
        self.start: int | None = None
        self.minutes: list[tuple[int, int]] = []
        self.events: list[FeedEvent] = []
        self.content = trio.Event()

    def symbols(self) -> list[str]:
        return ["X"] if self.missing("X") or self.minutes or self.start is not None else []

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        return self.seen.missing(self.first, self.last)

    def unsettled(self, symbol: str) -> list[tuple[int, int]]:
        return list(self.minutes)

    def wanted_start(self, symbol: str) -> int | None:
        return self.start

    async def submit(self, event: FeedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append(event)
        match event:
            case TradesRepaired(trades=trades):
                for trade in trades:
                    self.seen.add(trade.first_id, trade.last_id)
            case RangeUnfillable(first_id=first, last_id=last):
                self.seen.add(first, last)
            case BarsFetched(bars=bars):
                for bar in bars:
                    self.seen.add(bar.first_trade_id, bar.last_trade_id)
            case MinutesSettled(klines=klines):
                self.minutes = [(a, b) for a, b in self.minutes if not any(a <= at <= b for at in klines)]
            case StartFound():
                self.start = None
        if not self.symbols():
            self.content.set()


async def repair(source: Source, lacks: Lacks, *, exact: bool = True) -> None:
    instrument = Instrument("X", "TRADING", 2, 5 if exact else 8)
    repairer = Repairer(source, lacks, lacks.submit, {"X": instrument}, random.Random(1))
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(repairer.run)
            await lacks.content.wait()
            nursery.cancel_scope.cancel()


Clock = trio.testing.MockClock
Run = Callable[[], Awaitable[None]]


async def test_a_short_gap_is_filled_with_raw_trades(autojump_clock: Clock) -> None:
    source, lacks = Source(100), Lacks(11, 20)
    await repair(source, lacks)
    assert source.asked == ["trades"]
    assert [trade.first_id for trade in lacks.events[0].trades] == list(range(11, 21))


async def test_gaps_that_one_page_reaches_are_filled_with_one_request(autojump_clock: Clock) -> None:
    source, lacks = Source(3000), Lacks(1, 2000)
    for first in range(1, 2001, 10):
        lacks.seen.add(first, first + 6)  # three of ten are missing
    missing = [id_ for first, last in lacks.missing("X") for id_ in range(first, last + 1)]
    await repair(source, lacks)
    assert source.asked == ["trades", "trades"]
    assert [trade.first_id for event in lacks.events for trade in event.trades] == missing


async def test_of_gaps_on_one_page_only_what_the_exchange_passes_over_is_given_up(autojump_clock: Clock) -> None:
    source, lacks = Source(100, lacking={15, 42}), Lacks(11, 50)
    lacks.seen.add(16, 39)
    await repair(source, lacks)
    given_up = [event for event in lacks.events if isinstance(event, RangeUnfillable)]
    assert [(event.first_id, event.last_id) for event in given_up] == [(15, 15), (42, 42)]
    assert all("4 answers" in event.reason for event in given_up)


async def test_a_long_gap_is_filled_with_aggregates(autojump_clock: Clock) -> None:
    source, lacks = Source(10_000), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks)
    assert source.asked.count("trades") == 1  # only to learn when the gap begins
    assert source.asked.count("aggregates") == AGGREGATES_FROM // 1000


async def test_aggregates_are_left_alone_where_their_sums_would_not_be_exact(autojump_clock: Clock) -> None:
    source, lacks = Source(10_000), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks, exact=False)
    assert "aggregates" not in source.asked


async def test_the_minutes_inside_a_very_long_gap_come_from_klines(autojump_clock: Clock) -> None:
    source, lacks = Source(100_000), Lacks(501, 500 + 4 * KLINES_FROM)
    await repair(source, lacks)
    fetched = [event for event in lacks.events if isinstance(event, BarsFetched)]
    bars = [bar for event in fetched for bar in event.bars]
    assert [bar.first_trade_id for bar in bars] == list(range(1001, 80_001, 1000))
    assert all(bar.complete for bar in bars)
    trades = [t.first_id for event in lacks.events if isinstance(event, TradesRepaired) for t in event.trades]
    assert sorted(trades) == [*range(501, 1001), *range(80_001, 80_501)]


async def test_rest_that_lags_behind_the_stream_is_asked_again(autojump_clock: Clock) -> None:
    source, lacks = Source(100, shown=10), Lacks(11, 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair, source, lacks)
        await trio.sleep(3)
        assert lacks.events == []
        source.shown = None
    assert lacks.missing("X") == []


async def test_newest_ids_are_given_up_once_the_exchanges_klines_are_well_past_them(autojump_clock: Clock) -> None:
    source, lacks = Source(100, shown=10), Lacks(11, 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair, source, lacks)
        await trio.sleep(60)
        assert lacks.events == [], "for all one can know, it lags"
        source.clock = START + LAG_MAX + 2 * MINUTE
    (given_up,) = lacks.events
    assert isinstance(given_up, RangeUnfillable)
    assert (given_up.first_id, given_up.last_id) == (11, 20)


async def test_a_failing_exchange_is_asked_again_with_growing_pauses(autojump_clock: Clock) -> None:
    source, lacks = Source(100, failures=6), Lacks(11, 20)
    began = trio.current_time()
    await repair(source, lacks)
    assert len(source.asked) == 7
    assert trio.current_time() - began > 0.25 * (2**6 - 1) / 2


async def test_ids_that_the_exchange_passes_over_again_and_again_are_given_up(autojump_clock: Clock) -> None:
    source, lacks = Source(100, lacking={13, 14, 18}), Lacks(11, 20)
    await repair(source, lacks)
    given_up = [(e.first_id, e.last_id) for e in lacks.events if isinstance(e, RangeUnfillable)]
    assert given_up == [(13, 14), (18, 18)]
    assert "4 answers" in next(e.reason for e in lacks.events if isinstance(e, RangeUnfillable))


async def test_the_first_minute_ever_is_found_by_its_first_trade(autojump_clock: Clock) -> None:
    source, lacks = Source(5000), Lacks(1, 0)
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events == [StartFound("X", 2000)]


async def test_the_trade_before_the_first_bar_is_found_though_the_exchange_lacks_the_bars_first_trades(
    autojump_clock: Clock,
) -> None:
    source, lacks = Source(5000, lacking={2001, 2002}, short_pages=True), Lacks(1, 0)
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events == [StartFound("X", 2000)]


async def test_a_minute_is_settled_when_a_later_kline_or_the_clock_shows_it_is_over(autojump_clock: Clock) -> None:
    source, lacks = Source(5000), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + 2 * MINUTE)]
    await repair(source, lacks)
    assert list(lacks.events[0].klines) == [START + MINUTE, START + 2 * MINUTE]


async def test_a_minute_that_is_not_over_is_not_settled(autojump_clock: Clock) -> None:
    source, lacks = Source(1500), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + MINUTE)]
    with trio.move_on_after(20):
        await repair(source, lacks)
    assert lacks.events == []


async def test_silent_minutes_of_many_hours_are_settled_by_one_page_of_klines(autojump_clock: Clock) -> None:
    source, lacks = Source(1_000_000), Lacks(1, 0)
    lacks.minutes = [(START + number * MINUTE, START + (number + 1) * MINUTE) for number in range(0, 900, 4)]
    lacks.minutes.insert(0, lacks.minutes.pop())  # in any order: the held one comes first
    wanted = len(lacks.minutes)
    await repair(source, lacks)
    assert source.asked == ["klines"]
    assert [len(event.klines) for event in lacks.events] == [2] * wanted, "each range by itself"
