"""Minutes of damaged files are fetched from the exchange again."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from candled.daemon.refetch import refetch_lost
from candled.domain.bar import Bar
from candled.domain.interval import MICROSECONDS, MINUTE, ONE_MINUTE
from candled.embedded_exchange.memory import open_memory_exchange
from candled.feed.adapter import KlinePage, TradeSource
from candled.feed.binance.rest import open_rest
from candled.feed.errors import SourceUnavailableError
from candled.history import MemoryHistory, MemoryStore
from candled.history.lost import LostMinutes
from tests.memory_daemon import make_exchange

SYMBOL = "PEPEUSDT"
MINUTES = 120


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class LosingHistory(MemoryHistory):
    """A history in memory that lost minutes."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(epoch=1))
        self.lost: frozenset[LostMinutes] = frozenset()

    async def wait_lost(self) -> None:
        while not self.lost:
            await trio.sleep(1)

    async def recovered(self, minutes: LostMinutes) -> None:
        await trio.lowlevel.checkpoint()
        self.lost -= {minutes}


@attrs.define
class Unreachable:
    """An exchange that does not answer for the first few requests for klines."""

    source: TradeSource
    failures: int
    asked: int = 0

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
        self.asked += 1
        if self.asked <= self.failures:
            raise SourceUnavailableError("no answer")
        return await self.source.klines(symbol, first_open_time, limit)

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)


@attrs.define
class Stand:
    history: LosingHistory
    source: Unreachable
    start: int

    @asynccontextmanager
    async def refetching(self, *, listed: bool = True) -> AsyncIterator[None]:
        numbers = count((1 << 32) + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                refetch_lost,
                self.history,
                cast("TradeSource", self.source),
                self.history,
                numbers.__next__,
                lambda _: listed,
                random.Random(1),
            )
            yield
            nursery.cancel_scope.cancel()

    async def until_recovered(self) -> list[Bar]:
        with trio.fail_after(600):
            while self.history.lost:
                await trio.sleep(1)
        return await self.history.bars(SYMBOL, "1m")


@asynccontextmanager
async def open_stand(failures: int = 0) -> AsyncIterator[Stand]:
    exchange = make_exchange((SYMBOL,), rate=0.05)
    exchange.clock._origin += (MINUTES + 30) * 60 * MICROSECONDS
    async with (
        open_memory_exchange(exchange) as memory,
        open_rest(["http://a"], 3000, memory.backend()) as rest,
    ):
        start = ONE_MINUTE.floor(await rest.server_time()) - (MINUTES + 10) * MINUTE
        yield Stand(LosingHistory(), Unreachable(rest, failures), start)


async def test_lost_minutes_come_back(autojump_clock: MockClock) -> None:
    """Every minute of a lost range is stored again, complete, and the range leaves the record."""
    async with open_stand() as stand, stand.refetching():
        stand.history.lost = frozenset({LostMinutes(SYMBOL, stand.start, stand.start + MINUTES * MINUTE)})
        bars = await stand.until_recovered()
    assert [bar.open_time for bar in bars] == [stand.start + number * MINUTE for number in range(MINUTES)]
    assert all(bar.complete for bar in bars)


async def test_an_unreachable_exchange_is_asked_again(autojump_clock: MockClock) -> None:
    """Lost minutes stay recorded until the exchange answers."""
    async with open_stand(failures=5) as stand, stand.refetching():
        stand.history.lost = frozenset({LostMinutes(SYMBOL, stand.start, stand.start + MINUTES * MINUTE)})
        assert len(await stand.until_recovered()) == MINUTES
    assert stand.source.asked > 5


async def test_minutes_that_are_stored_are_not_fetched(autojump_clock: MockClock) -> None:
    """A range whose minutes are all there, out of the journal say, costs no request."""
    async with open_stand() as stand:
        lost = frozenset({LostMinutes(SYMBOL, stand.start, stand.start + MINUTES * MINUTE)})
        async with stand.refetching():
            stand.history.lost = lost
            await stand.until_recovered()
        asked = stand.source.asked
        async with stand.refetching():
            stand.history.lost = lost
            await stand.until_recovered()
    assert stand.source.asked == asked


async def test_a_delisted_symbol_stays_recorded(autojump_clock: MockClock) -> None:
    """What the exchange does not have any more is not asked for."""
    async with open_stand() as stand, stand.refetching(listed=False):
        stand.history.lost = frozenset({LostMinutes(SYMBOL, stand.start, stand.start + MINUTE)})
        await trio.sleep(300)
    assert stand.source.asked == 0
    assert stand.history.lost
