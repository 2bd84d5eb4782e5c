"""Make the pictures in docs/images again: the chart, the terminal, from a demo. Run ``make pictures``.

Needs Chromium and tmux. The market is synthetic, so the pictures are alike from run to run but for the time.
"""

import io
import re
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import trio
from rich.console import Console
from rich.text import Text

from tests.cli.demo import CANDLED, demo
from tests.web.browser import find_browser, open_page, running

IMAGES = Path(__file__).parent / "images"
SPEED = "60"
CLOSE_GRACE = "300"
"""Of the faster clock: enough for the next trade to close each bar, as it does at the usual speed."""
BARS = 120
WIDTH, HEIGHT = 110, 34


def main() -> None:
    """All pictures, from one demo."""
    browser = find_browser()
    assert browser is not None, "Chromium is needed: install it, or set CANDLED_TEST_BROWSER"
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        demo(directory, "--speed", SPEED, "--close-grace", CLOSE_GRACE) as daemon,
    ):
        wait_for_bars(daemon.http)
        with running(browser) as port:
            trio.run(chart_pictures, port, f"http://{daemon.http}/")
        terminal_picture(daemon.grpc)


def wait_for_bars(address: str) -> None:
    """Until there is enough to fill a chart."""
    with httpx.Client(base_url=f"http://{address}") as client:
        while len(client.get("/api/bars", params={"symbol": "BTCUSDT"}).json().get("bars", [])) < BARS:
            time.sleep(0.5)


async def chart_pictures(port: int, url: str) -> None:
    """Dark, light, and on a phone."""
    for name, dark, width, height, phone in (
        ("chart-dark", True, 1200, 700, False),
        ("chart-light", False, 1200, 700, False),
        ("chart-phone", True, 390, 760, True),
    ):
        with trio.fail_after(60):
            async with open_page(port, dark=dark) as page:
                await page.size(width, height, phone=phone, scale=2 if phone else 1)
                await page.open(url)
                await page.wait_for("document.body.dataset.state === 'live' && candled.drawn().length >= 100")
                await trio.sleep(0.5)
                await page.picture(IMAGES / f"{name}.png")


def terminal_picture(address: str) -> None:
    """``candled watch`` in tmux, as text with its colours."""
    tmux = ["tmux", "-L", "candled-pictures", "-f", "/dev/null"]
    command = " ".join((*CANDLED, "watch", "--address", address))
    subprocess.run([*tmux, "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), command], check=True)
    try:
        time.sleep(8)
        shown = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.stdout), end="")
    svg = console.export_svg(title="candled watch")
    # No font from elsewhere: whatever monospaced one the reader has.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    (IMAGES / "watch.svg").write_text(svg)
    plain = Text.from_ansi(shown.stdout).plain
    (IMAGES / "watch.txt").write_text(re.sub(r"[ \t]+$", "", plain, flags=re.MULTILINE) + "\n")


if __name__ == "__main__":
    main()
