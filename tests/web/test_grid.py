"""Several charts: each equals the client's bars; one crosshair, one time and one stream for all."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from candled.client.trio_client import TrioClient
from candled.domain.interval import DAY, MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, Stored, made_up_bar, serving_both
from tests.web.test_chart_page import opened

pytestmark = pytest.mark.slow

FOUR = "#BTCUSDT/1m,ETHUSDT/5m,BTCUSDT/5m,PEPEUSDT/1m"
CHOICES = [("BTCUSDT", "1m"), ("ETHUSDT", "5m"), ("BTCUSDT", "5m"), ("PEPEUSDT", "1m")]
LOADED = "candled.panes().length === {} && candled.panes().every(pane => pane.feed.loaded && pane.plot.count > 50)"
SPANS = "candled.panes().map(pane => [pane.span.from, pane.span.to])"


@pytest.fixture
def stand() -> Stand:
    stand = Stand(stored=Stored(merges=True))
    for symbol in stand.symbols:
        stand.stored.add(*(made_up_bar(symbol, NOW - ago * MINUTE) for ago in range(900, 0, -1)))
    return stand


async def legend(page: Page, pane: int, name: str) -> str:
    suffix = f"-{pane + 1}" if pane else ""
    text: str = await page.evaluate(f"document.getElementById('{name}{suffix}').textContent")
    return text


async def equal_to_client(page: Page, client: TrioClient, choices: Sequence[tuple[str, str]]) -> None:
    """What each pane draws is what the client has."""
    for pane, (symbol, interval) in enumerate(choices):
        bars = await client.get_bars(symbol, interval, limit=100)
        drawn: list[Any] = await page.evaluate(
            f"candled.panes()[{pane}].plot.candles.data().slice(-100)"
            ".map(p => [p.time, p.open, p.high, p.low, p.close])"
        )
        assert drawn == [
            [bar.open_time.timestamp(), *(float(price) for price in (bar.open, bar.high, bar.low, bar.close))]
            for bar in bars
        ]
        assert f"{bars[-1].close:,.2f}" == await legend(page, pane, "value-close")


async def test_each_chart_has_its_bars(page: Page, stand: Stand) -> None:
    """Four charts of the address equal the client's bars, over one event stream."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address, FOUR + "?list=closed")
            await page.wait_for(LOADED.format(4))
            await equal_to_client(page, client, CHOICES)
            streams = await page.evaluate(
                "performance.getEntriesByType('resource').filter(e => e.initiatorType !== 'fetch'"
                " && e.name.includes('/api/stream')).length"
            )
            assert streams <= 1
            stand.emit(made_up_bar("PEPEUSDT", closed=False, complete=False, trade_count=77))
            await page.wait_for("candled.panes()[3].newest.trade_count === 77")
            assert await legend(page, 3, "legend-marks") == "forming"
            assert page.problems == []


async def test_charts_share_the_time(page: Page, stand: Stand) -> None:
    """Scrolling and zooming one moves the others, whatever their intervals."""
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address, FOUR)
            await page.wait_for(LOADED.format(4))
            for begin, end in ((100, 220), (300, 450)):
                await page.evaluate(
                    f"candled.chart.timeScale().setVisibleLogicalRange({{ from: {begin}, to: {end} }})"
                )
                await page.wait_for(
                    f"(([first, ...others]) => Math.abs(first[0] - candled.bars()[{begin}].open_time) < 1000"
                    f" && others.every(([from, to]) => Math.abs(from - first[0]) < 1000"
                    f" && Math.abs(to - first[1]) < 1000))({SPANS})"
                )


async def test_charts_go_to_a_far_time_together(page: Page, stand: Stand) -> None:
    """A chart of minutes follows one of longer bars over a year, with the client's bars of that time alone."""
    past = NOW - 365 * DAY
    stand.stored.add(*(made_up_bar("BTCUSDT", past + i * MINUTE) for i in range(2880)))
    far = (past + 1440 * MINUTE) // 1000
    with trio.fail_after(90):
        async with serving_both(stand) as (address, client):
            await opened(page, address, "#BTCUSDT/5m,BTCUSDT/1m")
            await page.wait_for(LOADED.format(2))
            await page.evaluate(f"candled.goTo({far})")
            await page.wait_for(f"candled.panes()[1].feed.bars.has({far})")
            await page.wait_for(
                f"({SPANS}).every(([from, to]) => from < {far} && {far} < to && to - from < 2 * 86_400_000)"
            )
            for pane, interval in enumerate(("5m", "1m")):
                times = await page.evaluate(f"candled.panes()[{pane}].feed.sorted().map(bar => bar.open_time)")
                start, end = (datetime.fromtimestamp(time / 1000, UTC) for time in (times[0], times[-1] + 1))
                bars = await client.get_bars("BTCUSDT", interval, start, end)
                drawn = await page.evaluate(
                    f"candled.panes()[{pane}].plot.candles.data().map(p => [p.time * 1000, p.open, p.close])"
                )
                assert drawn == [
                    [int(bar.open_time.timestamp()) * 1000, float(bar.open), float(bar.close)] for bar in bars
                ]
                assert 0 < len(bars) < 3000
            assert page.problems == []


async def test_charts_share_the_crosshair(page: Page, stand: Stand) -> None:
    """Each shows the client's bar of the time that is read in one of them, by keyboard or mouse."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address, FOUR)
            await page.wait_for(LOADED.format(4))
            await page.evaluate("document.getElementById('chart').focus()")
            for _ in range(8):
                await page.press("ArrowLeft")
            await page.wait_for("document.getElementById('legend-time').textContent.endsWith('06:32')")
            for pane, (symbol, interval) in enumerate(CHOICES):
                bar = (await client.get_bars(symbol, interval, limit=8 if interval == "1m" else 2))[0]
                assert await legend(page, pane, "legend-time") == f"{bar.open_time:%Y-%m-%d %H:%M}"
                assert await legend(page, pane, "value-ids") == f"{bar.first_trade_id}–{bar.last_trade_id}"
            await page.press("Escape")
            newest = (await client.get_bars("ETHUSDT", "5m", limit=1))[0]
            assert await legend(page, 1, "legend-time") == f"{newest.open_time:%Y-%m-%d %H:%M}"
            box = "document.getElementById('chart-2').getBoundingClientRect()"
            x = await page.evaluate(
                f"{box}.left + candled.panes()[1].plot.chart.timeScale().logicalToCoordinate(176)"
            )
            await page.move_mouse(x, await page.evaluate(f"{box}.top + 120"))
            await page.wait_for("candled.panes()[2].hovered === candled.panes()[1].feed.sorted()[176].open_time")
            assert await legend(page, 2, "legend-time") == await legend(page, 1, "legend-time")


async def test_controls_act_on_the_active(page: Page, stand: Stand) -> None:
    """The chart that has the focus gets the symbol and the interval, and is named in the address."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address, "#BTCUSDT/1m,ETHUSDT/1m")
            await page.wait_for(LOADED.format(2))
            await page.evaluate("document.getElementById('chart-2').focus()")
            assert await page.evaluate("location.hash") == "#BTCUSDT/1m,ETHUSDT/1m?at=2"
            await page.press("]")
            await page.wait_for("location.hash === '#BTCUSDT/1m,PEPEUSDT/1m?at=2'")
            await page.evaluate("[...document.querySelectorAll('#intervals button')][2].click()")
            await page.wait_for("location.hash === '#BTCUSDT/1m,PEPEUSDT/5m?at=2'")
            await page.wait_for(LOADED.format(2))
            await equal_to_client(page, client, [("BTCUSDT", "1m"), ("PEPEUSDT", "5m")])
            label = "document.getElementById('pane-2').getAttribute('aria-label')"
            assert await page.evaluate(label) == "Chart 2 of 2: PEPEUSDT 5m"
            assert page.problems == []


async def test_more_and_fewer_by_key(page: Page, stand: Stand) -> None:
    """Further charts get further symbols; the active one is what stays, and several are remembered."""
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("2")
            await page.wait_for("location.hash === '#BTCUSDT/1m,ETHUSDT/1m'")
            await page.press("4")
            await page.wait_for("location.hash === '#BTCUSDT/1m,ETHUSDT/1m,PEPEUSDT/1m,PEPEUSDT/5m'")
            await page.wait_for(LOADED.format(4))
            await page.evaluate("document.getElementById('chart-3').focus()")
            await page.open("about:blank")
            await page.open(f"http://{address}/")
            await page.wait_for(LOADED.format(4))
            assert await page.evaluate("candled.bars()[0].symbol") == "PEPEUSDT"
            await page.press("1")
            await page.wait_for("location.hash === '#PEPEUSDT/1m' && candled.panes().length === 1")
            assert await page.evaluate("document.querySelectorAll('.pane').length") == 1
            await page.open("about:blank")
            await opened(page, address)
            assert await page.evaluate("candled.panes().length") == 1
            assert page.problems == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568)])
async def test_charts_stack_on_a_phone(page: Page, stand: Stand, width: int, height: int) -> None:
    """Four are taller than the screen and scroll within the page; nothing is wider."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(width, height, phone=True)
            await opened(page, address, FOUR)
            await page.wait_for("candled.panes().length === 4")
            size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            assert await page.evaluate(size) == [width, height]
            heights = await page.evaluate(
                "[...document.querySelectorAll('.chart')].map(chart => chart.clientHeight)"
            )
            assert min(heights) >= 200


async def test_no_id_repeats(page: Page, stand: Stand) -> None:
    """No id is there twice, and each chart is described to readers of the screen."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address, FOUR)
            await page.wait_for("candled.panes().length === 4")
            ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
            assert len(ids) == len(set(ids))
            described = "[...document.querySelectorAll('.chart')].map(c => c.getAttribute('aria-describedby'))"
            assert set(await page.evaluate(described)) <= set(ids)
