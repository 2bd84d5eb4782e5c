"""Make the pictures in docs/images again: the chart, the terminal, the metrics. Run ``make pictures``.

Needs Chromium and tmux. The market is synthetic, so the pictures are alike from run to run but for the time.
"""

import io
import re
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import trio
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from tests.acceptance.processes import RunningDaemon, RunningExchange, open_daemon, open_exchange
from tests.cli.demo import CANDLED
from tests.web.browser import Page, find_browser, open_page, running

IMAGES: Final = Path(__file__).parent / "images"
SEED: Final = 2
"""Of a market that shows both calm and wild hours at most times of the day."""
BACKFILL: Final = "--backfill-hours=6"
PATIENCE: Final = 150
WIDTH, HEIGHT = 110, 30
LIST_HEIGHT = 6
METRICS: Final = re.compile(
    r"candled_(ready|trades_total|gaps_\w+|revisions_total|subscribers|stream_messages_total|queue_items|journal_bytes"
    r"|rest_weight_used|lag_seconds_(sum|count)|commit_seconds_(sum|count))\b"
)


async def main() -> None:
    """All pictures, one scene after another."""
    browser = find_browser()
    assert browser is not None, "Chromium is needed: install it, or set CANDLED_TEST_BROWSER"
    IMAGES.mkdir(exist_ok=True)
    with running(browser) as port:
        await scene(1, partial(chart_pictures, port))
        await scene(20, partial(repair_picture, port))


async def scene(speed: int, draw: Callable[[RunningExchange, RunningDaemon], Awaitable[None]]) -> None:
    """Draw with a new exchange and daemon."""
    with tempfile.TemporaryDirectory() as directory, trio.fail_after(PATIENCE):
        async with (
            open_exchange(f"--seed={SEED}", f"--speed={speed}", "--weight-limit=100000") as exchange,
            open_daemon(exchange, Path(directory) / "data", BACKFILL, "--rest-weight-per-minute=100000") as daemon,
        ):
            await draw(exchange, daemon)


async def chart_pictures(port: int, _exchange: RunningExchange, daemon: RunningDaemon) -> None:
    """The chart dark, light, and on a phone; the terminal; the metrics."""
    for name, dark, width, height, phone in (
        ("chart-dark", True, 1280, 720, False),
        ("chart-light", False, 1280, 720, False),
        ("chart-phone", True, 390, 844, True),
    ):
        async with open_page(port, dark=dark) as page:
            await page.size(width, height, phone=phone, scale=1.5 if phone else 1)
            await show(page, daemon)
            # A minute that has just begun makes a poor picture.
            await page.wait_for("candled.bars().at(-1).trade_count > 20", PATIENCE)
            await page.picture(IMAGES / f"{name}.png")
    await trio.to_thread.run_sync(terminal_picture, "watch", "watch BTCUSDT", daemon.grpc, HEIGHT)
    await trio.to_thread.run_sync(terminal_picture, "watch-list", "watch", daemon.grpc, LIST_HEIGHT)
    await trio.to_thread.run_sync(metrics_picture, daemon.http)


async def repair_picture(port: int, exchange: RunningExchange, daemon: RunningDaemon) -> None:
    """Bars that lack trades, and the revisions that repaired others before them."""
    async with open_page(port) as page, httpx.AsyncClient(base_url=exchange.rest) as market:
        await page.size(1280, 440)
        await show(page, daemon)
        for faults, until in (
            ("lose=0.3,rest_500=1", "candled.bars().filter(bar => bar.closed && !bar.complete).length >= 3"),
            ("clear", "candled.bars().every(bar => bar.complete || !bar.closed)"),
            ("lose=0.3,rest_500=1", "candled.bars().filter(bar => bar.closed && !bar.complete).length >= 2"),
        ):
            (await market.post("/faults", content=faults)).raise_for_status()
            await page.wait_for(until, PATIENCE)
        await page.evaluate("candled.chart.timeScale().applyOptions({ barSpacing: 14 })")
        await trio.sleep(0.5)
        await page.picture(IMAGES / "chart-repair.png")


async def show(page: Page, daemon: RunningDaemon) -> None:
    """Open the chart and wait until it is full."""
    await page.open(f"http://{daemon.http}/")
    await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length >= 200", PATIENCE)
    filled = "[...document.querySelectorAll('.watch-change')].every(cell => cell.textContent)"
    await page.wait_for(f"document.getElementById('watchlist').hidden || {filled}", PATIENCE)
    await page.wait_for("document.getElementById('notice').hidden", PATIENCE)
    await trio.sleep(0.5)  # for the last animation


def terminal_picture(name: str, words: str, address: str, height: int) -> None:
    """``candled watch`` in tmux, as text with its colours."""
    tmux = ["tmux", "-L", "candled-pictures", "-f", "/dev/null"]
    command = " ".join((*CANDLED, words, "--address", address))
    subprocess.run([*tmux, "new-session", "-d", "-x", str(WIDTH), "-y", str(height), command], check=True)
    try:
        shown = captured(tmux)
        while "● live" not in Text.from_ansi(shown).plain:
            time.sleep(0.5)
            shown = captured(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    save_svg(name, f"candled {words}", Text.from_ansi(shown))
    plain = Text.from_ansi(shown).plain
    (IMAGES / f"{name}.txt").write_text(re.sub(r"[ \t]+$", "", plain, flags=re.MULTILINE) + "\n")


def captured(tmux: list[str]) -> str:
    """What the window shows now."""
    done = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True)
    return done.stdout


def metrics_picture(address: str) -> None:
    """Some of what ``/metrics`` shows."""
    kept: list[str] = []
    while not any(re.match(r'candled_lag_seconds_count{stage="stored"} [1-9]', line) for line in kept):
        time.sleep(0.5)
        lines = httpx.get(f"http://{address}/metrics").text.splitlines()
        kept = [line for line in lines if METRICS.match(line)]
    content = Syntax("\n".join(kept), "ini", background_color="default")
    save_svg("metrics", "curl http://127.0.0.1:8080/metrics", content)


def save_svg(name: str, title: str, content: Text | Syntax) -> None:
    """As a terminal would show it."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(content, end="")
    svg = console.export_svg(title=title, unique_id=name)
    # No font from elsewhere: whatever monospaced one the reader has.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    (IMAGES / f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    trio.run(main)
