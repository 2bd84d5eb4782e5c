"""What the chart saves: CSV equal to that of ``candled bars``, a picture, short labels of volumes, full screen."""

import math
from datetime import UTC
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio

from candled.cli.bars_command import COLUMNS
from candled.cli.output import write_rows
from candled.client import Bar
from candled.domain.bar import NO_TRADE
from candled.domain.interval import MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar, serving_both
from tests.web.test_chart_page import opened

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def stand() -> Stand:
    stand = Stand(exchange_time=NOW + 7_000_000)
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(300, 0, -1)))
    empty: dict[str, Any] = {
        "volume": 0,
        "quote_volume": 0,
        "trade_count": 0,
        "first_trade_id": NO_TRADE,
        "last_trade_id": NO_TRADE,
    }
    stand.stored.add(made_up_bar(open_time=NOW - 210 * MINUTE, **empty))
    stand.stored.add(made_up_bar(open_time=NOW - 205 * MINUTE, complete=False, revision=3))
    return stand


async def saved(page: Page, directory: Path, key: str) -> Path:
    """The file that a key saves."""
    await page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(directory))
    await page.press(key)
    with trio.fail_after(15):
        while not (found := [path for path in directory.iterdir() if path.suffix in (".csv", ".png")]):
            await trio.sleep(0.05)
    (path,) = found
    return path


def as_the_command_writes(bars: list[Bar]) -> str:
    rows: list[list[Any]] = [[getattr(bar, column) for column in COLUMNS] for bar in bars]
    out = StringIO()
    write_rows(COLUMNS, rows, "csv", zone=UTC, out=out)
    return out.getvalue()


async def test_csv_equals_the_commands(page: Page, stand: Stand, tmp_path: Path) -> None:
    """The bars in sight, byte for byte as ``candled bars --format csv`` writes the client's bars."""
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            await page.evaluate("candled.chart.timeScale().setVisibleLogicalRange({ from: 85.2, to: 101.4 })")
            await page.wait_for("candled.chart.timeScale().getVisibleLogicalRange().to < 102")
            path = await saved(page, tmp_path, "c")
            sight = await page.evaluate("candled.chart.timeScale().getVisibleLogicalRange()")
            bars = list(await client.get_bars("BTCUSDT", "1m"))
            seen = bars[math.ceil(sight["from"] - 0.5) : math.floor(sight["to"] + 0.5) + 1]
            assert path.read_bytes().decode() == as_the_command_writes(seen)
            assert {bar.trade_count for bar in seen} > {0}
            assert path.name == f"BTCUSDT-1m-{seen[0].open_time:%Y%m%dT%H%M}.csv"


async def test_csv_has_the_forming_bar(page: Page, stand: Stand, tmp_path: Path) -> None:
    """It is seen, so it is saved, and said not to be closed."""
    stand.emit(made_up_bar(closed=False, complete=False))
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            await page.wait_for("candled.bars().at(-1).closed === false")
            path = await saved(page, tmp_path, "c")
            async with client.stream_bars(symbols=["BTCUSDT"]) as messages:
                message = await anext(messages)
            assert message.bar is not None
            assert path.read_text().splitlines()[-1] == as_the_command_writes([message.bar]).splitlines()[1]


async def test_picture_has_drawing_and_numbers(page: Page, stand: Stand, tmp_path: Path) -> None:
    """A PNG of the charts' size and a line for the source; the legend's text is in it."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for("document.getElementById('value-close').textContent")
            path = await saved(page, tmp_path, "p")
            data = path.read_bytes()
            width, height = await page.evaluate(
                "(box => [box.width, box.height])(document.getElementById('panes').getBoundingClientRect())"
            )
            assert data.startswith(PNG)
            assert [int.from_bytes(data[at : at + 4]) for at in (16, 20)] == [int(width), int(height + 24)]
            drawn = await page.evaluate(
                "(async () => { const texts = []; const write = CanvasRenderingContext2D.prototype.fillText;"
                " CanvasRenderingContext2D.prototype.fillText = function (text, ...rest)"
                " { texts.push(text); return write.call(this, text, ...rest); };"
                " document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'p', bubbles: true }));"
                " CanvasRenderingContext2D.prototype.fillText = write; return texts; })()"
            )
            shown = await page.evaluate("document.getElementById('value-close').textContent")
            assert {"BTCUSDT", shown} <= set(drawn)
            assert "on stand" in drawn[-1]
            assert "2026-05-17T06:40:0" in drawn[-1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (999, "999"),
        (1200, "1.2K"),
        (1250, "1.25K"),
        (3_400_000, "3.4M"),
        (999_999, "1M"),
        (8_023_875_159_593, "8.02T"),
        (2.5e16, "25,000T"),
    ],
)
async def test_axis_volumes_are_short(page: Page, number: float, text: str) -> None:
    """Three digits and a suffix."""
    with trio.fail_after(30):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            assert await page.evaluate(f"import('./numbers.js').then(({{ short }}) => short({number}))") == text


async def test_full_screen_and_back(page: Page, stand: Stand) -> None:
    """The state of the connection stays in sight there."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("m")
            await page.wait_for("document.getElementById('more').open")
            await page.call(
                "Runtime.evaluate",
                expression="document.querySelector('#more [value=fullscreen]').click()",
                userGesture=True,
            )
            await page.wait_for("document.fullscreenElement === document.documentElement")
            assert await page.evaluate("document.getElementById('connection').checkVisibility()")
            await page.press("f")
            await page.wait_for("!document.fullscreenElement")
            assert page.problems == []
