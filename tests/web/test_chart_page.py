"""The chart in headless Chromium, on a hub and a history in memory."""

import hashlib
import re
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest
import trio

import candled.stream.web
from candled.domain.event import BarEventKind
from candled.domain.interval import MINUTE
from candled.domain.numbers import format_units
from tests.web.stand import NOW, Stand, made_up_bar

STATIC = Path(candled.stream.web.__file__).parent / "static"


@pytest.fixture
def stand() -> Stand:
    stand = Stand()
    for symbol in stand.symbols:
        stand.stored.add(*(made_up_bar(symbol, NOW - ago * MINUTE) for ago in range(700, 0, -1)))
    return stand


async def opened(page, address, where=""):
    """Go to the chart and wait until it shows bars, live."""
    await page.open(f"http://{address}/{where}")
    await page.wait_for("document.body.dataset.state === 'live' && window.candled && candled.drawn().length > 0")


async def shown(page, ago):
    """What is drawn of the minute that began ``ago`` minutes before now: open, high, low, close."""
    time = (NOW - ago * MINUTE) // 1_000_000
    return await page.evaluate(
        f"candled.drawn().filter(p => p.time === {time}).map(p => [p.open, p.high, p.low, p.close])[0] ?? null"
    )


def floats(bar):
    return [float(format_units(units)) for units in (bar.open, bar.high, bar.low, bar.close)]


async def test_candles_are_the_stored_bars(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            known = await page.evaluate("candled.bars()")
            assert len(known) == 500
            for told in known:
                bar = stand.stored.rows["BTCUSDT", told["open_time"] * 1000]
                assert [told[name] for name in ("open", "high", "low", "close", "volume")] == [
                    format_units(units) for units in (bar.open, bar.high, bar.low, bar.close, bar.volume)
                ]
            for ago in (1, 2, 3, 500):
                assert await shown(page, ago) == floats(stand.stored.rows["BTCUSDT", NOW - ago * MINUTE])
            assert page.problems == []


async def test_the_forming_bar_moves_on_each_trade_and_the_legend_is_exact(page, stand) -> None:
    bar = made_up_bar(closed=False, complete=False, close=9_612_345_000_000, high=9_700_000_000_000, trade_count=1)
    with trio.fail_after(40):
        async with stand.serving() as address:
            stand.tell(bar)
            await opened(page, address)
            await page.wait_for("document.getElementById('value-close').textContent === '96,123.45'")
            stand.tell(msgspec.structs.replace(bar, close=9_612_346_000_000, volume=712, trade_count=2))
            await page.wait_for("document.getElementById('value-close').textContent === '96,123.46'")
            assert await page.evaluate("document.getElementById('value-volume').textContent") == "0.00000712"
            assert (await shown(page, 0))[3] == 96123.46
            stand.tell(msgspec.structs.replace(bar, closed=True, complete=True, trade_count=2))
            await page.wait_for("candled.bars().at(-1).closed")
            assert page.problems == []


async def test_an_incomplete_bar_is_marked_until_it_is_repaired_on_screen(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            stand.tell(made_up_bar(complete=False))
            await page.wait_for("document.getElementById('legend-marks').textContent === 'not proven complete'")
            repaired = made_up_bar(seed=1, revision=1)
            stand.tell(repaired, BarEventKind.REVISION)
            await page.wait_for("document.getElementById('legend-marks').textContent === 'revision 1'")
            assert await shown(page, 0) == floats(repaired)


async def test_a_revision_of_an_older_bar_replaces_it(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            revised = made_up_bar(open_time=NOW - 10 * MINUTE, seed=1, revision=1)
            stand.tell(revised, BarEventKind.REVISION)
            await page.wait_for("candled.bars().at(-10).revision === 1")
            assert await shown(page, 10) == floats(revised)
            assert page.problems == []


async def test_older_bars_come_by_scrolling_back(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({from: 0, to: 60})")
            await page.wait_for("candled.drawn().length === 700")
            assert await shown(page, 700) == floats(stand.stored.rows["BTCUSDT", NOW - 700 * MINUTE])


async def test_another_symbol_and_interval_by_address_and_by_button(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address, "#ETHUSDT/1m")
            assert await page.evaluate("document.getElementById('legend-symbol').textContent") == "ETHUSDT"
            await page.evaluate("[...document.querySelectorAll('#symbols button')].at(-1).click()")
            await page.wait_for("candled.bars().at(0)?.symbol === 'PEPEUSDT'")
            await page.evaluate("[...document.querySelectorAll('#intervals button')][1].click()")
            await page.wait_for("location.hash === '#PEPEUSDT/3m' && candled.bars().length === 0")
            stand.tell(made_up_bar("PEPEUSDT", interval="3m"))
            await page.wait_for("candled.bars().length === 1")
            assert page.problems == []


async def test_it_says_so_and_recovers_when_the_daemon_restarts(page, stand) -> None:
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(made_up_bar())
        async with stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live'")
            await page.wait_for(f"candled.bars().at(-1).open_time === {NOW // 1000}")
            assert await shown(page, 0) == floats(made_up_bar())


async def test_it_says_since_when_the_daemon_is_silent(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        notice = await page.evaluate("document.getElementById('notice').textContent")
        assert re.fullmatch(
            r"No news from the daemon since \d\d:\d\d:\d\d UTC: the chart may be out of date\.", notice
        )


async def test_a_symbol_without_bars_says_what_it_waits_for(page, stand) -> None:
    stand.stored.rows.clear()
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for(
                "document.getElementById('empty').textContent"
                " === 'No 1m bar of BTCUSDT yet: the next trade begins one.'"
            )
            assert await page.evaluate("document.getElementById('legend-prices').hidden")
            stand.tell(made_up_bar(closed=False, complete=False))
            await page.wait_for("document.getElementById('empty').hidden")


async def test_while_the_daemon_starts_it_says_so_and_goes_on_by_itself(page, stand) -> None:
    stand.starting = True
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for(
                "document.getElementById('notice').textContent.startsWith('The daemon is starting')"
            )
            stand.starting = False
            await page.wait_for("candled.drawn().length > 0 && document.getElementById('notice').hidden")


async def test_a_bar_that_ends_where_it_began_has_no_sign(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            stand.tell(made_up_bar(close=made_up_bar().open))
            await page.wait_for("document.getElementById('value-change').textContent === '0.00 %'")


async def test_it_says_that_the_exchange_is_away_and_why_the_daemon_is_not_ready(page, stand) -> None:
    stand.live, stand.not_ready_reasons = False, ("No stream is connected for BTCUSDT.",)
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("document.body.dataset.state === 'stale'")
            assert (
                await page.evaluate("document.getElementById('notice').textContent") == stand.not_ready_reasons[0]
            )


async def test_the_crosshair_shows_the_bar_beneath_it(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            time = (NOW - 20 * MINUTE) // 1_000_000
            x = await page.evaluate(f"candled.chart.timeScale().timeToCoordinate({time})")
            await page.move_mouse(x, 300)
            bar = stand.stored.rows["BTCUSDT", NOW - 20 * MINUTE]
            count = f"{bar.trade_count:,}"
            await page.wait_for(f"document.getElementById('value-trade_count').textContent === '{count}'")
            ids = await page.evaluate("document.getElementById('value-ids').textContent")
            assert ids == f"{bar.first_trade_id}–{bar.last_trade_id}"


async def test_arrow_keys_read_bar_by_bar(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.evaluate("document.getElementById('chart').focus()")
            for key, ago in (("ArrowLeft", 1), ("ArrowLeft", 2), ("Home", 500), ("ArrowRight", 499)):
                await page.press(key)
                bar = stand.stored.rows["BTCUSDT", NOW - ago * MINUTE]
                await page.wait_for(
                    "document.getElementById('value-ids').textContent"
                    f" === '{bar.first_trade_id}–{bar.last_trade_id}'"
                )
            said = await page.evaluate("document.getElementById('reading').textContent")
            assert f"close {format_units(bar.close)}" in said
            stand.tell(made_up_bar(closed=False, complete=False))
            await page.press("Escape")
            await page.wait_for("document.getElementById('legend-marks').textContent === 'forming'")
            assert page.problems == []


async def test_a_tab_in_the_background_shows_the_price_only_while_it_is_live(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for("document.title.endsWith(' BTCUSDT · candled')")
            assert (
                float((await page.evaluate("document.title")).split()[0].replace(",", ""))
                == floats(stand.stored.rows["BTCUSDT", NOW - MINUTE])[-1]
            )
        await page.wait_for("document.title === '(not live) BTCUSDT · candled'")


async def test_after_a_break_it_is_live_only_with_the_newest_bars(page, stand) -> None:
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.hold()
        async with stand.serving(address):
            await page.wait_for("document.getElementById('connection-text').textContent === 'loading bars'")
            assert await page.evaluate("document.body.dataset.state") == "connecting"
            stand.stored.release()
            await page.wait_for("document.body.dataset.state === 'live'")


async def test_a_reader_hears_of_a_change_of_state_but_not_of_each_lag(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            spoken = "document.querySelector('[role=status]').textContent"
            await page.wait_for("document.getElementById('connection-text').textContent === 'live · lag 3 ms'")
            assert await page.evaluate(spoken) == "live"
            stand.live = False
            await page.wait_for(f"{spoken} === 'exchange stream not live'")


async def test_it_follows_the_systems_dark_or_light_and_a_click_changes_it(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            background = "getComputedStyle(document.body).backgroundColor"
            dark = await page.evaluate(background)
            await page.prefer("light")
            await page.wait_for(f"{background} === 'rgb(255, 255, 255)'")
            await page.evaluate("document.getElementById('theme').click()")
            await page.wait_for(f"{background} === '{dark}'")


async def test_on_a_phone_nothing_is_wider_than_the_screen(page, stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(360, 700, phone=True)
            await opened(page, address)
            assert await page.evaluate("document.documentElement.scrollWidth") == 360
            assert await page.evaluate("document.getElementById('chart').clientHeight") > 250


def test_the_chart_library_is_the_one_that_was_pinned() -> None:
    html = (STATIC / "index.html").read_text()
    match = re.search(r'src="(vendor/[^"]+)" integrity="sha384-([^"]+)"', html)
    assert match is not None
    digest = hashlib.sha384((STATIC / match[1]).read_bytes()).digest()
    assert b64encode(digest).decode() == match[2]


def test_the_page_loads_nothing_from_outside_and_names_the_charts_maker() -> None:
    for path in STATIC.glob("*.*"):
        links = set(re.findall(r"https?://[^\s\"'<)]+", path.read_text()))
        assert links <= {"https://www.tradingview.com/", "http://www.w3.org/2000/svg"}
    assert "TradingView, Inc." in (STATIC / "index.html").read_text()
