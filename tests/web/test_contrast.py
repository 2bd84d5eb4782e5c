"""Colours of the chart, dark and light, against WCAG 2.1 AA: 4.5:1 for text, 3:1 for large text and drawings."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from candled.domain.event import BarEventKind
from candled.domain.interval import MINUTE
from candled.stream.access import BearerTokens
from tests.web.browser import Page, open_page
from tests.web.contrast import (
    PART_MIN,
    STATIC,
    TEXT_MIN,
    Color,
    Text,
    contrast,
    from_hex,
    mixed,
    saturated,
    seen_texts,
    theme_colors,
    too_faint,
)
from tests.web.stand import NOW, Stand, Stored, made_up_bar
from tests.web.test_chart_page import opened

STYLE = (STATIC / "chart.css").read_text()
COLORS = theme_colors(STYLE)
THEMES = ("dark", "light")
ALL = ("page", "raised", "line")
TEXTS = {
    "text": ALL,
    "quiet": ("page", "raised"),
    "up": ("page",),
    "down": ("page",),
    "page": ("up", "down", "quiet"),  # the newest price on the axis
    "up-text": ALL,
    "down-text": ALL,
    "doubt": ("page", "raised"),
    "on-doubt": ("doubt",),
    "revised": ("page", "raised"),
    "line-sma": ("page",),
    "line-ema": ("page",),
    "line-vwap": ("page",),
    "line-volume": ("page",),
}
"""Colours of text, and what each is seen on."""
PARTS = {
    "up": ("page", "raised"),  # candles; the dot of a live connection
    "down": ("page",),
    "up-column": ("page",),
    "down-column": ("page",),
    "doubt": ("page", "raised"),
    "revised": ALL,  # the focus, the active chart, the chosen symbol
    "edge": ("page", "raised"),  # of what one types into
    "quiet": ("page",),  # the crosshair
    "line-sma": ("page",),
    "line-ema": ("page",),
    "line-vwap": ("page",),
    "line-volume": ("page",),
}
"""Colours of candles, columns, lines, marks and borders that one has to see."""
DECORATION = {"line"}
"""Grid and separators: nothing is lost without them."""
STALE = 0.5
"""Saturation of what is out of date."""


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#767676", "#ffffff", 4.54),
        ("#777777", "#ffffff", 4.48),
        ("#ff0000", "#ffffff", 4.0),
        ("#0000ff", "#000000", 2.44),
    ],
)
def test_ratio_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    """Published ratios of well-known pairs, in either order."""
    assert contrast(from_hex(one), from_hex(other)) == pytest.approx(ratio, abs=0.005)
    assert contrast(from_hex(other), from_hex(one)) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
def test_text_contrasts(theme: str) -> None:
    """Each colour of text on each background that it is seen on."""
    assert too_faint(COLORS[theme], TEXTS, TEXT_MIN) == {}


@pytest.mark.parametrize("theme", THEMES)
def test_drawing_contrasts(theme: str) -> None:
    """Candles, columns, lines, marks, the focus, and borders of what one types into."""
    assert too_faint(COLORS[theme], PARTS, PART_MIN) == {}


@pytest.mark.parametrize("theme", THEMES)
def test_stale_drawing_contrasts(theme: str) -> None:
    """What is out of date has less hue and no less contrast."""
    assert set(re.findall(r"saturate\(([\d.]+)\)", STYLE)) == {str(STALE)}
    gray = {name: saturated(color, STALE) for name, color in COLORS[theme].items()}
    watched = {name: TEXTS[name] for name in ("text", "quiet", "up-text", "down-text")}
    assert too_faint(gray, PARTS, PART_MIN) == {}
    assert too_faint(gray, watched, TEXT_MIN) == {}


@pytest.mark.parametrize("theme", THEMES)
def test_crosshair_labels_contrast(theme: str) -> None:
    """The chart library writes white on a dark label and black on a light one."""
    label = COLORS[theme]["label"]
    gray = 0.199 * label[0] + 0.687 * label[1] + 0.114 * label[2]
    ink: Color = (0, 0, 0) if gray > 160 else (255, 255, 255)
    assert contrast(ink, label) >= TEXT_MIN
    assert contrast(label, COLORS[theme]["page"]) >= 1.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("pairs", "least"), [(TEXTS, TEXT_MIN), (PARTS, PART_MIN)])
def test_faint_color_is_found(theme: str, pairs: dict[str, tuple[str, ...]], least: float) -> None:
    """Any of the colours, nearly that of what is beneath it, does not pass."""
    for name, (back, *_) in pairs.items():
        near = mixed(COLORS[theme]["text"], COLORS[theme][back], 0.2)
        assert (name, back) in too_faint(COLORS[theme] | {name: near}, pairs, least)


def test_every_color_is_judged() -> None:
    """A new colour needs a line in the tables above, and so does a text in a colour of other things."""
    backgrounds = {back for backs in (*TEXTS.values(), *PARTS.values()) for back in backs}
    assert set(COLORS["light"]) == set(TEXTS) | set(PARTS) | backgrounds | {"label"}
    used = set(re.findall(r"(?<![\w-])color: ([^;]+?)(?: !important)?;", STYLE))
    assert used - {"inherit"} <= {f"var(--{name})" for name in TEXTS}
    drawn = (STATIC / "theme.js").read_text().rpartition("[")[2].partition("]")[0]
    assert set(re.findall(r'"([\w-]+)"', drawn)) <= set(TEXTS) | set(PARTS) | DECORATION | {"label"}


def test_colors_have_one_place() -> None:
    """Outside of the two blocks of themes no rule has a colour of its own, and none dims what is beneath it."""
    rules = STYLE.partition("\n* {")[2]
    assert set(re.findall(r"#[0-9a-f]{3,8}(?=[ ;])", rules)) == {"#000", "#0008"}, "mask and backdrop"
    assert set(re.findall(r"(?<!-)opacity: ([\d.]+)", rules)) <= {"1"}
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js"))
    assert re.findall(r"""["'`]#[0-9a-fA-F]{3,8}\b""", scripts) == []


def revise(stand: Stand, ago: int) -> None:
    bar = made_up_bar(open_time=NOW - ago * MINUTE, seed=1, revision=1)
    stand.stored.add(bar)
    stand.emit(bar, BarEventKind.REVISION)


@pytest.fixture
async def stand() -> Stand:
    """Bars of each kind: forming, not proven complete, revised."""
    stand = Stand(stored=Stored(merges=True))
    for symbol in stand.symbols:
        stand.stored.add(*(made_up_bar(symbol, NOW - ago * MINUTE) for ago in range(300, 0, -1)))
        stand.emit(made_up_bar(symbol, closed=False, complete=False))
    stand.stored.add(made_up_bar(open_time=NOW - 2 * MINUTE, complete=False))
    return stand


@asynccontextmanager
async def page_of(browser: int, theme: str) -> AsyncIterator[Page]:
    async with open_page(browser, dark=theme == "dark") as page:
        yield page


async def read_texts(page: Page, *expected: str) -> list[Text]:
    """Texts that are seen, once the expected ones are among them."""
    texts: list[Text] = []
    with trio.move_on_after(10):
        while not set(expected) <= {text.words for text in texts}:
            texts = await seen_texts(page)
            await trio.sleep(0.05)
    assert set(expected) <= {text.words for text in texts}
    return texts


def faint(texts: list[Text]) -> dict[str, float]:
    return {f"{text.place}: {text.words}": round(text.contrast, 2) for text in texts if text.contrast < text.least}


async def hover(page: Page, selector: str) -> None:
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    x, y = await page.evaluate(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
    await page.move_mouse(x, y)
    await page.wait_for(f"document.querySelector('{selector}').matches(':hover')")


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
async def test_seen_text_contrasts(browser: int, stand: Stand, theme: str) -> None:
    """Legend with all badges, corrections and indicators, watchlist, footer, and what the mouse is over."""
    with trio.fail_after(90):
        async with stand.serving() as address, page_of(browser, theme) as page:
            await page.size(1440, 900)
            await opened(page, address, "#BTCUSDT/1m?sma=3&ema=4&vwap=&volume=5&scale=percent&list=open")
            await page.wait_for(f"document.documentElement.dataset.theme === '{theme}'")
            assert faint(await read_texts(page, "forming", "SMA 3", "PEPEUSDT", "Search symbols ( / )")) == {}
            revise(stand, 1)
            await page.wait_for("document.getElementById('corrections-count').textContent === '1'")
            await page.evaluate("document.getElementById('chart').focus()")
            await page.press("ArrowLeft")
            await page.press("ArrowLeft")
            assert faint(await read_texts(page, "revision 1", "Quote volume")) == {}
            await page.press("ArrowLeft")
            assert faint(await read_texts(page, "not proven complete")) == {}
            for selector in ("#open-corrections", "#open-more", "[data-symbol=ETHUSDT]", "[data-symbol=BTCUSDT]"):
                await hover(page, selector)
                assert faint(await seen_texts(page)) == {}, selector
            assert page.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
async def test_dialogs_contrast(browser: int, stand: Stand, theme: str) -> None:
    """The help sheet, the menu, the lists of indicators and corrections, the dialog of a time; buttons hovered."""
    dialogs = {
        "?": ("Keys", "bar by bar, read out (with the chart in focus)"),
        "m": ("More", "Full screen"),
        "i": ("Indicators", "Simple moving average of closes", "50"),
        "g": ("Go to", "Date and time", "Cancel"),
        "r": ("Revised while this page was open", "BTCUSDT 1m 2026-05-17 06:39", "Quote volume"),
    }
    with trio.fail_after(90):
        async with stand.serving() as address, page_of(browser, theme) as page:
            await opened(page, address)
            revise(stand, 1)
            await page.wait_for("document.getElementById('corrections-count').textContent === '1'")
            for key, words in dialogs.items():
                await page.press(key)
                assert faint(await read_texts(page, *words)) == {}, words[0]
                await hover(page, "dialog[open] button")
                assert faint(await read_texts(page, *words)) == {}, words[0]
                await page.evaluate("document.querySelector('dialog[open]').close()")
                await page.wait_for("!document.activeElement.closest('dialog')")
            assert page.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
async def test_stale_text_contrasts(browser: int, stand: Stand, theme: str) -> None:
    """With the daemon away: the notice, the state, and what is shown of before; on a phone, too."""
    with trio.fail_after(90):
        async with page_of(browser, theme) as page:
            async with stand.serving() as address:
                await opened(page, address, "#BTCUSDT/1m?list=open")
            await page.wait_for("document.body.dataset.state === 'lost'")
            await page.wait_for("document.getElementById('watchlist').dataset.state === 'stale'")
            texts = await read_texts(page, "BTCUSDT", "ETHUSDT")
            assert any(text.words.startswith("No news from the daemon since") for text in texts)
            assert faint(texts) == {}
            for width in (800, 390):
                await page.size(width, 844, phone=True)
                await page.press("w")
                assert faint(await read_texts(page, "PEPEUSDT")) == {}
                await page.press("w")


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
async def test_text_without_bars_contrasts(browser: int, stand: Stand, theme: str) -> None:
    """A chart that waits for its first bar."""
    waiting = "No 3m bar of BTCUSDT yet: the next trade begins one."
    with trio.fail_after(60):
        async with page_of(browser, theme) as page:
            stand.stored.merges = False
            async with stand.serving() as address:
                await page.open(f"http://{address}/#BTCUSDT/3m?list=open")
                await page.wait_for("!document.getElementById('empty').hidden")
                assert faint(await read_texts(page, waiting)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
async def test_question_for_token_contrasts(browser: int, stand: Stand, theme: str, tmp_path: Path) -> None:
    """The field for a token, its button, and the notice that one was refused."""
    (tmp_path / "tokens").write_text("a-token-of-many-letters\n")
    stand.tokens = BearerTokens(tmp_path / "tokens")
    with trio.fail_after(60):
        async with stand.serving() as address, page_of(browser, theme) as page:
            await page.open(f"http://{address}/")
            await page.wait_for("!document.getElementById('token').hidden")
            await page.wait_for("document.getElementById('connection-text').textContent === 'a token is needed'")
            await page.evaluate("document.getElementById('token-value').value = 'wrong'")
            await page.evaluate("document.getElementById('token').requestSubmit()")
            await page.wait_for("!document.getElementById('notice').hidden")
            assert faint(await read_texts(page, "Open", "wrong", "a token is needed")) == {}


@pytest.mark.slow
async def test_planted_text_is_found(browser: int, stand: Stand) -> None:
    """Text in a bad colour, on a bad background, half transparent or dimmed from outside is named."""
    plants = {
        "#about": ("style.color = '#444c58'", "footer > p#about"),
        "footer": ("style.background = '#8a94a6'", "footer > p#about"),
        "#watchlist": ("style.opacity = 0.5", "button#watch-close"),
        "#legend-time": ("style.color = '#8a94a680'", "span#legend-time"),
    }
    with trio.fail_after(60):
        async with stand.serving() as address, page_of(browser, "dark") as page:
            await opened(page, address, "#BTCUSDT/1m?list=open")
            await read_texts(page, "BTCUSDT")
            for selector, (change, place) in plants.items():
                element = f"document.querySelector('{selector}')"
                before = await page.evaluate(f"{element}.getAttribute('style')")
                assert before is None
                await page.evaluate(f"{element}.{change}")
                found = faint(await seen_texts(page))
                assert any(place in name for name in found), (selector, found)
                await page.evaluate(f"{element}.removeAttribute('style')")
            assert faint(await seen_texts(page)) == {}
