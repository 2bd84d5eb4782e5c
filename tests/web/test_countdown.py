"""The countdown to the close of the forming bar: by the daemon's exchange time alone."""

import pytest
import trio

from candled.client import Message
from candled.domain.interval import MINUTE
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, made_up_bar, serving_both
from tests.web.test_chart_page import opened

TEXT = "document.getElementById('legend-countdown').textContent"
WRONG_CLOCK = (
    "Date.now = () => 0; window.Date = class extends Date { constructor(...a) { super(...(a.length ? a : [0])) } }"
)
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0:00"),
        (1, "0:01"),
        (59_001, "1:00"),
        (3_600_000, "1:00:00"),
        (86_399_000, "23:59:59"),
        (6 * 86_400_000 + 3_723_000, "6d 1:02:03"),
    ],
)
async def test_begun_seconds_count(page: Page, ms: int, text: str) -> None:
    """A second that has begun is still to come, and hours and days are shown where there are some."""
    with trio.fail_after(30):
        async with Stand().serving() as address:
            await page.open(f"http://{address}/")
            code = f"import('./clock.js').then(({{ countdown }}) => countdown({ms}))"
            assert await page.evaluate(code) == text


async def test_goes_by_exchange_time(page: Page) -> None:
    """Close time minus the exchange time that the client is given, whatever this machine's clock says."""
    stand = Stand(exchange_time=NOW + 18 * SECOND)
    stand.stored.add(made_up_bar(open_time=NOW - MINUTE))
    stand.emit(made_up_bar(closed=False, complete=False))
    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=WRONG_CLOCK)
            await opened(page, address)
            await page.wait_for(f"{TEXT}.startsWith('closes in')")
            shown = (await page.evaluate(TEXT)).removeprefix("closes in ")
            status = await client.status()
            async with client.stream_bars(symbols=["BTCUSDT"]) as messages:
                forming = await anext(messages)
            assert isinstance(forming, Message)
            left = (forming.bar.close_time - status.exchange_time).total_seconds()
            minutes, seconds = map(int, shown.split(":"))
            assert left - 10 < minutes * 60 + seconds <= left == 42
            assert (
                await page.evaluate("document.getElementById('legend-countdown').getAttribute('role')") == "timer"
            )


async def test_ends_with_the_connection(page: Page) -> None:
    """Without news from the daemon nobody knows what time it is at the exchange."""
    stand = Stand(exchange_time=NOW + 18 * SECOND)
    stand.stored.add(made_up_bar(open_time=NOW - MINUTE))
    stand.emit(made_up_bar(closed=False, complete=False))
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for(f"{TEXT}.startsWith('closes in')")
        await page.wait_for(f"{TEXT} === ''")


async def test_ended_bar_is_closing(page: Page) -> None:
    """After the bar's end its last trades may still come; once it is closed there is nothing to count."""
    stand = Stand(exchange_time=NOW + 61 * SECOND)
    bar = made_up_bar(closed=False, complete=False)
    stand.stored.add(made_up_bar(open_time=NOW - MINUTE))
    stand.emit(bar)
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for(f"{TEXT} === 'closing'")
            stand.emit(made_up_bar())
            await page.wait_for(f"{TEXT} === ''")
