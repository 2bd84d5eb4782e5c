"""Going to a time, time zones, and the keyboard."""

from datetime import datetime
from typing import Any

import pytest
import trio

from candled.client import Bar
from candled.client.trio_client import TrioClient
from candled.domain.interval import DAY, MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar, serving_both
from tests.web.test_chart_page import opened

LEGEND_TIME = "document.getElementById('legend-time').textContent"
FIELDS = ("open", "high", "low", "close", "volume")
NOTICE = "document.getElementById('notice').textContent"


@pytest.fixture
def stand() -> Stand:
    stand = Stand()
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(3000, 0, -1)))
    return stand


async def go_to(page: Page, typed: str) -> None:
    await page.press("g")
    await page.wait_for("document.getElementById('goto').open")
    await page.evaluate(f"document.getElementById('goto-time').value = {typed!r}")
    await page.evaluate("document.querySelector('#goto [value=go]').click()")


async def of_client(client: TrioClient, start: datetime, end: datetime) -> list[Bar]:
    return await client.get_bars("BTCUSDT", "1m", start, end)


def rows(bars: list[Bar]) -> list[list[Any]]:
    """Times in milliseconds and numbers as text, as the page has them."""
    return [
        [int(bar.open_time.timestamp()) * 1000, *(f"{getattr(bar, name):.8f}" for name in FIELDS)] for bar in bars
    ]


async def known(page: Page) -> list[list[Any]]:
    """What the page has of each bar, oldest first."""
    found: list[list[Any]] = await page.evaluate(
        f"candled.bars().map(bar => [bar.open_time, ...{list(FIELDS)}.map(name => bar[name])])"
    )
    return found


async def legend(page: Page) -> list[str]:
    """The numbers that are said of the bar that is read, without separators."""
    found: list[str] = await page.evaluate(
        f"{list(FIELDS)}.map(name => document.getElementById('value-' + name).textContent.replaceAll(',', ''))"
    )
    return found


async def middle(page: Page) -> int:
    """Open time in ms of the bar in the middle of the chart."""
    return int(
        await page.evaluate(
            "(() => { const { from, to } = candled.chart.timeScale().getVisibleLogicalRange();"
            " return candled.bars()[Math.round((from + to) / 2)].open_time })()"
        )
    )


async def zone(page: Page, name: str) -> Any:
    return await page.call("Emulation.setTimezoneOverride", timezoneId=name)


async def test_a_date_and_time_is_gone_to(page: Page, stand: Stand) -> None:
    """Bars back to that time are loaded, and its bar is in the middle and read out."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await go_to(page, "2026-05-15T10:30")
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-15 10:30'")
            span = "candled.chart.timeScale().getVisibleRange()"
            middle = f"({span}.from + {span}.to) / 2"
            await page.wait_for(f"Math.abs({middle} - Date.UTC(2026, 4, 15, 10, 30) / 1000) < 180")
            await page.press("n")
            await page.wait_for("candled.chart.timeScale().scrollPosition() > 0")
            assert page.problems == []


def at(typed: str) -> datetime:
    return datetime.fromisoformat(f"{typed}+00:00")


@pytest.mark.slow
async def test_bar_gone_to_equals_the_clients(page: Page, stand: Stand) -> None:
    """The bar that is read out has the client's numbers, and so has every bar that was loaded on the way."""
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            await go_to(page, "2026-05-15T10:30")
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-15 10:30'")
            (bar,) = await of_client(client, at("2026-05-15T10:30"), at("2026-05-15T10:31"))
            assert [float(text) for text in await legend(page)] == [float(getattr(bar, name)) for name in FIELDS]
            loaded = await known(page)
            assert loaded == rows(await client.get_bars("BTCUSDT", "1m", limit=len(loaded)))


@pytest.fixture
def long_stand() -> Stand:
    """A day of a year ago, and nothing between it and the newest 600 minutes."""
    stand = Stand()
    for start, count in ((NOW - 365 * DAY, 1440), (NOW - 600 * MINUTE, 600)):
        stand.stored.add(*(made_up_bar(open_time=start + i * MINUTE) for i in range(count)))
    return stand


FAR = "2025-05-17T18:40"
"""Twelve hours after the first bar."""


async def test_far_time_loads_bars_around_it(page: Page, long_stand: Stand) -> None:
    """Those there are the client's without a hole, few, and the present stays live where it is shown."""
    long_stand.emit(made_up_bar(closed=False, complete=False, trade_count=1))
    with trio.fail_after(60):
        async with serving_both(long_stand) as (address, client):
            await opened(page, address)
            await go_to(page, FAR)
            await page.wait_for(f"{LEGEND_TIME} === '{FAR.replace('T', ' ')}'")
            assert await middle(page) == int(at(FAR).timestamp()) * 1000
            expected = await of_client(client, at("2025-05-17T06:40"), at("2025-05-18T03:00"))
            assert await known(page) == rows(expected)
            (bar,) = await of_client(client, at("2025-05-17T18:40"), at("2025-05-17T18:41"))
            assert [float(text) for text in await legend(page)] == [float(getattr(bar, name)) for name in FIELDS]
            long_stand.emit(
                made_up_bar(closed=False, complete=False, close=9_612_345_000_000, trade_count=2, volume=712)
            )
            await page.wait_for("document.title.startsWith('96,123.45 BTCUSDT')")
            assert len(await known(page)) == len(expected)
            await page.press("Escape")
            assert page.problems == []


@pytest.mark.slow
async def test_newest_bars_return_after_a_far_time(page: Page, long_stand: Stand) -> None:
    """A key leads back, the forming bar and those closed meanwhile included."""
    with trio.fail_after(60):
        async with serving_both(long_stand) as (address, client):
            await opened(page, address)
            await go_to(page, FAR)
            await page.wait_for(f"{LEGEND_TIME} === '{FAR.replace('T', ' ')}'")
            assert not await page.evaluate("document.getElementById('newest').hidden")
            closed, forming = made_up_bar(), made_up_bar(open_time=NOW + MINUTE, closed=False, complete=False)
            long_stand.emit(closed)
            long_stand.emit(forming)
            await page.press("n")
            await page.wait_for(f"candled.bars().at(-1).open_time === {forming.open_time // 1000}")
            await page.wait_for("document.getElementById('newest').hidden")
            loaded = (await known(page))[:-1]
            assert loaded[-1][0] == closed.open_time // 1000
            assert loaded == rows(await client.get_bars("BTCUSDT", "1m", limit=len(loaded)))
            assert page.problems == []


@pytest.mark.slow
async def test_scrolling_forward_reaches_the_newest(page: Page, long_stand: Stand) -> None:
    """Page by page and over what the history lacks, and one stays at one's place while they come."""
    whole = sorted(time // 1000 for _, time in long_stand.stored.rows)
    end = "candled.chart.timeScale().setVisibleLogicalRange({{from: {0} - 100, to: {0} - 1}})"
    with trio.fail_after(90):
        async with long_stand.serving() as address:
            await opened(page, address)
            await go_to(page, FAR)
            await page.wait_for(f"{LEGEND_TIME} === '{FAR.replace('T', ' ')}'")
            while True:
                count = await page.evaluate("candled.bars().length")
                last = await page.evaluate("candled.bars().at(-1).open_time")
                if last == whole[-1]:
                    break
                await page.evaluate(end.format(count))
                await page.wait_for(f"candled.bars().length > {count}")
                shown = "candled.chart.timeScale().getVisibleRange().to * 1000"
                await page.wait_for(f"Math.abs({shown} - {last}) <= 120_000")
            assert [time for time, *_ in await known(page)] == whole
            assert page.problems == []


@pytest.mark.slow
async def test_far_time_outlives_a_reconnect(page: Page, long_stand: Stand) -> None:
    """The daemon comes back, and one still reads the past, with what was revised meanwhile."""
    revised = made_up_bar(open_time=NOW - 365 * DAY + 700 * MINUTE, seed=1, revision=1)
    with trio.fail_after(90):
        async with long_stand.serving() as address:
            await opened(page, address)
            await go_to(page, FAR)
            await page.wait_for(f"{LEGEND_TIME} === '{FAR.replace('T', ' ')}'")
            before = await known(page)
        await page.wait_for("document.body.dataset.state === 'lost'")
        long_stand.stored.add(revised)
        async with serving_both(long_stand) as (_, client), long_stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live'")
            await page.wait_for("candled.bars().some(bar => bar.revision === 1)")
            after = await known(page)
            assert [time for time, *_ in after] == [time for time, *_ in before]
            assert after == rows(await of_client(client, at("2025-05-17T06:40"), at("2025-05-18T03:00")))
            assert await middle(page) == int(at(FAR).timestamp()) * 1000


@pytest.mark.slow
async def test_time_before_all_bars_shows_the_first(page: Page, long_stand: Stand) -> None:
    """The beginning is found without loading what is between."""
    with trio.fail_after(60):
        async with long_stand.serving() as address:
            await opened(page, address)
            await go_to(page, "2020-01-01T00:00")
            await page.wait_for(f"{NOTICE} === 'The first bar is of 2025-05-17 06:40.'")
            assert (await known(page))[0][0] == (NOW - 365 * DAY) // 1000
            assert len(await known(page)) < 2000


async def test_time_before_the_first_bar_is_named(page: Page, stand: Stand) -> None:
    """What cannot be shown is named, with what there is."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await go_to(page, "2020-01-01T00:00")
            await page.wait_for(f"{NOTICE} === 'The first bar is of 2026-05-15 04:40.'")


async def test_times_are_local_on_request(page: Page, stand: Stand) -> None:
    """Legend, footer, link and the dialog speak in the zone chosen, and it is remembered."""
    await zone(page, "Asia/Kolkata")
    stand.emit(made_up_bar(closed=False, complete=False))
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17 06:40'")
            await page.press("z")
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17 12:10'")
            assert await page.evaluate("location.hash") == "#BTCUSDT/1m?tz=local"
            assert "Asia/Calcutta" in await page.evaluate(
                "document.querySelector('.utc').textContent.replace('Kolkata', 'Calcutta')"
            )
            await go_to(page, "2026-05-17T02:30")
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17 02:30'")
            assert await page.evaluate("document.getElementById('reading').textContent.slice(0, 16)") == (
                "2026-05-17 02:30"
            )
            await page.open("about:blank")
            await opened(page, address)
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17 12:10'")
            await page.press("z")
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17 06:40'")
            assert await page.evaluate("location.hash") == "#BTCUSDT/1m"


async def test_a_day_keeps_its_date_in_every_zone(page: Page, stand: Stand) -> None:
    """Bars of a day are days of UTC: their date does not move with the zone."""
    await zone(page, "America/Los_Angeles")
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/#BTCUSDT/1d?tz=local")
            await page.wait_for("window.candled && document.body.dataset.state === 'live'")
            start = NOW - NOW % DAY
            stand.emit(made_up_bar(open_time=start, close_time=start + DAY, interval="1d", closed=False))
            await page.wait_for(f"{LEGEND_TIME} === '2026-05-17'")


async def test_the_help_lists_keys_that_work(page: Page, stand: Stand) -> None:
    """A question mark opens the sheet, Escape closes it; each listed letter does something."""
    opens = "document.querySelector('dialog[open]')?.id ?? ''"
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("?")
            await page.wait_for(f"({opens}) === 'help'")
            keys = await page.evaluate("[...document.querySelectorAll('#help kbd')].map(key => key.textContent)")
            assert set("igzt[]n+-") <= set(keys)
            await page.evaluate("document.querySelector('#help [type=submit]').click()")
            await page.wait_for(f"({opens}) === ''")
            await page.press("]")
            await page.wait_for("location.hash === '#ETHUSDT/1m'")
            await page.press("[")
            await page.wait_for("location.hash === '#BTCUSDT/1m'")
            theme = await page.evaluate("document.documentElement.dataset.theme")
            await page.press("t")
            await page.wait_for(f"document.documentElement.dataset.theme !== '{theme}'")
            assert page.problems == []


@pytest.mark.slow
async def test_help_opens_at_its_beginning(page: Page, stand: Stand) -> None:
    """On a phone the sheet is longer than the screen: one begins to read at its heading."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(320, 568, phone=True)
            await opened(page, address)
            await page.press("?")
            await page.wait_for("document.getElementById('help').open")
            height = await page.evaluate(
                "(sheet => sheet.scrollHeight - sheet.clientHeight)(document.getElementById('help'))"
            )
            assert height > 100
            top = await page.evaluate("document.getElementById('help-title').getBoundingClientRect().top")
            assert 0 <= top < 100


async def test_keys_typed_into_a_field_are_text(page: Page, stand: Stand) -> None:
    """While a dialog is open, letters do not command the chart."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("g")
            await page.wait_for("document.getElementById('goto').open")
            await page.press("z")
            await page.press("]")
            assert await page.evaluate("location.hash") == ""
