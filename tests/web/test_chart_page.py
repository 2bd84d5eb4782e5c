"""The chart in headless Chromium, on a hub and a history in memory."""

import hashlib
import re
from base64 import b64encode
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import candled.stream.web
from candled.domain.bar import Bar
from candled.domain.event import BarEventKind
from candled.domain.interval import MINUTE
from candled.domain.numbers import format_units
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar

STATIC = Path(candled.stream.web.__file__).parent / "static"


@pytest.fixture
def stand() -> Stand:
    stand = Stand()
    for symbol in stand.symbols:
        stand.stored.add(*(made_up_bar(symbol, NOW - ago * MINUTE) for ago in range(700, 0, -1)))
    return stand


async def opened(page: Page, address: str, where: str = "") -> None:
    """Go to the chart and wait until it shows bars, live."""
    await page.open(f"http://{address}/{where}")
    await page.wait_for("document.body.dataset.state === 'live' && window.candled && candled.drawn().length > 0")


async def shown(page: Page, ago: int) -> Any:
    """What is drawn of the minute that began ``ago`` minutes before now: open, high, low, close."""
    time = (NOW - ago * MINUTE) // 1_000_000
    return await page.evaluate(
        f"candled.drawn().filter(p => p.time === {time}).map(p => [p.open, p.high, p.low, p.close])[0] ?? null"
    )


def floats(bar: Bar) -> list[float]:
    return [float(format_units(units)) for units in (bar.open, bar.high, bar.low, bar.close)]


async def test_candles_are_the_stored_bars(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            known = await page.evaluate("candled.bars()")
            assert len(known) == 500
            for candle in known:
                bar = stand.stored.rows["BTCUSDT", candle["open_time"] * 1000]
                assert [candle[name] for name in ("open", "high", "low", "close", "volume")] == [
                    format_units(units) for units in (bar.open, bar.high, bar.low, bar.close, bar.volume)
                ]
            for ago in (1, 2, 3, 500):
                assert await shown(page, ago) == floats(stand.stored.rows["BTCUSDT", NOW - ago * MINUTE])
            assert page.problems == []


async def test_forming_bar_moves_exactly(page: Page, stand: Stand) -> None:
    """The forming bar moves on each trade, and the legend has every digit."""
    bar = made_up_bar(closed=False, complete=False, close=9_612_345_000_000, high=9_700_000_000_000, trade_count=1)
    with trio.fail_after(40):
        async with stand.serving() as address:
            stand.emit(bar)
            await opened(page, address)
            await page.wait_for("document.getElementById('value-close').textContent === '96,123.45'")
            stand.emit(msgspec.structs.replace(bar, close=9_612_346_000_000, volume=712, trade_count=2))
            await page.wait_for("document.getElementById('value-close').textContent === '96,123.46'")
            assert await page.evaluate("document.getElementById('value-volume').textContent") == "0.00000712"
            assert (await shown(page, 0))[3] == 96123.46
            stand.emit(msgspec.structs.replace(bar, closed=True, complete=True, trade_count=2))
            await page.wait_for("candled.bars().at(-1).closed")
            assert page.problems == []


async def test_incomplete_bar_is_marked(page: Page, stand: Stand) -> None:
    """An incomplete bar is marked until it is repaired on screen."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            stand.emit(made_up_bar(complete=False))
            await page.wait_for("document.getElementById('legend-marks').textContent === 'not proven complete'")
            repaired = made_up_bar(seed=1, revision=1)
            stand.emit(repaired, BarEventKind.REVISION)
            await page.wait_for("document.getElementById('legend-marks').textContent === 'revision 1'")
            assert await shown(page, 0) == floats(repaired)


async def test_a_revision_of_an_older_bar_replaces_it(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            revised = made_up_bar(open_time=NOW - 10 * MINUTE, seed=1, revision=1)
            stand.emit(revised, BarEventKind.REVISION)
            await page.wait_for("candled.bars().at(-10).revision === 1")
            assert await shown(page, 10) == floats(revised)
            assert page.problems == []


async def test_older_bars_come_by_scrolling_back(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({from: 0, to: 60})")
            await page.wait_for("candled.drawn().length === 700")
            assert await shown(page, 700) == floats(stand.stored.rows["BTCUSDT", NOW - 700 * MINUTE])


async def test_symbol_and_interval_can_change(page: Page, stand: Stand) -> None:
    """Another symbol and interval, by address and by button."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address, "#ETHUSDT/1m")
            assert await page.evaluate("document.getElementById('legend-symbol').textContent") == "ETHUSDT"
            await page.evaluate("[...document.querySelectorAll('#symbols button')].at(-1).click()")
            await page.wait_for("candled.bars().at(0)?.symbol === 'PEPEUSDT'")
            await page.evaluate("[...document.querySelectorAll('#intervals button')][1].click()")
            await page.wait_for("location.hash === '#PEPEUSDT/3m' && candled.bars().length === 0")
            stand.emit(made_up_bar("PEPEUSDT", interval="3m"))
            await page.wait_for("candled.bars().length === 1")
            assert page.problems == []


async def test_page_recovers_when_the_daemon_restarts(page: Page, stand: Stand) -> None:
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(made_up_bar())
        async with stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live'")
            await page.wait_for(f"candled.bars().at(-1).open_time === {NOW // 1000}")
            assert await shown(page, 0) == floats(made_up_bar())


async def test_silence_of_the_daemon_is_timed(page: Page, stand: Stand) -> None:
    """The page says since when the daemon is silent."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        notice = await page.evaluate("document.getElementById('notice').textContent")
        found = re.fullmatch(
            r"No news from the daemon since (\d\d:\d\d:\d\d) UTC: the chart may be out of date\.", notice
        )
        assert found is not None
        since = time.fromisoformat(found[1])
        begun = datetime.fromtimestamp(NOW / 1_000_000, UTC)
        assert begun.time() <= since <= (begun + timedelta(seconds=40)).time(), "by the exchange's clock"


async def test_symbol_without_bars(page: Page, stand: Stand) -> None:
    """A symbol without bars says what it waits for."""
    stand.stored.rows.clear()
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for(
                "document.getElementById('empty').textContent"
                " === 'No 1m bar of BTCUSDT yet: the next trade begins one.'"
            )
            assert await page.evaluate("document.getElementById('legend-prices').hidden")
            stand.emit(made_up_bar(closed=False, complete=False))
            await page.wait_for("document.getElementById('empty').hidden")


@pytest.mark.slow
@pytest.mark.parametrize(("units", "label"), [(712, "0.00000712"), (9_612_345_000_000, "96,123.45")])
async def test_first_price_gives_the_axis_its_decimals(page: Page, stand: Stand, units: int, label: str) -> None:
    """A symbol that had no bar when it was opened has the first one's digits on its axis, too."""
    stand.stored.rows.clear()
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("document.getElementById('empty').textContent.startsWith('No 1m bar')")
            prices: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), units)
            stand.emit(made_up_bar(closed=False, complete=False, **prices))
            await page.wait_for("candled.drawn().length === 1")
            price = await page.evaluate(f"candled.panes()[0].plot.candles.priceFormatter().format({units / 1e8})")
            assert price == label


async def test_page_waits_while_the_daemon_starts(page: Page, stand: Stand) -> None:
    stand.starting = True
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for(
                "document.getElementById('notice').textContent.startsWith('The daemon is starting')"
            )
            stand.starting = False
            await page.wait_for("candled.drawn().length > 0 && document.getElementById('notice').hidden")


async def test_unchanged_bar_has_no_sign(page: Page, stand: Stand) -> None:
    """A change of zero has neither plus nor minus."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            stand.emit(made_up_bar(close=made_up_bar().open))
            await page.wait_for("document.getElementById('value-change').textContent === '0.00 %'")


async def test_page_names_why_the_daemon_is_not_ready(page: Page, stand: Stand) -> None:
    stand.live, stand.not_ready_reasons = False, ("No stream is connected for BTCUSDT.",)
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            await page.wait_for("document.body.dataset.state === 'stale'")
            assert (
                await page.evaluate("document.getElementById('notice').textContent") == stand.not_ready_reasons[0]
            )


async def test_the_crosshair_shows_the_bar_beneath_it(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            time = (NOW - 20 * MINUTE) // 1_000_000
            left = "document.getElementById('chart').getBoundingClientRect().left"
            x = await page.evaluate(f"candled.chart.timeScale().timeToCoordinate({time}) + {left}")
            await page.move_mouse(x, 300)
            bar = stand.stored.rows["BTCUSDT", NOW - 20 * MINUTE]
            count = f"{bar.trade_count:,}"
            await page.wait_for(f"document.getElementById('value-trade_count').textContent === '{count}'")
            ids = await page.evaluate("document.getElementById('value-ids').textContent")
            assert ids == f"{bar.first_trade_id}–{bar.last_trade_id}"


async def test_arrow_keys_read_bar_by_bar(page: Page, stand: Stand) -> None:
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
            stand.emit(made_up_bar(closed=False, complete=False))
            await page.press("Escape")
            await page.wait_for("document.getElementById('legend-marks').textContent === 'forming'")
            assert page.problems == []


async def test_background_tab_shows_live_prices(page: Page, stand: Stand) -> None:
    """The title has the price only while the chart is live."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for("document.title.endsWith(' BTCUSDT · candled')")
            assert (
                float((await page.evaluate("document.title")).split()[0].replace(",", ""))
                == floats(stand.stored.rows["BTCUSDT", NOW - MINUTE])[-1]
            )
        await page.wait_for("document.title === '(not live) BTCUSDT · candled'")


async def test_live_needs_the_newest_bars(page: Page, stand: Stand) -> None:
    """After a break the chart is live only once it has the newest bars."""
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


async def test_screen_reader_announces_state_but_not_lag(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            spoken = "document.querySelector('[role=status]').textContent"
            await page.wait_for("document.getElementById('connection-text').textContent === 'live · lag 3 ms'")
            assert await page.evaluate(spoken) == "live"
            stand.live = False
            await page.wait_for(f"{spoken} === 'exchange stream not live'")


async def test_theme_follows_the_system_until_a_click(page: Page, stand: Stand) -> None:
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            background = "getComputedStyle(document.body).backgroundColor"
            dark = await page.evaluate(background)
            await page.prefer("light")
            await page.wait_for(f"{background} === 'rgb(255, 255, 255)'")
            await page.evaluate("document.getElementById('theme').click()")
            await page.wait_for(f"{background} === '{dark}'")


@pytest.mark.parametrize(
    ("width", "height", "chart"), [(360, 700, 450), (320, 568, 380), (568, 320, 220), (667, 375, 280)]
)
async def test_a_phone_shows_the_candles_upright_and_sideways(
    page: Page, stand: Stand, width: int, height: int, chart: int
) -> None:
    """Nothing is wider or higher than the screen, and the candles have most of it."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(width, height, phone=True)
            await opened(page, address)
            size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            assert await page.evaluate(size) == [width, height]
            assert await page.evaluate("document.getElementById('chart').clientHeight") >= chart


def test_chart_library_is_pinned() -> None:
    """The chart library is the one whose hash is recorded."""
    html = (STATIC / "index.html").read_text()
    match = re.search(r'src="(vendor/[^"]+)" integrity="sha384-([^"]+)"', html)
    assert match is not None
    digest = hashlib.sha384((STATIC / match[1]).read_bytes()).digest()
    assert b64encode(digest).decode() == match[2]


def test_page_loads_nothing_from_outside() -> None:
    """The page loads nothing from outside, and names the maker of the chart library."""
    for path in STATIC.glob("*.*"):
        links = set(re.findall(r"https?://[^\s\"'<)]+", path.read_text()))
        assert links <= {"https://www.tradingview.com/", "http://www.w3.org/2000/svg"}
    assert "TradingView, Inc." in (STATIC / "index.html").read_text()


LEFT = "candled.chart.timeScale().getVisibleRange().from"


async def test_place_survives_a_reconnect(page: Page, stand: Stand) -> None:
    """Whoever reads the past is not thrown to the present by a reconnect, and sees what was revised meanwhile."""
    revised = made_up_bar(open_time=NOW - 650 * MINUTE, seed=1, revision=1)
    with trio.fail_after(55):
        async with stand.serving() as address:
            await opened(page, address)
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({from: 0, to: 60})")
            await page.wait_for("candled.drawn().length === 700")
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({from: 40.3, to: 100.3})")
            place = (NOW - 660 * MINUTE) // 1_000_000
            await page.wait_for(f"{LEFT} === {place}")  # the chart moves with its next frame
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(revised, *(made_up_bar(open_time=NOW + after * MINUTE) for after in range(40)))
        async with stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length === 740")
            await page.wait_for("candled.bars().find(bar => bar.revision === 1)")
            await page.wait_for(f"{LEFT} === {place}")
            assert await shown(page, 650) == floats(revised)
            assert page.problems == [] or all("ERR_" in problem for problem in page.problems)


async def test_a_long_break_leaves_no_hole(page: Page, stand: Stand) -> None:
    """Bars of a break longer than a page are loaded, so that no time is missing between old and new."""
    with trio.fail_after(55):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(*(made_up_bar(open_time=NOW + after * MINUTE) for after in range(1200)))
        async with stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length >= 1700")
            times = await page.evaluate("candled.bars().map(bar => bar.open_time)")
            assert times == list(range(times[0], times[-1] + 60_000, 60_000))
            assert times[-1] == (NOW + 1199 * MINUTE) // 1000


async def test_newest_bar_is_followed(page: Page, stand: Stand) -> None:
    """A chart left at the present follows it over a reconnect."""
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(*(made_up_bar(open_time=NOW + after * MINUTE) for after in range(100)))
        async with stand.serving(address):
            await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length > 590")
            await page.wait_for("candled.chart.timeScale().scrollPosition() > 0")


@pytest.mark.parametrize(
    ("where", "legend", "notice"),
    [
        ("#ethusdt/1M", "ETHUSDT 1M", ""),
        ("#EthUsdt/5M", "ETHUSDT 5m", ""),
        ("#XRPUSDT/1m", "BTCUSDT 1m", "XRPUSDT is not served here: this is BTCUSDT 1m."),
        ("#BTCUSDT/7m", "BTCUSDT 1m", "7m is not an interval: this is BTCUSDT 1m."),
        ("#%E0%A4%A", "BTCUSDT 1m", "The link is malformed: this is BTCUSDT 1m."),
        ("#", "BTCUSDT 1m", ""),
    ],
)
async def test_link_is_followed_or_named_as_wrong(
    page: Page, stand: Stand, where: str, legend: str, notice: str
) -> None:
    """Any case of letters works; what cannot be shown is named, and nothing hangs."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/{where}")
            await page.wait_for("document.body.dataset.state === 'live'")
            pressed = (
                "[...document.querySelectorAll('header [aria-pressed=true]')].map(e => e.textContent).join(' ')"
            )
            assert await page.evaluate(pressed) == legend
            await page.wait_for(f"document.getElementById('notice').textContent === {notice!r}")
            assert page.problems == []
