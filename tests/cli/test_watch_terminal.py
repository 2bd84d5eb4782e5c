"""``candled watch`` in a real terminal: tmux, with keys, a resize, and a daemon that goes away."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.cli.demo import CANDLED, demo, until

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no terminal: tmux is not installed")


class Terminal:
    """A tmux window of its own, on a server of its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout

    def lines(self) -> list[str]:
        """What is seen."""
        return self.tmux("capture-pane", "-p").splitlines()

    def shows(self, *texts: str) -> str:
        """Wait until all of these are seen."""

        screen = ""

        def seen() -> str | Literal[False]:
            nonlocal screen
            screen = "\n".join(self.lines())
            return all(text in screen for text in texts) and screen

        try:
            return until(seen)
        except AssertionError:
            raise AssertionError(f"never seen: {texts}, but:\n{screen}") from None

    def gone(self) -> None:
        """Wait until the command has ended."""
        until(lambda: not self.tmux("list-sessions"))


@contextmanager
def terminal(name: str, *command: str, width: int = 100, height: int = 30) -> Iterator[Terminal]:
    window = Terminal(name)
    window.tmux("new-session", "-d", "-x", str(width), "-y", str(height), " ".join(command))
    try:
        yield window
    finally:
        window.tmux("kill-server")


def test_watch_in_a_terminal(tmp_path: Path) -> None:
    """The chart has candles, obeys keys, fits its window and says when it is stale."""
    with demo(tmp_path, "--speed", "60") as daemon:
        command = (*CANDLED, "watch", "--address", daemon.grpc)
        with terminal(f"candled-test-{daemon.process.pid}", *command) as window:
            window.shows("candled 24 h", "BTCUSDT")
            window.tmux("send-keys", "a")
            screen = window.shows("● live", "BTCUSDT", "ETHUSDT", "PEPEUSDT", "█")
            assert len(screen.splitlines()) == 30
            assert screen.splitlines()[0].startswith("candled 1m")

            window.tmux("send-keys", "Right")
            until(lambda: "ETHUSDT" not in "\n".join(window.lines()))
            window.tmux("send-keys", "+")
            window.shows("candled 3m", "● live", "█")

            window.tmux("resize-window", "-x", "60", "-y", "16")
            until(lambda: len(window.lines()) == 16 and window.lines()[15].startswith("←/→ symbol"))
            assert max(map(len, window.lines())) <= 60
            window.tmux("resize-window", "-x", "140", "-y", "40")
            until(lambda: len(window.lines()) == 40 and window.lines()[39].startswith("←/→ symbol"))

            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.wait(15)
            window.shows("STALE", "No daemon answers")
            window.tmux("send-keys", "q")
            until(lambda: window.tmux("list-sessions") == "")


def test_watch_in_ascii(tmp_path: Path) -> None:
    """In 60 columns by 20 lines of ASCII every line fits and every character can be shown."""
    with demo(tmp_path, "--speed", "60") as daemon:
        command = ("env", "PYTHONIOENCODING=ascii", *CANDLED, "watch", "btcusdt", "--address", daemon.grpc)
        with terminal(f"candled-ascii-{daemon.process.pid}", *command, width=60, height=20) as window:
            screen = window.shows("* live", "BTCUSDT", "#")
            assert screen.isascii()
            assert max(map(len, screen.splitlines())) <= 60


@pytest.mark.parametrize(
    ("width", "height"),
    [(80, 24), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((200, 50), (60, 20)))],
)
def test_watch_lists_symbols_and_opens_their_charts(tmp_path: Path, width: int, height: int) -> None:
    """Several symbols begin as a list that moves; Enter opens a chart, Escape goes back, ? shows the keys."""
    with demo(tmp_path, "--speed", "60") as daemon:
        command = (*CANDLED, "watch", "--address", daemon.grpc)
        name = f"candled-list-{width}-{daemon.process.pid}"
        with terminal(name, *command, width=width, height=height) as window:
            first = window.shows("candled 24 h  ● live", "symbol", "last", "▸BTCUSDT", " PEPEUSDT", "%", "? help")
            assert len(first.splitlines()) == height
            assert max(map(len, first.splitlines())) <= width
            assert ("quote volume" in first) == (width > 60)
            until(lambda: window.lines()[2] != first.splitlines()[2])

            window.tmux("send-keys", "Down")
            window.shows("▸ETHUSDT")
            window.tmux("send-keys", "Enter")
            window.shows("candled 1m  ● live", "ETHUSDT", "█")
            assert "BTCUSDT" not in "\n".join(window.lines())
            window.tmux("send-keys", "Escape")
            window.shows("▸ETHUSDT", " BTCUSDT")
            window.tmux("send-keys", "?")
            window.shows("candled help", "in the list: chart of the selected symbol", "Ctrl-C  quit")
            window.tmux("send-keys", "?")
            window.shows("▸ETHUSDT")
            window.tmux("send-keys", "q")
            window.gone()


def test_watch_takes_clicks_and_draws_averages(tmp_path: Path) -> None:
    """A click on a row opens its chart, ``i`` draws an average; at the end the terminal has its mouse again."""
    with demo(tmp_path, "--speed", "60") as daemon:
        command = (*CANDLED, "watch", "--address", daemon.grpc, "; exec sleep 100")
        with terminal(f"candled-mouse-{daemon.process.pid}", *command) as window:
            screen = window.shows("● live", "BTCUSDT", "ETHUSDT", "PEPEUSDT")
            assert window.tmux("display-message", "-p", "#{mouse_sgr_flag}") == "1\n"
            row = next(number for number, line in enumerate(screen.splitlines(), 1) if "PEPEUSDT" in line)
            window.tmux("send-keys", "-l", f"\x1b[<0;5;{row}M\x1b[<0;5;{row}m")
            screen = window.shows("candled 1m", "● live", "PEPEUSDT", "█")
            assert "BTCUSDT" not in screen
            window.tmux("send-keys", "i")
            window.shows("SMA 20", "•")
            window.tmux("send-keys", "q")
            until(lambda: window.tmux("display-message", "-p", "#{mouse_sgr_flag}") == "0\n")


def test_watch_in_a_dumb_terminal_prints_lines(tmp_path: Path) -> None:
    """A terminal without cursor control gets one line for each message."""
    with demo(tmp_path, "--speed", "60") as daemon:
        command = ("env", "TERM=dumb", *CANDLED, "watch", "BTCUSDT", "--address", daemon.grpc)
        with terminal(f"candled-dumb-{daemon.process.pid}", *command, width=200) as window:
            window.shows("update    BTCUSDT 1m")
