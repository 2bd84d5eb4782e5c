"""The repair fetches what is missing, by the cheapest way that is exact, and gives up only on evidence."""

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from candled.domain.bar import NO_TRADE, Bar, empty_kline
from candled.domain.feed_event import (
    BarsFetched,
    FeedEvent,
    MinutesSettled,
    NewestId,
    NewestIdsStated,
    RangeUnfillable,
    StartFound,
    TradesRepaired,
)
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import MINUTE
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.feed.adapter import Capabilities, ExchangeDescription, Instrument, KlinePage, TradePage
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.errors import SourceUnavailableError, UnreadableAnswerError
from candled.feed.repair.context import RepairContext
from candled.feed.repair.plan import RepairWays
from candled.feed.repair.repairer import Repairer
from candled.feed.repair.symbol_repair import STATED_SECONDS

LAG_MAX = CAPABILITIES.rest_lag_max
AGGREGATES_FROM, KLINES_FROM = RepairWays().aggregates_from, RepairWays().klines_from
START = 1_700_006_400_000_000


@attrs.define
class Source:
    """Trades 1, 2, 3, ... of one symbol, ``per_minute`` a minute; ids in ``lacking`` are not to be had."""

    count: int
    per_minute: int = 1000
    lacking: set[int] = attrs.Factory(set)
    refused: dict[int, Refused] = attrs.Factory(dict)
    """Rows that are refused, by the id that they have, readable or not."""
    refused_klines: dict[int, Refused] = attrs.Factory(dict)
    lacking_klines: set[int] = attrs.Factory(set)
    unreadable_alone: set[int] = attrs.Factory(set)
    """Rows of which an answer makes no sense that has only them."""
    failures: int = 0
    shown: int | None = None
    """Highest id that REST shows: it lags behind."""
    clock: int | None = None
    """The exchange's time, if it went on after the last trade."""
    short_pages: bool = False
    """A page is cut off before what is lacking is left out of it."""
    asked: list[str] = attrs.Factory(list)
    weight_used: int = 0
    weight_limit: int = 3000
    capabilities: Capabilities = CAPABILITIES

    def trade(self, id_: int) -> Trade:
        return Trade("X", id_, id_, 100, 10**8, START + (id_ - 1) * MINUTE // self.per_minute, False)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.failures:
            self.failures -= 1
            raise SourceUnavailableError("status 503")

    def _page(self, first: int, limit: int) -> TradePage:
        last = self.count if self.shown is None else self.shown
        if self.short_pages:
            last = min(last, max(first, 1) + limit - 1)
        ids = (id_ for id_ in range(max(first, 1), last + 1) if id_ not in self.lacking)
        page = [id_ for id_, _ in zip(ids, range(limit), strict=False)]
        return TradePage(
            [self.trade(id_) for id_ in page if id_ not in self.refused],
            tuple(self.refused[id_] for id_ in page if id_ in self.refused),
        )

    async def server_time(self) -> int:
        self._ask("time")
        return self._now()

    def _now(self) -> int:
        return self.trade(self.count).time if self.clock is None else self.clock

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        raise AssertionError

    async def trades(self, symbol: str, first_id: int, limit: int) -> TradePage:
        self._ask("trades")
        page = self._page(first_id, limit)
        if page.trades and {trade.first_id for trade in page.trades} <= self.unreadable_alone:
            raise UnreadableAnswerError("none of the rows can be read")
        return page

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> TradePage:
        first = -((START - time) * self.per_minute // MINUTE) + 1
        return await self.aggregates_from(symbol, first, limit)

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> TradePage:
        self._ask("aggregates")
        page = self._page(cursor, limit)
        if page.refused and not page.trades:
            raise UnreadableAnswerError("none of the rows can be read")
        return attrs.evolve(page, cursor=None if page.last_id is None else page.last_id + 1)

    async def newest(self, symbol: str) -> Trade | None:
        return self.trade(self.count if self.shown is None else self.shown)

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
        self._ask("klines")
        first, last = -(-first_open_time // MINUTE) * MINUTE, self._now() // MINUTE * MINUTE
        times = range(first, min(last, first + (limit - 1) * MINUTE) + 1, MINUTE)
        bars = [
            Bar("X", "1m", at, at + MINUTE, 1, 1, 1, 1, 1, 1, self.per_minute, 1, 1, *(NO_TRADE,) * 3, True)
            for at in times
            if at not in self.refused_klines and at not in self.lacking_klines
        ]
        return KlinePage(bars, tuple(self.refused_klines[at] for at in times if at in self.refused_klines))


class Lacks:
    """What an engine would lack, shrinking as events bring it."""

    def __init__(self, first: int, last: int) -> None:
        self.seen, self.first, self.last = IdRanges(), first, last
        self.start: int | None = None
        self.takes_bars = True
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

    def forming_from(self, symbol: str) -> int | None:
        return None

    def has_candidate(self, symbol: str) -> bool:
        return False

    def countable(self, symbol: str) -> list[tuple[int, int]]:
        return []

    def time_before(self, symbol: str, trade_id: int) -> int | None:
        return None

    def is_live(self, symbol: str) -> bool:
        return True

    async def submit(self, event: FeedEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append(event)
        match event:
            case TradesRepaired(trades=trades):
                for trade in trades:
                    self.seen.add(trade.first_id, trade.last_id)
            case RangeUnfillable(first_id=first, last_id=last):
                self.seen.add(first, last)
            case BarsFetched(bars=bars) if self.takes_bars:
                for bar in bars:
                    self.seen.add(bar.first_trade_id, bar.last_trade_id)
            case MinutesSettled(klines=klines):
                self.minutes = [(a, b) for a, b in self.minutes if not any(a <= at <= b for at in klines)]
            case StartFound():
                self.start = None
            case NewestIdsStated(stated=stated):
                self.minutes = [run for run in self.minutes if run[1] + MINUTE > stated[0].until]
        if not self.symbols():
            self.content.set()


def repaired(event: FeedEvent) -> list[Trade]:
    assert isinstance(event, TradesRepaired)
    return event.trades


def settled(event: FeedEvent) -> dict[int, Bar | None]:
    assert isinstance(event, MinutesSettled)
    return event.klines


def make_repairer(
    source: Source, lacks: Lacks, *, exact: bool = True, capabilities: Capabilities = CAPABILITIES
) -> Repairer:
    context = RepairContext(
        source=source,
        capabilities=capabilities,
        missing_data=lacks,
        submit=lacks.submit,
        instruments={"X": Instrument("X", "TRADING", 2, 5 if exact else 8)},
        reads_aggregates=lambda _instrument: False,
    )
    return Repairer(context, random.Random(1))


async def repair(
    source: Source, lacks: Lacks, *, exact: bool = True, capabilities: Capabilities = CAPABILITIES
) -> None:
    repairer = make_repairer(source, lacks, exact=exact, capabilities=capabilities)
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(repairer.run)
            await lacks.content.wait()
            nursery.cancel_scope.cancel()


UNCOUNTED = attrs.evolve(CAPABILITIES, klines_carry_trade_count=False, empty_minutes=False)
"""Of an exchange whose klines state prices and volume alone, and none for a minute without trades."""
Clock = trio.testing.MockClock
Run = Callable[[], Awaitable[None]]


async def test_a_short_gap_is_filled_with_raw_trades(autojump_clock: Clock) -> None:
    source, lacks = Source(100), Lacks(11, 20)
    await repair(source, lacks)
    assert source.asked == ["trades"]
    assert [trade.first_id for trade in repaired(lacks.events[0])] == list(range(11, 21))


async def test_one_page_fills_many_gaps(autojump_clock: Clock) -> None:
    """Gaps that one page reaches are filled with one request."""
    source, lacks = Source(3000), Lacks(1, 2000)
    for first in range(1, 2001, 10):
        lacks.seen.add(first, first + 6)  # three of ten are missing
    missing = [id_ for first, last in lacks.missing("X") for id_ in range(first, last + 1)]
    await repair(source, lacks)
    assert source.asked == ["trades", "trades"]
    older, newer = [trade for trade in missing if trade <= 1000], [trade for trade in missing if trade > 1000]
    assert [[trade.first_id for trade in repaired(event)] for event in lacks.events] == [newer, older]


async def test_only_missing_rows_are_given_up(autojump_clock: Clock) -> None:
    """Of the gaps on one page only ids that the exchange leaves out are given up."""
    source, lacks = Source(100, lacking={15, 42}), Lacks(11, 50)
    lacks.seen.add(16, 39)
    await repair(source, lacks)
    given_up = [event for event in lacks.events if isinstance(event, RangeUnfillable)]
    assert sorted((event.first_id, event.last_id) for event in given_up) == [(15, 15), (42, 42)]
    assert all("4 answers" in event.reason for event in given_up)


async def test_a_long_gap_is_filled_with_aggregates(autojump_clock: Clock) -> None:
    source, lacks = Source(10_000), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks)
    assert source.asked.count("trades") == 1  # only to learn when the gap begins
    assert source.asked.count("aggregates") == AGGREGATES_FROM // 1000


async def test_inexact_aggregates_are_not_used(autojump_clock: Clock) -> None:
    """Aggregates are not requested where their sums would not be exact."""
    source, lacks = Source(10_000), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks, exact=False)
    assert "aggregates" not in source.asked


async def test_very_long_gap_uses_klines(autojump_clock: Clock) -> None:
    """Minutes inside a very long gap are taken from klines."""
    source, lacks = Source(100_000), Lacks(501, 500 + 4 * KLINES_FROM)
    await repair(source, lacks)
    fetched = [event for event in lacks.events if isinstance(event, BarsFetched)]
    bars = [bar for event in fetched for bar in event.bars]
    assert [bar.first_trade_id for bar in bars] == list(range(1001, 80_001, 1000))
    assert all(bar.complete for bar in bars)
    trades = [t.first_id for event in lacks.events if isinstance(event, TradesRepaired) for t in event.trades]
    assert sorted(trades) == [*range(501, 1001), *range(80_001, 80_501)]


async def test_klines_are_requested_once(autojump_clock: Clock) -> None:
    """Another way is next where they did not make less of what is missing."""
    source, lacks = Source(100_000), Lacks(501, 500 + 4 * KLINES_FROM)
    lacks.takes_bars = False
    await repair(source, lacks)
    assert source.asked.count("klines") == 1


async def test_lagging_rest_is_asked_again(autojump_clock: Clock) -> None:
    """REST that lags behind the stream is asked again."""
    source, lacks = Source(100, shown=10), Lacks(11, 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair, source, lacks)
        await trio.sleep(3)
        assert lacks.events == []
        source.shown = None
    assert lacks.missing("X") == []


@pytest.mark.parametrize("empty_minutes", [True, False])
async def test_newest_ids_are_given_up_late(autojump_clock: Clock, empty_minutes: bool) -> None:
    """Once the exchange's klines are five minutes past them, or where silence has no klines, its clock."""
    silent = () if empty_minutes else range(START, START + 20 * MINUTE, MINUTE)
    source, lacks = Source(100, shown=10, lacking_klines=set(silent)), Lacks(11, 20)
    capabilities = CAPABILITIES if empty_minutes else UNCOUNTED
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(repair, source, lacks, capabilities=capabilities))
        await trio.sleep(60)
        assert lacks.events == [], "for all one can know, it lags"
        source.clock = START + LAG_MAX + 2 * MINUTE
    (given_up,) = lacks.events
    assert isinstance(given_up, RangeUnfillable)
    assert (given_up.first_id, given_up.last_id) == (11, 20)


async def test_failures_back_off(autojump_clock: Clock) -> None:
    """A failing exchange is asked again with growing pauses."""
    source, lacks = Source(100, failures=6), Lacks(11, 20)
    began = trio.current_time()
    await repair(source, lacks)
    assert len(source.asked) == 7
    assert trio.current_time() - began > 0.25 * (2**6 - 1) / 2


async def test_repeatedly_missing_ids_are_given_up(autojump_clock: Clock) -> None:
    """Ids that the exchange leaves out repeatedly are given up."""
    source, lacks = Source(100, lacking={13, 14, 18}), Lacks(11, 20)
    await repair(source, lacks)
    given_up = [(e.first_id, e.last_id) for e in lacks.events if isinstance(e, RangeUnfillable)]
    assert sorted(given_up) == [(13, 14), (18, 18)]
    assert "4 answers" in next(e.reason for e in lacks.events if isinstance(e, RangeUnfillable))


async def test_unreadable_first_row_of_a_gap(autojump_clock: Clock) -> None:
    """When it begins cannot be learned from that row; raw trades are found by their neighbours."""
    source, lacks = Source(10_000, unreadable_alone={11}), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks)
    assert "aggregates" not in source.asked


async def test_unanswered_gap_blocks_nothing(autojump_clock: Clock) -> None:
    """Silent minutes are settled while a gap is never answered, and its trouble is named."""
    source, lacks = Source(5000, unreadable_alone=set(range(42, 200))), Lacks(42, 42)
    lacks.minutes = [(START + MINUTE, START + MINUTE)]
    repairer = make_repairer(source, lacks)
    with trio.move_on_after(3):
        await repairer.run()
    assert lacks.minutes == []
    assert lacks.missing("X") == [(42, 42)]
    assert repairer.trouble("X") == "none of the rows can be read"


def price_refused(trade_id: int) -> Refused:
    return Refused(Refusal.PRICE, "", "X", trade_id, trade_id)


async def test_refused_row_is_retried(autojump_clock: Clock) -> None:
    """The good rows of its page are taken, and it is given up with the reason that it was refused for."""
    source, lacks = Source(100, refused={14: price_refused(14)}), Lacks(11, 20)
    await repair(source, lacks)
    assert [trade.first_id for trade in repaired(lacks.events[0])] == [11, 12, 13, 15, 16, 17, 18, 19, 20]
    assert lacks.events[1:] == [RangeUnfillable("X", 14, 14, "refused: price out of range")]
    assert source.asked == ["trades"] * 3


async def test_corrected_row_is_taken(autojump_clock: Clock) -> None:
    """Until it is given up, what the exchange says next counts."""
    source, lacks = Source(100, refused={14: price_refused(14)}), Lacks(11, 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair, source, lacks)
        await trio.sleep(0.01)
        source.refused.clear()
    assert not any(isinstance(event, RangeUnfillable) for event in lacks.events)


async def test_refused_row_blocks_no_page(autojump_clock: Clock) -> None:
    """A gap of many pages is filled but for the rows that are refused."""
    bad = {id_: price_refused(id_) for id_ in (11, 1010, 1011, 2500)}
    source, lacks = Source(4000, refused=bad), Lacks(11, 3500)
    await repair(source, lacks)
    given_up = {event.first_id for event in lacks.events if isinstance(event, RangeUnfillable)}
    assert given_up == bad.keys()
    assert len(source.asked) < 20


async def test_neighbours_reveal_a_row_without_id(autojump_clock: Clock) -> None:
    """The id that it would have had is given up with the reason."""
    source, lacks = Source(100, refused={14: Refused(Refusal.FORM, "", "X")}), Lacks(11, 20)
    await repair(source, lacks)
    assert lacks.events[1:] == [RangeUnfillable("X", 14, 14, "refused: missing or wrong field")]


async def test_refused_aggregates_are_passed(autojump_clock: Clock) -> None:
    """A long gap is filled by aggregates and, where one is refused, given up after a few answers."""
    source, lacks = Source(10_000, refused={700: price_refused(700)}), Lacks(11, 10 + AGGREGATES_FROM)
    await repair(source, lacks)
    assert [e.first_id for e in lacks.events if isinstance(e, RangeUnfillable)] == [700]
    assert source.asked.count("trades") < 6


async def test_refused_kline_settles_late(autojump_clock: Clock) -> None:
    """That the exchange has no kline of a minute is believed when it is refused again and again."""
    refused = Refused(Refusal.KLINE, "", "X", open_time=START + MINUTE)
    source, lacks = Source(5000, refused_klines={START + MINUTE: refused}), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + MINUTE)]
    await repair(source, lacks)
    assert source.asked == ["klines"] * 3
    assert lacks.events == [MinutesSettled("X", {START + MINUTE: None})]


@pytest.mark.parametrize("empty_minutes", [True, False])
async def test_minute_without_kline(autojump_clock: Clock, empty_minutes: bool) -> None:
    """A later kline shows that there was no trade, unless such minutes have klines: then it was down."""
    source, lacks = Source(5000, lacking_klines={START + MINUTE}), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + MINUTE)]
    await repair(source, lacks, capabilities=attrs.evolve(CAPABILITIES, empty_minutes=empty_minutes))
    (kline,) = settled(lacks.events[0]).values()
    assert kline is None if empty_minutes else kline == empty_kline("X", START + MINUTE)


async def test_silent_minutes_without_counts_are_settled_by_ids(autojump_clock: Clock) -> None:
    """Klines that count no trades are not asked for: the newest id says whether anything was traded."""
    source, lacks = Source(5000, clock=START + 9 * MINUTE), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + 2 * MINUTE)]
    await repair(source, lacks, capabilities=UNCOUNTED)
    assert source.asked == ["time"]
    (event,) = lacks.events
    assert isinstance(event, NewestIdsStated)
    assert event.stated == (NewestId("X", 5000, START + 9 * MINUTE - UNCOUNTED.rest_lag_max),)


async def test_stream_may_settle_silent_minutes_first(autojump_clock: Clock) -> None:
    """Where it states the newest id, REST is asked only if that has not helped for a while."""
    source, lacks = Source(5000, clock=START + 9 * MINUTE), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + 2 * MINUTE)]
    begun = trio.current_time()
    await repair(source, lacks, capabilities=attrs.evolve(UNCOUNTED, states_newest_ids=True))
    assert trio.current_time() - begun >= STATED_SECONDS


async def test_first_minute_of_a_market(autojump_clock: Clock) -> None:
    """The first minute of a market begins with its first trade."""
    source, lacks = Source(5000), Lacks(1, 0)
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events == [StartFound("X", 2000)]


async def test_start_without_its_first_trades(
    autojump_clock: Clock,
) -> None:
    """The trade before the first bar is found though the exchange lacks the bar's first trades."""
    source, lacks = Source(5000, lacking={2001, 2002}, short_pages=True), Lacks(1, 0)
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events == [StartFound("X", 2000)]


async def test_kline_or_clock_ends_a_minute(autojump_clock: Clock) -> None:
    """A minute is settled when a later kline or the clock shows that it is over."""
    source, lacks = Source(5000), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + 2 * MINUTE)]
    await repair(source, lacks)
    assert list(settled(lacks.events[0])) == [START + MINUTE, START + 2 * MINUTE]


async def test_running_minute_is_not_settled(autojump_clock: Clock) -> None:
    """A minute that is not over is not settled."""
    source, lacks = Source(1500), Lacks(1, 0)
    lacks.minutes = [(START + MINUTE, START + MINUTE)]
    with trio.move_on_after(20):
        await repair(source, lacks)
    assert lacks.events == []


async def test_one_page_settles_silent_hours(autojump_clock: Clock) -> None:
    """One page of klines settles the silent minutes of many hours."""
    source, lacks = Source(1_000_000), Lacks(1, 0)
    lacks.minutes = [(START + number * MINUTE, START + (number + 1) * MINUTE) for number in range(0, 900, 4)]
    lacks.minutes.insert(0, lacks.minutes.pop())  # in any order: the held one comes first
    wanted = len(lacks.minutes)
    await repair(source, lacks)
    assert source.asked == ["klines"]
    assert [len(settled(event)) for event in lacks.events] == [2] * wanted, "each range by itself"


async def test_refused_rows_around_the_start(
    autojump_clock: Clock,
) -> None:
    """What is missing between the trades on both sides of it is a gap like any other."""
    unreadable = Refused(Refusal.FORM, "", "X")
    source, lacks = (
        Source(5000, per_minute=100, refused=dict.fromkeys((150, 200, 201, 250), unreadable)),
        Lacks(1, 0),
    )
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events[0] == StartFound("X", 199)


async def test_unreadable_first_trade(
    autojump_clock: Clock,
) -> None:
    """A first trade that is never readable does not keep the start from being found."""
    source, lacks = Source(5000, refused={2001: Refused(Refusal.FORM, "", "X")}), Lacks(1, 0)
    lacks.start = START + 2 * MINUTE
    await repair(source, lacks)
    assert lacks.events == [StartFound("X", 2000)]
