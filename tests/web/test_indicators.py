"""Indicators of the chart: exact against fractions, on the forming bar too, and what the page shows of them."""

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec
import pytest
import trio

from candled.domain.bar import Bar
from candled.domain.event import BarEventKind
from candled.domain.interval import DAY, MINUTE
from candled.stream.web.forms import bar_form
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar
from tests.web.test_chart_page import opened

UNIT = 10**8
MIDNIGHT = NOW - NOW % DAY
ALL = "#BTCUSDT/1m?sma=3&ema=4&vwap=&volume=5"

Values = list[str | None]


def nearest(value: Fraction) -> str:
    """A fraction of units as text with eight decimals, halves away from zero."""
    units = int(value + Fraction(1, 2)) if value >= 0 else -int(-value + Fraction(1, 2))
    return f"{units // UNIT}.{units % UNIT:08}"


def mean(numbers: Sequence[int], period: int) -> Values:
    return [
        nearest(Fraction(sum(numbers[end - period : end]), period)) if end >= period else None
        for end in range(1, len(numbers) + 1)
    ]


def exponential(numbers: Sequence[int], period: int) -> Values:
    """With every fraction kept: the page's own sixteen decimals must not be seen in eight."""
    values: Values = [None] * (period - 1)
    average = Fraction(sum(numbers[:period]), period)
    values.append(nearest(average))
    for number in numbers[period:]:
        average += (number - average) * Fraction(2, period + 1)
        values.append(nearest(average))
    return values


def weighted(bars: Sequence[Bar]) -> Values:
    values: Values = []
    session, quote, volume = -1, 0, 0
    for bar in bars:
        if bar.open_time // DAY != session:
            if session < 0 and bar.open_time % DAY:
                values.append(None)
                continue
            session, quote, volume = bar.open_time // DAY, 0, 0
        quote, volume = quote + bar.quote_volume, volume + bar.volume
        values.append(nearest(Fraction(quote * UNIT, volume)) if volume else None)
    return values


def bars_from(start: int, count: int) -> list[Bar]:
    return [made_up_bar(open_time=start + index * MINUTE) for index in range(count)]


async def folded(page: Page, make: str, bars: Sequence[Bar]) -> Any:
    """The values of an indicator of the page's own module."""
    forms = json.dumps([bar_form(bar) for bar in bars])
    return await page.evaluate(
        "Promise.all([import('./indicators.js'), import('./numbers.js')])"
        ".then(([{ sma, ema, vwap, volumeAverage, Run }, { text }]) =>"
        f" new Run({make}).all({forms}).map((value) => value === null ? null : text(value)))"
    )


async def test_numbers_as_text(page: Page) -> None:
    """Rounding, grouping and the change in percent are exact where a float would not be."""
    calls = {
        "rounded('96000.12500000', 2)": "96000.13",
        "rounded('90071992547409.93499999', 2)": "90071992547409.93",
        "rounded('0.99500000', 0)": "1",
        "rounded('0.00000001', 8)": "0.00000001",
        "show('1234567.50000000', 2)": "1,234,567.50",
        "show('90071992547409.93000001', 0)": "90,071,992,547,409.93000001",
        "changeInPercent('3.00000000', '2.00000000')": "−33.33 %",
        "changeInPercent('100.00000000', '100.05000000')": "+0.05 %",
        "changeInPercent('0.00000000', '1.00000000')": "",
    }
    with trio.fail_after(40):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            for call, expected in calls.items():
                code = f"import('./numbers.js').then(({{ rounded, show, changeInPercent }}) => {call})"
                assert await page.evaluate(code) == expected, call


@pytest.mark.parametrize("period", [1, 2, 3, 20, 51])
async def test_averages_are_exact(page: Page, period: int) -> None:
    """Simple averages and the exponential one agree with fractions in every digit, over two days."""
    bars = bars_from(MIDNIGHT - 100 * MINUTE, 300)
    closes, volumes = [bar.close for bar in bars], [bar.volume for bar in bars]
    with trio.fail_after(40):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("window.candled")
            assert await folded(page, f"sma({period})", bars) == mean(closes, period)
            assert await folded(page, f"volumeAverage({period})", bars) == mean(volumes, period)
            assert await folded(page, f"ema({period})", bars) == exponential(closes, period)


async def test_a_session_begins_at_midnight(page: Page) -> None:
    """The price weighted by volume begins anew each day, and has no value before the first beginning."""
    bars = bars_from(MIDNIGHT - 100 * MINUTE, 300)
    bars[150] = msgspec.structs.replace(bars[150], volume=0, quote_volume=0)
    bars[100] = msgspec.structs.replace(bars[100], volume=0, quote_volume=0)
    with trio.fail_after(40):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("window.candled")
            values = await folded(page, "vwap()", bars)
            assert values == weighted(bars)
            assert values[:101] == [None] * 101
            assert None not in values[101:]


async def test_average_needs_its_period(page: Page) -> None:
    """Fewer bars have no value, and none is made up."""
    bars = bars_from(MIDNIGHT, 4)
    with trio.fail_after(40):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("window.candled")
            assert await folded(page, "sma(5)", bars) == [None] * 4
            assert await folded(page, "ema(5)", bars) == [None] * 4
            assert await folded(page, "sma(4)", []) == []


async def shown(page: Page, time: int) -> dict[str, str | None]:
    values = await page.evaluate(f"candled.indicators({time // 1000})")
    return {value["name"]: value["value"] for value in values}


def expected(bars: Sequence[Bar]) -> dict[str, str | None]:
    closes = [bar.close for bar in bars]
    return {
        "sma": mean(closes, 3)[-1],
        "ema": exponential(closes, 4)[-1],
        "vwap": weighted(bars)[-1],
        "volume": mean([bar.volume for bar in bars], 5)[-1],
    }


async def test_the_forming_bar_and_revisions_move_them(page: Page) -> None:
    """Every trade, the next bar and a revision of an older one give the values that all bars have then."""
    stand = Stand()
    bars = bars_from(MIDNIGHT, (NOW - MIDNIGHT) // MINUTE)
    stand.stored.add(*bars)
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address, ALL)
            await page.wait_for(f"candled.bars()[0].open_time === {MIDNIGHT // 1000}")
            assert await shown(page, NOW - MINUTE) == expected(bars)
            for trades in (1, 2, 3):
                forming = made_up_bar(seed=trades, closed=False, complete=False, trade_count=trades)
                stand.emit(forming)
                await page.wait_for(f"candled.bars().at(-1).trade_count === {trades}")
                assert await shown(page, NOW) == expected([*bars, forming])
            bars.append(made_up_bar(seed=3))
            stand.emit(bars[-1])
            bars.append(made_up_bar(open_time=NOW + MINUTE))
            stand.emit(bars[-1])
            bars[-3] = made_up_bar(open_time=bars[-3].open_time, seed=9, revision=1)
            stand.emit(bars[-3], BarEventKind.REVISION)
            await page.wait_for("candled.bars().at(-3).revision === 1")
            assert await shown(page, NOW + MINUTE) == expected(bars)
            assert page.problems == []


async def test_the_session_is_loaded_from_its_beginning(page: Page) -> None:
    """Bars since midnight are loaded for it, however many pages they are."""
    stand = Stand()
    start = MIDNIGHT - 3 * DAY
    bars = bars_from(start, 1400)
    stand.stored.add(*bars)
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address, "#BTCUSDT/1m?vwap=")
            await page.wait_for(f"candled.bars()[0].open_time === {start // 1000}")
            assert (await shown(page, bars[-1].open_time))["vwap"] == weighted(bars)[-1]


async def test_a_choice_is_in_the_address_and_remembered(
    page: Page,
) -> None:
    """What is ticked is drawn, said in the legend, put in the link, and there after a reload."""
    stand = Stand()
    stand.stored.add(*bars_from(MIDNIGHT, 60))
    legend = "document.getElementById('legend-indicators').innerText.replace(/\\s+/g, ' ')"
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("i")
            await page.evaluate(
                "(() => { const box = document.querySelector('[name=sma]'); box.click();"
                " const length = box.closest('p').querySelector('[type=number]');"
                " length.value = 7; length.dispatchEvent(new Event('change')); })()"
            )
            assert await page.evaluate("location.hash") == "#BTCUSDT/1m?sma=7"
            await page.evaluate("document.querySelector('#indicators [type=submit]').click()")
            assert not await page.evaluate("document.querySelector('dialog[open]')")
            assert (await page.evaluate(legend)).startswith("SMA 7 ")
            await page.open("about:blank")
            await opened(page, address)
            await page.wait_for(f"{legend}.startsWith('SMA 7 ')")
            assert page.problems == []
