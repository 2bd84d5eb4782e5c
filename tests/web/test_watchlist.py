"""The watchlist: figures of 24 hours equal what the client's bars give, keys, search, and where it folds away."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
import trio

import candled.domain.bar as domain
from candled.client import Bar
from candled.client.trio_client import TrioClient
from candled.domain.event import BarEventKind
from candled.domain.interval import MINUTE
from candled.stream.web.forms import bar_form
from tests.web.browser import Page
from tests.web.stand import NOW, Stand, Stored, made_up_bar, serving_both
from tests.web.test_chart_page import opened

pytestmark = pytest.mark.slow

FIVE = 5 * MINUTE
DAY_BARS = 288
NAMES = "[...document.querySelectorAll('.watch-row')].filter(row => !row.hidden).map(row => row.dataset.symbol)"


@pytest.fixture
async def stand() -> Stand:
    stand = Stand(stored=Stored(merges=True), exchange_time=NOW + 30_000_000)
    for symbol in stand.symbols:
        stand.stored.add(*(made_up_bar(symbol, NOW - ago * MINUTE) for ago in range(1500, 0, -1)))
        stand.emit(forming(symbol))
    return stand


def forming(symbol: str, seed: int = 1, open_time: int = NOW, **values: Any) -> domain.Bar:
    fields = {"interval": "5m", "close_time": open_time + FIVE, "closed": False, "complete": False}
    return made_up_bar(symbol, open_time, seed, **fields | values)


async def of_client(client: TrioClient, symbol: str) -> list[Bar]:
    """The 288 bars of the window as the client has them, the forming one last."""
    closed = await client.get_bars(symbol, "5m", limit=DAY_BARS - 1)
    async with client.stream_bars(symbols=[symbol], intervals=["5m"]) as messages:
        message = await anext(messages)
    assert message.bar is not None
    return [*closed, message.bar]


def expected(bars: Sequence[Bar]) -> dict[str, str]:
    """What a row shows of them."""
    first, last = bars[0].open, bars[-1].close
    hundredths = int((last - first) * 10_000 / first)  # cut, not rounded
    sign = "−" if hundredths < 0 else "+" if hundredths > 0 else ""
    return {
        "last": f"{last:,.2f}",
        "change": f"{sign}{Decimal(abs(hundredths)) / 100:.2f} %",
        "high": f"{max(bar.high for bar in bars):,.2f}",
        "low": f"{min(bar.low for bar in bars):,.2f}",
        "volume": grouped(sum((bar.volume for bar in bars), Decimal(0))),
    }


def grouped(value: Decimal) -> str:
    integer, _, fraction = f"{value:,.8f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{integer}.{fraction}" if fraction else integer


async def shown(page: Page, symbol: str) -> dict[str, str]:
    names = ("last", "change", "high", "low", "volume")
    code = ", ".join(f"{name}: row.querySelector('.watch-{name}').textContent" for name in names)
    found: dict[str, str] = await page.evaluate(
        f"(row => ({{ {code} }}))(document.querySelector('[data-symbol={symbol}]'))"
    )
    return found


async def until_shown(page: Page, symbol: str, wanted: dict[str, str]) -> None:
    with trio.move_on_after(15):
        while await shown(page, symbol) != wanted:
            await trio.sleep(0.1)
    assert await shown(page, symbol) == wanted


async def test_figures_equal_the_clients_bars(page: Page, stand: Stand) -> None:
    """Last price, change, high, low and volume of each symbol, in every digit."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            for symbol in stand.symbols:
                bars = await of_client(client, symbol)
                assert len(bars) == DAY_BARS
                await until_shown(page, symbol, expected(bars))
            assert page.problems == []


async def test_figures_move_with_the_stream(page: Page, stand: Stand) -> None:
    """A trade, the close of a bar, a revision within the day, and a bar that leaves the window."""
    with trio.fail_after(50):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            before = await of_client(client, "ETHUSDT")
            await until_shown(page, "ETHUSDT", expected(before))
            high = 9_900_000_000_000
            moved = forming("ETHUSDT", high=high, close=high, trade_count=900)
            stand.emit(moved)
            await until_shown(page, "ETHUSDT", expected(await of_client(client, "ETHUSDT")))
            assert (await shown(page, "ETHUSDT"))["high"] == "99,000.00"
            stand.stored.add(
                *(made_up_bar("ETHUSDT", NOW + after * MINUTE, high=high, seed=3) for after in range(5))
            )
            (closed,) = await stand.stored.bars("ETHUSDT", "5m", NOW)
            stand.emit(closed)
            stand.emit(forming("ETHUSDT", 2, NOW + FIVE))
            after = await of_client(client, "ETHUSDT")
            assert after[0].open_time > before[0].open_time
            await until_shown(page, "ETHUSDT", expected(after))
            minute = NOW - 20 * MINUTE
            stand.stored.add(made_up_bar("ETHUSDT", minute, seed=9, low=1_000_000_000_000, revision=1))
            (revised,) = await stand.stored.bars("ETHUSDT", "5m", minute, minute + FIVE)
            stand.emit(revised, BarEventKind.REVISION)
            await until_shown(page, "ETHUSDT", expected(await of_client(client, "ETHUSDT")))
            assert (await shown(page, "ETHUSDT"))["low"] == "10,000.00"


async def test_short_history_names_its_length(page: Page, stand: Stand) -> None:
    """A change since three hours ago is not passed off as one of a day; an unproven bar is marked."""
    for (symbol, time), bar in list(stand.stored.rows.items()):
        if symbol == "ETHUSDT" and time < NOW - 180 * MINUTE:
            del stand.stored.rows[symbol, bar.open_time]
    stand.stored.add(made_up_bar("PEPEUSDT", NOW - 7 * MINUTE, complete=False))
    note = "document.querySelector('[data-symbol={}] .watch-note').textContent"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for(f"{note.format('ETHUSDT')} === '3 h'")
            await page.wait_for(f"{note.format('PEPEUSDT')} === '?'")
            assert await page.evaluate(note.format("BTCUSDT")) == ""


async def test_length_without_exchange_time(page: Page, stand: Stand) -> None:
    """While no message has said the exchange's time, a short history is as long as its bars."""
    bars = json.dumps([bar_form(bar) for bar in await stand.stored.bars("BTCUSDT", "5m", NOW - 24 * FIVE)])
    call = f"(day => {{ day.merge({bars}); return day.figures(null); }})(new Day())"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.open(f"http://{address}/")
            figures = await page.evaluate(f"import('./day.js').then(({{ Day }}) => {call})")
            assert (figures["length"], figures["isShort"]) == (24 * FIVE // 1000, True)


async def test_arrows_and_clicks_change_the_symbol(page: Page, stand: Stand) -> None:
    """As in a list of the browser's own, with the selection said to readers."""
    selected = "document.querySelector('.watch-row[aria-selected=true]').dataset.symbol"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await opened(page, address)
            await page.evaluate("document.querySelector('.watch-row').focus()")
            await page.press("ArrowDown")
            await page.wait_for("candled.bars().at(0)?.symbol === 'ETHUSDT'")
            assert await page.evaluate(f"[{selected}, document.activeElement.dataset.symbol]") == ["ETHUSDT"] * 2
            await page.press("End")
            await page.wait_for("candled.bars().at(0)?.symbol === 'PEPEUSDT'")
            await page.evaluate("document.querySelector('[data-symbol=BTCUSDT] .watch-last').click()")
            await page.wait_for(f"candled.bars().at(0)?.symbol === 'BTCUSDT' && {selected} === 'BTCUSDT'")


async def test_search_among_hundreds(page: Page) -> None:
    """What is typed filters; Enter takes the first; only rows in sight ask the daemon for bars."""
    symbols = tuple(f"COIN{number:03}USDT" for number in range(400))
    stand = Stand(symbols=symbols, stored=Stored(merges=True))
    stand.stored.add(*(made_up_bar(symbol, NOW - MINUTE) for symbol in symbols))
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.press("/")
            await page.wait_for("document.activeElement.id === 'watch-search'")
            await page.call("Input.insertText", text="coin37")
            await page.wait_for(f"{NAMES}.length === 10")
            assert await page.evaluate("document.getElementById('watch-count').textContent") == "10 of 400 symbols"
            await page.press("Enter")
            await page.wait_for("candled.bars().at(0)?.symbol === 'COIN370USDT'")
            await page.press("Escape")
            await page.wait_for(f"{NAMES}.length === 400")
            asked = (
                "performance.getEntriesByType('resource').filter(e => e.name.includes('interval=5m&limit')).length"
            )
            assert 0 < await page.evaluate(asked) < 100
            assert page.problems == []


async def test_folded_list_is_remembered(page: Page, stand: Stand) -> None:
    """Closed by key, in the link, and remembered; while it is closed nothing is asked for it."""
    hidden = "document.getElementById('watchlist').hidden"
    with trio.fail_after(50):
        async with stand.serving() as address:
            await opened(page, address)
            await page.wait_for(f"!{hidden}")
            await page.press("w")
            await page.wait_for(f"{hidden} && location.hash === '#BTCUSDT/1m?list=closed'")
            await page.open("about:blank")
            await opened(page, address)
            assert await page.evaluate(hidden)
            await page.press("w")
            await page.wait_for(f"!{hidden} && location.hash === '#BTCUSDT/1m?list=open'")


async def test_covers_the_chart_on_a_phone(page: Page, stand: Stand) -> None:
    """There it begins closed, and a choice closes it."""
    hidden = "document.getElementById('watchlist').hidden"
    with trio.fail_after(40):
        async with stand.serving() as address:
            await page.size(390, 844, phone=True)
            await opened(page, address)
            assert await page.evaluate(hidden)
            await page.evaluate("document.getElementById('open-list').click()")
            await page.wait_for(f"!{hidden}")
            assert await page.evaluate("document.documentElement.scrollWidth") == 390
            await page.evaluate("document.querySelector('.watch-row').focus()")
            await page.press("End")
            await page.wait_for("candled.bars().at(0)?.symbol === 'PEPEUSDT'")
            assert not await page.evaluate(hidden)
            await page.evaluate("document.querySelector('[data-symbol=ETHUSDT]').click()")
            await page.wait_for(f"{hidden} && candled.bars().at(0)?.symbol === 'ETHUSDT'")


async def test_hidden_tab_has_one_stream(page: Page, stand: Stand) -> None:
    """A browser's connections are few: the list rests while nobody sees it, and is right again after that."""
    hide = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"

    async def streams(count: int) -> None:
        while stand.hub.statistics().subscribers != count:
            await trio.sleep(0.05)

    with trio.fail_after(40):
        async with serving_both(stand) as (address, client):
            await opened(page, address)
            await streams(2)
            await page.evaluate(hide.format("true") + tell)
            await streams(1)
            stand.emit(forming("ETHUSDT", high=9_900_000_000_000, trade_count=901))
            await page.evaluate(hide.format("false") + tell)
            await until_shown(page, "ETHUSDT", expected(await of_client(client, "ETHUSDT")))
            assert (await shown(page, "ETHUSDT"))["high"] == "99,000.00"
