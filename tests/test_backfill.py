"""The past is filled from klines where they prove themselves, and from trades where they do not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count, pairwise

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from candled.backfill import Backfill
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.domain.trade import Trade
from candled.exchange.core import Exchange
from candled.exchange.memory import open_memory_exchange
from candled.feed.binance.rest import open_rest
from candled.feed.interface import TradeSource
from candled.history import MemoryHistory, open_memory_history
from tests.memory_daemon import make_exchange

SYMBOL = "PEPEUSDT"
MINUTES = 3000


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@attrs.define
class Told:
    """An exchange whose answers are changed on their way, and what was asked of it."""

    source: TradeSource
    tell_klines: Callable[[list[Bar]], list[Bar]] = lambda klines: klines
    tell_trades: Callable[[list[Trade]], list[Trade]] = lambda trades: trades
    pages_of_trades: int = 0

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> list[Bar]:
        return self.tell_klines(await self.source.klines(symbol, first_open_time, limit))

    async def trades(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        self.pages_of_trades += 1
        return self.tell_trades(await self.source.trades(symbol, first_id, limit))

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)


@attrs.define
class Stand:
    told: Told
    history: MemoryHistory
    start: int
    end: int
    truth: list[Bar]
    """The exchange's own klines of the time."""
    minutes_told: int = 0

    async def fill(self, *, by_trades: bool = False) -> Backfill:
        numbers = count((self.history.epoch << 32) + self.history.stored_position % (1 << 32) + 1)
        backfill = Backfill(self.told, self.history, SYMBOL, numbers.__next__, self._note)  # type: ignore[arg-type]
        await backfill.run(self.start, self.end, by_trades=by_trades)
        return backfill

    def _note(self, minutes: int) -> None:
        self.minutes_told += minutes

    async def bars(self) -> list[Bar]:
        return await self.history.bars(SYMBOL, "1m", limit=10**6)


@asynccontextmanager
async def open_stand(exchange: Exchange) -> AsyncIterator[Stand]:
    exchange.clock._origin += (MINUTES + 100) * 60 * MICROSECONDS  # so much time has passed there
    async with (
        open_memory_exchange(exchange) as memory,
        open_rest(["http://a"], 3000, memory.backend()) as rest,
        open_memory_history() as history,
    ):
        end = ONE_MINUTE.floor(await rest.server_time()) - 10 * MINUTE
        start = end - MINUTES * MINUTE
        truth: list[Bar] = []
        while len(truth) < MINUTES:
            truth += await rest.klines(SYMBOL, start + len(truth) * MINUTE, min(1000, MINUTES - len(truth)))
        yield Stand(Told(rest), history, start, end, truth)


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


async def test_klines_that_count_up_need_no_trades(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        backfill = await stand.fill()
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert (backfill.stored, backfill.unproven, stand.told.pages_of_trades) == (MINUTES, 0, 0)
        assert stand.minutes_told == MINUTES


async def test_a_kline_that_does_not_count_up_is_made_of_its_trades_and_the_others_are_not(
    autojump_clock: MockClock,
) -> None:
    async with open_stand(market()) as stand:
        wrong = next(bar for bar in stand.truth[1500:] if not bar.is_empty)
        stand.told.tell_klines = lambda klines: [
            replace(kline, trade_count=kline.trade_count + 1) if kline.open_time == wrong.open_time else kline
            for kline in klines
        ]
        backfill = await stand.fill()
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert (backfill.stored, backfill.unproven) == (MINUTES, 0)
        assert 1 <= stand.told.pages_of_trades <= 5
        assert stand.minutes_told == MINUTES


async def test_a_trade_that_the_exchange_does_not_have_leaves_its_minute_alone_unproven(
    autojump_clock: MockClock,
) -> None:
    async with open_stand(market()) as stand:
        holed = next(bar for bar in stand.truth[2000:] if bar.trade_count > 2)
        stand.told.tell_klines = lambda klines: [
            replace(kline, trade_count=kline.trade_count - 1) if kline.open_time == holed.open_time else kline
            for kline in klines
        ]
        lost: list[Trade] = []

        def without_one(trades: list[Trade]) -> list[Trade]:
            inside = [trade for trade in trades if ONE_MINUTE.floor(trade.time) == holed.open_time]
            lost[:] = lost or inside[1:2]
            return [trade for trade in trades if trade not in lost]

        stand.told.tell_trades = without_one
        backfill = await stand.fill()
        bars = await stand.bars()
        assert [bar.open_time for bar in bars if not bar.complete] == [holed.open_time]
        assert chained(bars)
        assert (backfill.stored, backfill.unproven) == (MINUTES, 1)
        again = await stand.fill()
        assert (again.stored, again.unproven) == (0, 1)
        stand.told.tell_klines = stand.told.tell_trades = lambda told: told
        assert (await stand.fill()).stored == 1
        assert numbers(stand.truth) == numbers(await stand.bars())


async def test_every_bar_can_be_made_of_its_trades(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        backfill = await stand.fill(by_trades=True)
        bars = await stand.bars()
        assert numbers(stand.truth) == numbers(bars)
        assert all(bar.complete for bar in bars)
        assert chained(bars)
        assert backfill.stored == MINUTES


async def test_a_stored_bar_that_is_proven_stays(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        proven = replace(stand.truth[7], closed=True, complete=True, high=stand.truth[7].high + 1)
        await stand.history.store([BarEvent(BarEventKind.CLOSE, proven, proven.close_time, 1)])
        assert (await stand.fill()).stored == MINUTES - 1
        assert proven in await stand.bars()


async def test_minutes_that_no_later_trade_proves_are_left_out(autojump_clock: MockClock) -> None:
    async with open_stand(market()) as stand:
        newest = await stand.told.source.newest(SYMBOL)
        assert newest is not None
        stand.end += 1000 * MINUTE
        with trio.fail_after(1e6):
            await stand.fill()
        assert (await stand.bars())[-1].close_time == ONE_MINUTE.floor(newest.time)
