"""Pages of the chart out of a history on disk: every interval, every limit, years apart."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from candled.domain.interval import INTERVALS
from candled.domain.limits import TIME_MAX
from candled.history import DurableHistory, open_history
from candled.stream.hub import Hub
from candled.stream.newest import page_before
from candled.stream.web.requests import LIMIT_MAX
from tests.history.bars import events, minute
from tests.loop_watch import watching_loop

DAY = 1440


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[DurableHistory]:
    """Two days of minutes, eight years after two others."""
    async with open_history(tmp_path, exchange="x") as history:
        numbers = [*range(-8 * 366 * DAY, -8 * 366 * DAY + 2 * DAY), *range(2 * DAY)]
        await history.store(events(map(minute, numbers), (history.epoch << 32) + 1))
        yield history


def hub_of(history: DurableHistory) -> Hub:
    return Hub(
        clock=trio.current_time,
        snapshot=lambda _symbol, _interval: None,
        symbols=lambda: ["BTCUSDT"],
        stored=history,
    )


@pytest.mark.parametrize("interval", ["1m", "1h", "1w", "1M"])
async def test_pages_lead_to_the_first_bar(history: DurableHistory, interval: str) -> None:
    """The largest pages lead from the end of time over years without bars to the first bar, and hold nobody up."""
    hub, end, older = hub_of(history), TIME_MAX, True
    with trio.fail_after(30):
        async with watching_loop():
            while older:
                page = await page_before(history, hub, "BTCUSDT", INTERVALS[interval], end, LIMIT_MAX)
                assert 0 < len(page.bars) <= LIMIT_MAX
                assert page.bars[-1].open_time < end
                end, older = page.bars[0].open_time, page.older
    (first,) = await history.bars("BTCUSDT", interval, limit=1)
    assert end == first.open_time


@pytest.mark.parametrize("interval", ["1m", "1h", "1w", "1M"])
async def test_the_smallest_page_is_the_newest_bar(history: DurableHistory, interval: str) -> None:
    """A page of one bar holds the newest one, wherever the end is."""
    hub = hub_of(history)
    with trio.fail_after(30):
        newest = (await history.bars("BTCUSDT", interval, limit=10_000))[-1]
        page = await page_before(history, hub, "BTCUSDT", INTERVALS[interval], TIME_MAX, 1)
        assert page.bars == [newest]


@pytest.mark.parametrize("end", [0, 1, 999_999])
async def test_page_before_the_first_bar_is_empty(history: DurableHistory, end: int) -> None:
    """A page before the first bar is empty, for the calendar month too."""
    page = await page_before(history, hub_of(history), "BTCUSDT", INTERVALS["1M"], end, LIMIT_MAX)
    assert (page.bars, page.older) == ([], False)
