"""The past is filled from klines where they prove themselves, and from trades where they do not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count, pairwise

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from candled.backfill.from_exchange import Backfill, backfill_new
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.trade import Trade
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import open_memory_exchange
from candled.feed.adapter import Capabilities, KlinePage, TradePage, TradeSource
from candled.feed.binance.capabilities import CAPABILITIES
from candled.feed.binance.rest import open_rest
from candled.feed.errors import UnreadableAnswerError
from candled.history import MemoryHistory, open_memory_history
from tests.memory_daemon import make_exchange

SYMBOL = "PEPEUSDT"
MINUTES = 3000


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


UNCOUNTED = attrs.evolve(CAPABILITIES, klines_carry_trade_count=False, empty_minutes=False)
"""Of an exchange whose klines state prices and volume alone, and none for a minute without trades."""


@attrs.define
class AlteredExchange:
    """An exchange whose answers are changed on their way, and what was asked of it."""

    source: TradeSource
    alter_klines: Callable[[list[Bar]], list[Bar]] = lambda klines: klines
    alter_trades: Callable[[list[Trade]], list[Trade]] = lambda trades: trades
    unreadable: set[int] = attrs.Factory(set)
    """First ids of the aggregates whose rows cannot be read."""
    pages_of_trades: int = 0
    capabilities: Capabilities = CAPABILITIES

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> TradePage:
        page = await self.source.aggregates_since(symbol, time, limit)
        readable = [trade for trade in page.trades if trade.first_id not in self.unreadable]
        if page.trades and not readable:
            raise UnreadableAnswerError("none of the rows can be read")
        return attrs.evolve(page, trades=readable)

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
        page = await self.source.klines(symbol, first_open_time, limit)
        return attrs.evolve(page, bars=self.alter_klines(page.bars))

    async def trades(self, symbol: str, first_id: int, limit: int) -> TradePage:
        self.pages_of_trades += 1
        page = await self.source.trades(symbol, first_id, limit)
        return attrs.evolve(page, trades=self.alter_trades(page.trades))

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)


@attrs.define
class Stopped:
    """An exchange whose newest trade stays this one."""

    source: TradeSource
    trade: Trade

    async def newest(self, _symbol: str) -> Trade:
        await trio.lowlevel.checkpoint()
        return self.trade

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)


@attrs.define
class Stand:
    exchange: AlteredExchange
    history: MemoryHistory
    start: int
    end: int
    truth: list[Bar]
    """The exchange's own klines of the time."""
    minutes_reported: int = 0

    async def fill(self, *, by_trades: bool = False) -> Backfill:
        numbers = count((self.history.epoch << 32) + self.history.stored_position % (1 << 32) + 1)
        backfill = Backfill(self.exchange, self.history, self.history, SYMBOL, numbers.__next__, self._note)  # type: ignore[arg-type]
        await backfill.run(self.start, self.end, by_trades=by_trades)
        return backfill

    def _note(self, minutes: int) -> None:
        self.minutes_reported += minutes

    async def bars(self) -> list[Bar]:
        return await self.history.bars(SYMBOL, "1m", limit=10**6)


@asynccontextmanager
async def open_stand(exchange: Exchange) -> AsyncIterator[Stand]:
    exchange.clock._origin += (MINUTES + 100) * 60 * MICROSECONDS  # the market has run for this time
    async with (
        open_memory_exchange(exchange) as memory,
        open_rest(["http://a"], 3000, memory.backend()) as rest,
        open_memory_history() as history,
    ):
        end = ONE_MINUTE.floor(await rest.server_time()) - 10 * MINUTE
        start = end - MINUTES * MINUTE
        truth: list[Bar] = []
        while len(truth) < MINUTES:
            page = await rest.klines(SYMBOL, start + len(truth) * MINUTE, min(1000, MINUTES - len(truth)))
            truth += page.bars
        yield Stand(AlteredExchange(rest), history, start, end, truth)


def numbers(bars: list[Bar]) -> list[tuple[object, ...]]:
    """What a kline says of each."""
    return [
        (
            *(bar.open_time, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume),
            *(bar.trade_count, bar.taker_buy_volume, bar.taker_buy_quote_volume),
        )
        for bar in bars
    ]


def chained(bars: list[Bar]) -> bool:
    """Whether the ids of each bar go on where those before it end."""
    return all(after.previous_trade_id == bar.known_trade_id for bar, after in pairwise(bars))


def market() -> Exchange:
    return make_exchange((SYMBOL,), rate=0.05)


async def test_klines_with_matching_counts_need_no_trades(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        backfill = await stand.fill()
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert (backfill.stored, backfill.unproven, stand.exchange.pages_of_trades) == (MINUTES, 0, 0)
        assert stand.minutes_reported == MINUTES


async def test_kline_with_a_wrong_count_is_rebuilt(
    autojump_clock: MockClock,
) -> None:
    """A kline whose count does not match the trade ids is built from its trades, and no other is."""
    async with open_stand(market()) as stand:
        wrong = next(bar for bar in stand.truth[1500:] if not bar.is_empty)
        stand.exchange.alter_klines = lambda klines: [
            replace(kline, trade_count=kline.trade_count + 1) if kline.open_time == wrong.open_time else kline
            for kline in klines
        ]
        backfill = await stand.fill()
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert (backfill.stored, backfill.unproven) == (MINUTES, 0)
        assert 1 <= stand.exchange.pages_of_trades <= 5
        assert stand.minutes_reported == MINUTES


async def test_lost_trade_leaves_only_its_minute_incomplete(
    autojump_clock: MockClock,
) -> None:
    async with open_stand(market()) as stand:
        holed = next(bar for bar in stand.truth[2000:] if bar.trade_count > 2)
        stand.exchange.alter_klines = lambda klines: [
            replace(kline, trade_count=kline.trade_count - 1) if kline.open_time == holed.open_time else kline
            for kline in klines
        ]
        lost: list[Trade] = []

        def without_one(trades: list[Trade]) -> list[Trade]:
            inside = [trade for trade in trades if ONE_MINUTE.floor(trade.time) == holed.open_time]
            lost[:] = lost or inside[1:2]
            return [trade for trade in trades if trade not in lost]

        stand.exchange.alter_trades = without_one
        backfill = await stand.fill()
        bars = await stand.bars()
        assert [bar.open_time for bar in bars if not bar.complete] == [holed.open_time]
        assert chained(bars)
        assert (backfill.stored, backfill.unproven) == (MINUTES, 1)
        again = await stand.fill()
        assert (again.stored, again.unproven) == (0, 1)
        stand.exchange.alter_klines = lambda klines: klines
        stand.exchange.alter_trades = lambda trades: trades
        assert (await stand.fill()).stored == 1
        assert numbers(stand.truth) == numbers(await stand.bars())


@pytest.mark.slow
async def test_every_bar_can_be_built_from_trades(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        backfill = await stand.fill(by_trades=True)
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert backfill.stored == MINUTES


async def test_bars_without_counts_come_from_trades(autojump_clock: MockClock) -> None:
    """Where klines count no trades nothing is taken from them, and every bar is proven by its trades."""
    async with open_stand(market()) as stand:
        stand.exchange.capabilities = UNCOUNTED
        stand.exchange.alter_klines = lambda _klines: []
        backfill = await stand.fill()
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert (backfill.stored, backfill.unproven) == (MINUTES, 0)
        assert stand.minutes_reported == MINUTES


async def test_missing_trade_without_counts(autojump_clock: MockClock) -> None:
    """Only that minute is in doubt; an empty one that it may belong to would have no bar."""
    async with open_stand(market()) as stand:
        stand.exchange.capabilities = UNCOUNTED
        holed = next(bar for bar in stand.truth[2000:] if bar.trade_count > 2)
        lost: list[Trade] = []

        def without_one(trades: list[Trade]) -> list[Trade]:
            lost[:] = lost or [trade for trade in trades if ONE_MINUTE.floor(trade.time) == holed.open_time][1:2]
            return [trade for trade in trades if trade not in lost]

        stand.exchange.alter_trades = without_one
        backfill = await stand.fill()
        bars = await stand.bars()
        assert [bar.open_time for bar in bars if not bar.complete] == [holed.open_time]
        assert (backfill.stored, backfill.unproven) == (MINUTES, 1)


async def test_false_newest_id_ends_the_backfill(autojump_clock: MockClock) -> None:
    """After a few pages without a trade no more are asked for: a million million ids would take years."""
    async with open_stand(market()) as stand:
        newest = await stand.exchange.source.newest(SYMBOL)
        assert newest is not None
        lie = replace(newest, first_id=newest.last_id + 10**12, last_id=newest.last_id + 10**12)
        stand.exchange.source = Stopped(stand.exchange.source, lie)  # type: ignore[assignment]
        stand.exchange.capabilities = UNCOUNTED
        stand.end = ONE_MINUTE.floor(newest.time)
        await stand.fill()
        assert stand.exchange.pages_of_trades < 30
        assert all(bar.complete for bar in (await stand.bars())[:MINUTES])


@pytest.mark.parametrize("is_lost", [pytest.param(False, marks=pytest.mark.slow), True])
async def test_unreadable_first_aggregate(autojump_clock: MockClock, is_lost: bool) -> None:
    """If the trade is lost there, too, it may be of any minute between the trades around it."""
    async with open_stand(market()) as stand:
        begun = next(bar for bar in stand.truth[1500::15] if not bar.is_empty)  # where a page of trades begins
        first = (await stand.exchange.source.aggregates_since(SYMBOL, begun.open_time, 1)).first_id
        assert first is not None
        around = (await stand.exchange.source.trades(SYMBOL, first - 1, 3)).trades
        stand.exchange.unreadable = {first}
        if is_lost:
            stand.exchange.alter_trades = lambda trades: [trade for trade in trades if trade.first_id != first]
        await stand.fill(by_trades=True)
        bars = await stand.bars()
        unknown = range(ONE_MINUTE.floor(around[0].time), around[-1].time + 1, MINUTE)
        assert [bar.open_time for bar in bars if not bar.complete] == (list(unknown) if is_lost else [])
        assert numbers(stand.truth) == numbers(bars)


async def test_unreadable_symbol_blocks_no_other(
    autojump_clock: MockClock,
) -> None:
    """A symbol without a readable row is left out; the others are filled."""
    async with open_stand(make_exchange(("BTCUSDT", SYMBOL), rate=0.05)) as stand:

        class Unreadable:
            async def newest(self, symbol: str) -> Trade | None:
                if symbol == "BTCUSDT":
                    raise UnreadableAnswerError("none of the rows can be read")
                return await stand.exchange.source.newest(symbol)

            def __getattr__(self, name: str) -> object:
                return getattr(stand.exchange, name)

        numbers = count((stand.history.epoch << 32) + 1)
        source, history = Unreadable(), stand.history
        await backfill_new(("BTCUSDT", SYMBOL), 1, source, history, history, numbers.__next__)  # type: ignore[arg-type]
        assert not await history.bars("BTCUSDT", "1m", limit=100)
        assert await stand.bars()


async def test_complete_stored_bar_stays(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        proven = replace(stand.truth[7], closed=True, complete=True, high=stand.truth[7].high + 1)
        await stand.history.store([BarEvent(BarEventKind.CLOSE, proven, proven.close_time, 1)])
        assert (await stand.fill()).stored == MINUTES - 1
        assert proven in await stand.bars()


async def test_minutes_without_a_later_trade_are_left_out(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        newest = await stand.exchange.source.newest(SYMBOL)
        assert newest is not None
        stand.end += 1000 * MINUTE
        with trio.fail_after(1e6):
            backfill = await stand.fill()
        assert (await stand.bars())[-1].close_time == ONE_MINUTE.floor(newest.time)
        now = ONE_MINUTE.floor(await stand.exchange.source.server_time())
        assert backfill.awaiting == (now - ONE_MINUTE.floor(newest.time)) // MINUTE


async def test_minutes_awaiting_a_trade_are_counted(autojump_clock: MockClock) -> None:
    """Those after the newest trade, up to the end that was asked for; the running minute is none of them."""
    async with open_stand(market()) as stand:
        assert (await stand.fill()).awaiting == 0
        newest = await stand.exchange.source.newest(SYMBOL)
        assert newest is not None
        await trio.sleep(30 * 60)
        stand.exchange.source = Stopped(stand.exchange.source, newest)  # type: ignore[assignment]
        last = ONE_MINUTE.floor(newest.time)
        for end, awaiting in ((last, 0), (last + MINUTE, 1), (last + 7 * MINUTE, 7)):
            stand.end = end
            assert (await stand.fill()).awaiting == awaiting
        stand.end = ONE_MINUTE.floor(await stand.exchange.source.server_time()) + 99 * MINUTE
        assert (await stand.fill()).awaiting == (stand.end - 99 * MINUTE - last) // MINUTE
