"""Revisions that arrive while the chart is open: field by field what the client's bars were before and after."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import trio

from candled.client import Bar
from candled.client.trio_client import TrioClient
from candled.domain.event import BarEventKind
from candled.domain.interval import MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar, serving_both
from tests.web.test_chart_page import opened

pytestmark = pytest.mark.slow

PANEL = "document.getElementById('legend-corrections')"
COUNT = "document.getElementById('corrections-count').textContent"
FIELDS = (
    "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume",
    "trade_count", "first_trade_id", "last_trade_id", "complete",
)  # fmt: skip
PRICES = FIELDS[:4]
TIME = NOW - 3 * MINUTE


@pytest.fixture
def stand() -> Stand:
    stand = Stand()
    stand.stored.add(*(made_up_bar(open_time=NOW - ago * MINUTE) for ago in range(60, 0, -1)))
    stand.stored.add(made_up_bar(open_time=TIME, complete=False))
    return stand


def revise(stand: Stand, revision: int, **values: Any) -> None:
    bar = made_up_bar(open_time=TIME, seed=revision, revision=revision, **values)
    stand.stored.add(bar)
    stand.emit(bar, BarEventKind.REVISION)


async def of_client(client: TrioClient) -> Bar:
    start = datetime.fromtimestamp(TIME / 1e6, UTC)
    (bar,) = await client.get_bars(
        "BTCUSDT", "1m", start, limit=1, end=datetime.fromtimestamp(TIME / 1e6 + 60, UTC)
    )
    return bar


def text(name: str, value: Any, decimals: int) -> str:
    """A value as the panel shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        shown = f"{value:,.8f}".rstrip("0").rstrip(".")
        places = len(shown.partition(".")[2])
        return f"{value:,.{max(decimals if name in PRICES else 0, places)}f}"
    return str(value) if name.endswith("_id") else f"{value:,}"


def expected(before: Bar, after: Bar) -> dict[str, list[str]]:
    return {
        name: [text(name, getattr(bar, name), 2) for bar in (before, after)]
        for name in FIELDS
        if getattr(before, name) != getattr(after, name)
    }


async def tables(page: Page) -> list[Any]:
    """Caption and rows of each table of the panel."""
    found: list[Any] = await page.evaluate(
        f"[...{PANEL}.querySelectorAll('table')].map(table => [table.caption.textContent, Object.fromEntries("
        "[...table.querySelectorAll('[data-field]')].map(row => [row.dataset.field,"
        " [...row.querySelectorAll('td')].map(cell => cell.textContent)]))])"
    )
    return found


async def point(page: Page) -> None:
    """Put the crosshair on the bar by keyboard."""
    await page.evaluate("document.getElementById('chart').focus()")
    for _ in range(3):
        await page.press("ArrowLeft")
    await page.wait_for("document.getElementById('legend-time').textContent.endsWith('06:37')")


async def test_correction_names_each_field(page: Page, stand: Stand) -> None:
    """Each field that changed, in every digit as the client has it; the revision, and the daemon's time of it."""
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            states = [await of_client(client)]
            for revision in (1, 2):
                revise(stand, revision)
                states.append(await of_client(client))
            await page.wait_for(f"{COUNT} === '2'")
            await point(page)
            newest, oldest = await tables(page)
            assert oldest[1] == expected(states[0], states[1])
            assert newest[1] == expected(states[1], states[2])
            assert {"open", "close", "volume", "complete"} <= set(oldest[1])
            assert "complete" not in newest[1]
            sent = datetime.fromtimestamp(TIME / 1e6 + 60, UTC)  # the stand's exchange time of a closed bar
            assert newest[0] == f"Revision 1 → 2 at {sent:%Y-%m-%d %H:%M:%S} UTC"
            assert page.problems == []


async def test_corrected_bars_are_marked(page: Page, stand: Stand) -> None:
    """Another mark than that of a revision from before, which nobody here saw; no panel for those."""
    stand.stored.add(made_up_bar(open_time=NOW - 2 * MINUTE, revision=1))
    marks = "candled.marks().map(mark => [mark.time, mark.text])"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            revise(stand, 1)
            await page.wait_for(f"{COUNT} === '1'")
            await page.wait_for("candled.marks().length === 2")
            assert await page.evaluate(marks) == [[TIME // 10**6, "◆"], [(NOW - 2 * MINUTE) // 10**6, "•"]]
            await page.evaluate("document.getElementById('chart').focus()")
            await page.press("ArrowLeft")
            await page.press("ArrowLeft")
            assert await page.evaluate(f"{PANEL}.hidden")


async def test_revision_in_a_break(page: Page, stand: Stand) -> None:
    """What was revised while the daemon was away is compared too, without a time that nobody knows."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            before = await of_client(client)
        await page.wait_for("document.body.dataset.state === 'lost'")
        stand.stored.add(made_up_bar(open_time=TIME, seed=1, revision=1))
        async with stand.serving(address):
            await page.wait_for(f"document.body.dataset.state === 'live' && {COUNT} === '1'")
            await point(page)
            (table,) = await tables(page)
            assert table[0] == "Revision 0 → 1, during a break of the connection"
            assert table[1]["close"][0] == text("close", before.close, 2)


async def test_list_leads_to_the_bar(page: Page, stand: Stand) -> None:
    """All corrections by key, newest first; a click shows the bar, and it is read out with what changed."""
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("r")
            listed = "document.getElementById('corrections-list').innerText"
            await page.wait_for(f"{listed}.includes('None since this page was opened.')")
            await page.evaluate("document.querySelector('#corrections [type=submit]').click()")
            revise(stand, 1)
            await page.wait_for(f"{COUNT} === '1'")
            await page.press("r")
            await page.wait_for(f"{listed}.startsWith('BTCUSDT 1m 2026-05-17 06:37')")
            await page.evaluate("document.querySelector('#corrections-list button').click()")
            reading = "document.getElementById('reading').textContent"
            await page.wait_for(f"{reading}.includes('Revision 0 → 1 at 2026-05-17 06:38:00 UTC: Open ')")
            assert not await page.evaluate("document.getElementById('corrections').open")
