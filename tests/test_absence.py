"""A daemon that was away for days catches up: visibly, within the exchange's limits, and without a hole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from candled.daemon.catch_up import CatchUp
from candled.domain.interval import MICROSECONDS
from candled.domain.status import GapState, SymbolStatus
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.embedded_exchange.rest_side import Answer, Request
from tests.memory_daemon import captured_logs, make_exchange, open_memory_daemon


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def test_catch_up_reports_changes_once() -> None:
    """Remaining minutes are reported when they change, and the end once."""
    catch_up = CatchUp()
    assert catch_up.look({"A": 2, "B": 0}) is None, "the last minutes are everyday"
    assert catch_up.look({"A": 4000, "B": 1000}) == (5000, 2, "A")
    assert catch_up.look({"A": 4000, "B": 1000}) is None
    assert catch_up.look({"A": 3, "B": 1000}) == (1000, 1, "B")
    assert catch_up.look({"A": 1, "B": 0}) == (0, 0, "")
    assert catch_up.look({"A": 2, "B": 1}) is None


def pass_time(exchange: Exchange, seconds: float) -> None:
    """Advance the exchange at once."""
    exchange.clock._origin += int(seconds * MICROSECONDS)


@asynccontextmanager
async def open_network(exchange: Exchange) -> AsyncIterator[tuple[MemoryExchange, list[int]]]:
    """An exchange in memory, and the status of each of its answers."""
    statuses: list[int] = []
    answer = exchange.rest.answer

    async def watched(request: Request) -> Answer:
        found = await answer(request)
        statuses.append(found.status)
        return found

    with patch.object(exchange.rest, "answer", watched):
        async with open_memory_exchange(exchange) as network:
            yield network, statuses


@pytest.mark.timeout(180)
async def test_three_days_are_fetched_within_the_limits(autojump_clock: MockClock) -> None:
    symbols = ("BTCUSDT", "PEPEUSDT")
    exchange = make_exchange(symbols, rate=0.05)
    async with open_network(exchange) as (network, statuses):
        async with open_memory_daemon(network, symbols=symbols) as daemon:
            await daemon.closes(2, symbols)
            store = daemon.store
        pass_time(exchange, 3 * 86_400)
        exchange.command("rest_delay=5s")
        with captured_logs() as logs:
            async with open_memory_daemon(network, store, symbols) as daemon:
                await daemon.until(lambda: daemon.status("BTCUSDT").minutes_left > 4000)
                await daemon.until(lambda: any(line["event"] == "caught up" for line in logs))
                assert daemon.status("BTCUSDT").minutes_left < 5
                await daemon.is_whole(symbols)
                assert len(daemon.bars("BTCUSDT")) > 4320
        logged = [line["minutes_left"] for line in logs if line["event"] == "catching up"]
        assert logged[0] > 4320
        assert statuses
        assert {429, 418}.isdisjoint(statuses)


async def test_unfillable_range_after_a_restart(autojump_clock: MockClock) -> None:
    """An unfillable range is listed again after a restart."""
    exchange = make_exchange()
    async with open_memory_exchange(exchange) as network:
        async with open_memory_daemon(network) as daemon:
            await daemon.closes(2)
            exchange.command("unfillable=0.5")
            daemon.pipeline.feed.follow([])  # what comes now is missed for good
            await trio.sleep(1200)
            daemon.pipeline.ingest.follow(daemon.pipeline.engine.symbols)
            await daemon.until(lambda: unfillable(daemon.status("BTCUSDT")) != [])
            await daemon.closes(3)
            before = unfillable(daemon.status("BTCUSDT"))
            store = daemon.store
        async with open_memory_daemon(network, store) as daemon:
            await daemon.until(lambda: unfillable(daemon.status("BTCUSDT")) != [], seconds=120)
            await trio.sleep(60)
            after = unfillable(daemon.status("BTCUSDT"))
            assert all(any(a <= first and last <= b for a, b in after) for first, last in before)
            for gap in daemon.status("BTCUSDT").gaps:
                assert gap.state is not GapState.UNFILLABLE or "passed over" in gap.reason


def unfillable(status: SymbolStatus) -> list[tuple[int, int]]:
    return [(gap.first_id, gap.last_id) for gap in status.gaps if gap.state is GapState.UNFILLABLE]


async def test_gaps_show_what_their_repair_waits_for(
    autojump_clock: MockClock,
) -> None:
    """An open gap shows what its repair waits for, and a filled one stays listed."""
    exchange = make_exchange()
    async with open_memory_exchange(exchange) as network, open_memory_daemon(network) as daemon:
        await daemon.closes(2)
        exchange.command("rest_500=1,cut,refuse")
        await trio.sleep(60)
        exchange.command("refuse=off")

        def waits() -> bool:
            gaps = daemon.status("BTCUSDT").gaps
            return any(gap.state is GapState.OPEN and "status 500" in gap.reason for gap in gaps)

        await daemon.until(waits)
        (hole,) = [gap for gap in daemon.status("BTCUSDT").gaps if gap.state is GapState.OPEN]
        exchange.command("rest_500=off")
        await daemon.until(lambda: all(gap.state is GapState.FILLED for gap in daemon.status("BTCUSDT").gaps))
        filled = daemon.status("BTCUSDT").gaps[-1]
        assert (filled.first_id, filled.last_id) == (hole.first_id, hole.last_id)
        await daemon.is_whole(("BTCUSDT",))
