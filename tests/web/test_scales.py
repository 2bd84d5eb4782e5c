"""Price scales of the chart: where bars and lines stand on each, and percents equal to the client's bars."""

import math
from decimal import Decimal
from typing import Any

import pytest
import trio

from candled.client import Bar
from candled.domain.interval import MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar, serving_both
from tests.web.test_chart_page import opened

SIGHT = "candled.chart.timeScale().getVisibleLogicalRange()"
RANGE = "candled.chart.priceScale('right').getVisibleRange()"
MODE = "candled.chart.priceScale('right').options().mode"
LINEAR, LOGARITHMIC, PERCENT = 0, 1, 2


@pytest.fixture
def stand() -> Stand:
    stand = Stand()
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(400, 0, -1)))
    return stand


async def places_of(page: Page, *prices: float) -> list[float]:
    """Where prices are on the screen, all at one moment."""
    found: list[float] = await page.evaluate(f"[{', '.join(map(str, prices))}].map(price => candled.place(price))")
    return found


async def in_sight(page: Page, bars: list[Bar]) -> list[Bar]:
    sight: dict[str, Any] = await page.evaluate(SIGHT)
    return bars[max(0, math.floor(sight["from"])) : math.ceil(sight["to"]) + 1]


async def test_logarithmic_scale_shows_ratios(page: Page, stand: Stand) -> None:
    """Each doubling takes the same room; on the linear scale each step of a price does."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            places = await places_of(page, 50_000, 100_000, 150_000, 200_000)
            assert places[0] - places[1] == pytest.approx(places[2] - places[3])
            await page.press("l")
            await page.wait_for(f"{MODE} === {LOGARITHMIC} && location.hash === '#BTCUSDT/1m?scale=log'")
            places = await places_of(page, 50_000, 100_000, 200_000)
            assert places[0] - places[1] == pytest.approx(places[1] - places[2])


async def test_percents_count_from_the_left(page: Page, stand: Stand) -> None:
    """The scale and the legend agree with the client's closes, and follow when one scrolls."""
    base, since = (f"document.getElementById('value-base{name}').textContent" for name in ("-close", ""))
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address, "#BTCUSDT/1m?scale=percent")
            assert await page.evaluate(MODE) == PERCENT
            bars = list(await client.get_bars("BTCUSDT", "1m"))
            for first in (340.4, 120.7):
                sight = f"{{ from: {first}, to: {first + 40} }}"
                await page.evaluate(f"candled.chart.timeScale().setVisibleLogicalRange({sight})")
                from_bar = bars[int(first)]
                await page.wait_for(f"{base} === '{from_bar.close:,.2f}'")
                hundredths = int((bars[-1].close - from_bar.close) * 10_000 / from_bar.close)
                sign = "−" if hundredths < 0 else "+" if hundredths > 0 else ""
                assert await page.evaluate(since) == f"{sign}{Decimal(abs(hundredths)) / 100:.2f} %"
                seen = await in_sight(page, bars)
                span = await page.evaluate(RANGE)
                lowest, highest = min(bar.low for bar in seen), max(bar.high for bar in seen)
                assert span["from"] == pytest.approx(float((lowest / from_bar.close - 1) * 100))
                assert span["to"] == pytest.approx(float((highest / from_bar.close - 1) * 100))
            assert page.problems == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0.00%"),
        (-0.001, "0.00%"),
        (-0.005001, "−0.01%"),
        (0.1, "0.10%"),
        (-12.345, "−12.35%"),
        (1234.5, "1234.50%"),
    ],
)
async def test_axis_percents_without_minus_zero(page: Page, stand: Stand, number: float, text: str) -> None:
    """Labels have two decimals, and the line that percents count from has no sign."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address, "#BTCUSDT/1m?scale=percent")
            label = await page.evaluate(f"candled.chart.options().localization.percentageFormatter({number})")
            assert label == text


@pytest.mark.parametrize("scale", ["linear", "log", "percent"])
async def test_lines_lie_on_the_candles_scale(page: Page, stand: Stand, scale: str) -> None:
    """Lines share the candles' scale: in the picture a line is where the closes are, percents or not."""
    drawn = "candled.lines()[0]"
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address, f"#BTCUSDT/1m?sma=1&scale={scale}")
            bars = await client.get_bars("BTCUSDT", "1m")
            await page.wait_for(f"{drawn}.length > 50")
            newest = bars[-40:]
            closes = ", ".join(str(bar.close) for bar in newest)
            first = len(bars) - len(newest)
            line, expected = await page.evaluate(
                f"[{drawn}, [{closes}].map((close, i) =>"
                f" [candled.chart.timeScale().logicalToCoordinate({first} + i), candled.place(close)])]"
            )
            places = dict(line)
            assert [places[x] for x, _ in expected] == pytest.approx([y for _, y in expected])


async def test_scale_is_remembered_and_named(page: Page, stand: Stand) -> None:
    """There after a reload without the link, and said to readers of the screen."""
    label = "document.getElementById('scale').getAttribute('aria-label')"
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            assert await page.evaluate(label) == "Lin: price scale linear; change"
            await page.evaluate("document.getElementById('scale').click()")
            await page.evaluate("document.getElementById('scale').click()")
            await page.open("about:blank")
            await opened(page, address)
            assert await page.evaluate(label) == "%: price scale percent; change"
            await page.press("l")
            await page.wait_for(f"{MODE} === {LINEAR} && location.hash === '#BTCUSDT/1m'")


@pytest.mark.slow
async def test_wide_bars_with_marks_keep_their_height(page: Page, stand: Stand) -> None:
    """In a low chart marks of wide bars leave the candles two fifths of its height, and their own room beneath."""
    stand.stored.add(
        made_up_bar(open_time=NOW - 3 * MINUTE, revision=1),
        made_up_bar(open_time=NOW - 2 * MINUTE, complete=False),
    )
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(740, 330)
            await opened(page, address)
            await page.wait_for("candled.marks().length === 2")
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({ from: 390, to: 402 })")
            await page.wait_for("candled.chart.timeScale().options().barSpacing > 40")
            bars = "candled.panes()[0].seen"
            high, low = f"Math.max(...{bars}.map(bar => +bar.high))", f"Math.min(...{bars}.map(bar => +bar.low))"
            height = "candled.chart.panes()[0].getHeight()"
            await page.wait_for(f"candled.place({low}) - candled.place({high}) > 0.38 * {height}")
            assert await page.evaluate(f"{height} - candled.place({low})") > 12


@pytest.mark.parametrize("where", ["#BTCUSDT/1m", "#BTCUSDT/1m?sma=9&ema=20&volume=9&scale=percent"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
async def test_candles_keep_clear_of_legend(page: Page, stand: Stand, width: int, height: int, where: str) -> None:
    """The highest one in sight begins beneath the text, however many lines that has."""
    bottom = "(legend => legend.offsetTop + legend.offsetHeight)(document.getElementById('legend'))"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(width, height)
            await opened(page, address, where)
            highest = "Math.max(...candled.panes()[0].seen.map(bar => Number(bar.high)))"
            await page.wait_for(f"candled.place({highest}) >= {bottom}")
