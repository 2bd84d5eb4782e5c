"""``candled watch`` in a real terminal: tmux, with keys, a resize, and a daemon that goes away."""

import shutil
import signal
import subprocess
from contextlib import contextmanager

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

    def shows(self, *texts: str):
        """Wait until all of these are seen."""

        def seen():
            nonlocal screen
            screen = "\n".join(self.lines())
            return all(text in screen for text in texts) and screen

        screen = ""
        try:
            return until(seen)
        except AssertionError:
            raise AssertionError(f"never seen: {texts}, but:\n{screen}") from None


@contextmanager
def terminal(name, *command, width=100, height=30):
    window = Terminal(name)
    window.tmux("new-session", "-d", "-x", str(width), "-y", str(height), " ".join(command))
    try:
        yield window
    finally:
        window.tmux("kill-server")


def test_watch_shows_candles_obeys_keys_fits_its_window_and_says_when_it_is_stale(tmp_path) -> None:
    with demo(tmp_path, "--speed", "60") as daemon:
        command = (*CANDLED, "watch", "--address", daemon.grpc)
        with terminal(f"candled-test-{daemon.process.pid}", *command) as window:
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
