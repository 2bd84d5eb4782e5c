"""The chart in headless Chromium on a real daemon and a real embedded exchange, each a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.client import open_trio_client
from tests.acceptance.processes import RunningDaemon, RunningExchange, open_daemon, open_exchange
from tests.web.browser import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

SYMBOL = "BTCUSDT"
SPEED = 30
NUMBERS = (
    "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume",
)  # fmt: skip
NOTE_FORMING = """
    window.counts = {};  // trade counts that the newest bar was seen with, by its open time
    setInterval(() => {
        const bar = candled.bars().at(-1);
        if (bar && !bar.closed) (counts[bar.open_time] ??= new Set()).add(bar.trade_count);
    }, 20);
"""
Bars = dict[int, list[Any]]
"""Numbers and counts of each bar, by its open time in milliseconds."""
COUNTS = ("trade_count", "first_trade_id", "last_trade_id", "complete", "revision")


@asynccontextmanager
async def exchange_and_daemon(tmp_path: Path) -> AsyncIterator[tuple[RunningExchange, RunningDaemon]]:
    """Both, with an hour of bars from before the daemon's first start."""
    async with (
        open_exchange(f"--speed={SPEED}", "--weight-limit=100000") as exchange,
        open_daemon(
            exchange, tmp_path / "data", "--backfill-hours=1", "--rest-weight-per-minute=100000"
        ) as daemon,
    ):
        yield exchange, daemon


async def opened(page: Page, daemon: RunningDaemon) -> None:
    """Go to the chart and wait until it shows bars, live."""
    await page.open(f"http://{daemon.http}/#{SYMBOL}/1m")
    await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length > 30", 40)


async def fetched(daemon: RunningDaemon, interval: str) -> Bars:
    """Closed bars from ``GetBars``, by open time in milliseconds."""
    async with open_trio_client(daemon.grpc) as client:
        bars = [bar async for bars in client.bar_pages(SYMBOL, interval, None, None) for bar in bars]
    return {
        round(bar.open_time.timestamp() * 1000): [getattr(bar, name) for name in NUMBERS + COUNTS] for bar in bars
    }


async def shown(page: Page) -> Bars:
    """What the page knows of each closed bar, in the same form, and what it has drawn of every bar."""
    known, drawn = await page.evaluate("[candled.bars(), candled.drawn()]")
    closed = {
        bar["open_time"]: [*(Decimal(bar[name]) for name in NUMBERS), *(bar[name] for name in COUNTS)]
        for bar in known
        if bar["closed"]
    }
    floats = [[bar["open_time"] / 1000, *(float(bar[name]) for name in NUMBERS[:4])] for bar in known]
    assert floats == [[point[name] for name in ("time", "open", "high", "low", "close")] for point in drawn]
    return closed


async def equal(page: Page, daemon: RunningDaemon, interval: str = "1m") -> Bars:
    """Until the page shows exactly the bars that ``GetBars`` gives; they are many, and two at least are whole."""
    with trio.move_on_after(40):
        while True:
            on_page, from_api = await shown(page), await fetched(daemon, interval)
            if on_page == from_api and sum(bar[-2] for bar in on_page.values()) > 1:
                return on_page
            await trio.sleep(0.1)
    assert on_page == from_api
    raise AssertionError(f"hardly a bar is complete: {on_page}")


def own_problems(page: Page) -> list[str]:
    """Errors of the page itself; that the daemon does not answer is the browser's own note."""
    return [problem for problem in page.problems if '"source": "network"' not in problem]


async def test_candles_equal_get_bars(page: Page, tmp_path: Path) -> None:
    """Candles equal ``GetBars``, and the forming bar moves."""
    with trio.fail_after(120):
        async with exchange_and_daemon(tmp_path) as (_, daemon):
            await opened(page, daemon)
            before = await equal(page, daemon)
            await page.evaluate(NOTE_FORMING)
            await page.wait_for("Object.values(window.counts).some(counts => counts.size >= 3)")
            await page.wait_for(f"candled.bars().filter(bar => bar.closed).length > {len(before) + 1}")
            await equal(page, daemon)
            await page.open(f"http://{daemon.http}/#{SYMBOL}/5m")
            await page.wait_for("candled.bars().at(0)?.interval === '5m' && candled.bars().length > 10", 40)
            await equal(page, daemon, "5m")
            assert page.problems == []


async def test_a_gap_is_seen_and_repaired_on_screen(page: Page, tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with (
            exchange_and_daemon(tmp_path) as (exchange, daemon),
            httpx.AsyncClient(base_url=exchange.rest) as market,
        ):
            await opened(page, daemon)
            await equal(page, daemon)
            (await market.post("/faults", content="lose=0.3,rest_500=1")).raise_for_status()
            doubtful = "candled.bars().find(bar => bar.closed && !bar.complete && bar.trade_count)"
            await page.wait_for(
                f"{doubtful} && document.getElementById('connection-text').textContent.includes('repairing')", 40
            )
            open_time, lacking = await page.evaluate(f"(bar => [bar.open_time, bar.trade_count])({doubtful})")
            (await market.post("/faults", content="clear")).raise_for_status()
            repaired = f"candled.bars().find(bar => bar.open_time === {open_time})"
            await page.wait_for(f"{repaired}.complete && {repaired}.revision > 0", 40)
            query: dict[str, str | int] = {"symbol": SYMBOL, "interval": "1m", "startTime": open_time, "limit": 1}
            (kline,) = (await market.get("/api/v3/klines", params=query)).json()
            bar = await page.evaluate(repaired)
            assert [bar[name] for name in NUMBERS[:5]] == kline[1:6]
            assert bar["trade_count"] == kline[8] > lacking
            await page.wait_for(
                "document.getElementById('connection-text').textContent.startsWith('live · lag')", 40
            )
            await equal(page, daemon)
            assert page.problems == []


async def test_page_reconnects_and_misses_no_bar(page: Page, tmp_path: Path) -> None:
    with trio.fail_after(140):
        async with exchange_and_daemon(tmp_path) as (exchange, daemon):
            await opened(page, daemon)
            before = await equal(page, daemon)
            assert await daemon.stop() == 0
            await page.wait_for("document.body.dataset.state === 'lost'", 20)
            again = open_daemon(
                exchange, daemon.data_dir, f"--http-address={daemon.http}", "--rest-weight-per-minute=100000"
            )
            async with again as daemon:
                await page.wait_for("document.body.dataset.state === 'live'", 40)
                await page.wait_for(f"candled.bars().filter(bar => bar.closed).length > {len(before)}", 40)
                after = await equal(page, daemon)
                times = sorted(after)
                assert times == list(range(times[0], times[-1] + 1, 60_000)), "a minute is missing"
            assert own_problems(page) == []


async def day_of_client(daemon: RunningDaemon, symbol: str) -> list[Any]:
    """Last price, first open, high, low and volume of the newest 288 bars of 5 minutes, the forming one too."""
    async with open_trio_client(daemon.grpc) as client:
        closed = await client.get_bars(symbol, "5m", limit=288)
        async with client.stream_bars(symbols=[symbol], intervals=["5m"]) as messages:
            forming = (await anext(messages)).bar
    assert forming is not None
    bars = [bar for bar in (*closed, forming) if bar.open_time > forming.open_time - timedelta(days=1)]
    traded = [bar for bar in bars if bar.trade_count]
    return [
        traded[-1].close,
        traded[0].open,
        max(bar.high for bar in traded),
        min(bar.low for bar in traded),
        sum((bar.volume for bar in traded), Decimal(0)),
    ]


async def test_watchlist_equals_the_client(page: Page, tmp_path: Path) -> None:
    """Of each symbol of a moving market, at moments when both saw the same trade last."""
    with trio.fail_after(140):
        async with exchange_and_daemon(tmp_path) as (_, daemon):
            await opened(page, daemon)
            for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT"):
                await page.wait_for(f"candled.day('{symbol}')")
                while True:
                    before = await day_of_client(daemon, symbol)
                    day = await page.evaluate(f"candled.day('{symbol}')")
                    on_page = [Decimal(day[name]) for name in ("last", "first", "high", "low", "volume")]
                    if before == await day_of_client(daemon, symbol) == on_page:
                        break
            assert page.problems == []


async def test_two_charts_equal_the_client(page: Page, tmp_path: Path) -> None:
    """Each of a grid has the bars of its symbol and interval, from the one stream that they share."""
    charts = (("ETHUSDT", "1m"), ("BTCUSDT", "5m"))
    with trio.fail_after(140):
        async with exchange_and_daemon(tmp_path) as (_, daemon):
            await page.open(f"http://{daemon.http}/#ETHUSDT/1m,BTCUSDT/5m")
            await page.wait_for(
                "candled.panes().length === 2 && candled.panes().every(p => p.plot.count > 10)", 40
            )
            for place, (symbol, interval) in enumerate(charts):
                while True:
                    async with open_trio_client(daemon.grpc) as client:
                        bars = await client.get_bars(symbol, interval)
                    known = await page.evaluate(
                        f"candled.panes()[{place}].feed.sorted().filter(bar => bar.closed)"
                    )
                    on_page = [[Decimal(bar[name]) for name in NUMBERS] for bar in known]
                    if on_page == [[getattr(bar, name) for name in NUMBERS] for bar in bars]:
                        break
            assert page.problems == []
