"""The demo: its market's clock, and the whole command as a process."""

import json
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.cli import demo_command, parts
from candled.cli.demo_command import _StartProgress, market_start, program
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.telemetry.logging import LogCounts
from tests.cli.demo import CANDLED, demo, until

NOW = datetime(2026, 5, 8, 14, 30, tzinfo=UTC)


def test_a_new_market_begins_now() -> None:
    """Without bars, or with past ones, the market's clock shows the present."""
    assert market_start(NOW, None) == NOW
    assert market_start(NOW, NOW - timedelta(hours=3)) == NOW


def test_demo_continues_after_stored_bars() -> None:
    """Bars of a faster demo lie ahead of the wall clock: the market continues there, at any speed."""
    assert market_start(NOW, NOW + timedelta(hours=5)) == NOW + timedelta(hours=5)


def test_the_start_is_shown_in_phases() -> None:
    """Where a line cannot be written over, each phase is one line."""
    out = StringIO()
    progress = _StartProgress(out)
    progress.show("backfilling", "BTCUSDT: 5 of 60 minutes.")
    progress.show("backfilling", "BTCUSDT: 9 of 60 minutes.")
    progress.end()
    progress.show("live", "")
    assert out.getvalue() == "backfilling ...\n"


def test_demo_ended_during_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo that is stopped before it serves ends in order."""

    async def ended_at_once(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(parts, "run_daemon", ended_at_once)
    market = ExchangeSettings(address="127.0.0.1:0")
    trio.run(demo_command._run, DaemonSettings(data_dir=tmp_path), market, LogCounts())
    assert capsys.readouterr().out == ""


@pytest.mark.timeout(180)  # some ten processes, one after another
def test_demo_shows_bars_everywhere(tmp_path: Path) -> None:
    """Chart, stream, history and status have bars, and Ctrl-C ends the demo in order."""
    with demo(tmp_path, "--speed", "120") as running:
        until(lambda: httpx.get(f"http://{running.http}/readyz").status_code == 200)
        assert "ready" in running.candled("status", "--address", running.grpc)

        def bars(*where: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(
                running.candled("bars", "BTCUSDT", "--format", "json", *where)
            )
            return found

        in_files = ("--data-dir", "candled-demo-data")
        before_the_first_bar = running.run("bars", "BTCUSDT", "--format", "json", *in_files)
        assert before_the_first_bar.returncode == 0 or "it has no bars yet" in before_the_first_bar.stderr
        until(lambda: running.run("bars", "BTCUSDT", *in_files).returncode == 0)
        stored = until(lambda: len(found := bars(*in_files)) >= 2 and found)
        served = {bar["open_time"]: bar for bar in bars("--address", running.grpc)}
        for bar in stored:
            newer = served[bar["open_time"]]
            assert newer == bar or newer["revision"] > bar["revision"]
        charted = httpx.get(f"http://{running.http}/api/bars?symbol=BTCUSDT").json()["bars"]
        assert {bar["open"] for bar in stored} <= {bar["open"] for bar in charted}

        query = "SELECT count(*) AS n FROM bars WHERE interval = '1m' AND symbol = 'ETHUSDT'"
        rows = json.loads(running.candled("sql", query, "--format", "json", "--data-dir", "candled-demo-data"))
        assert rows[0]["n"] >= 2

        with subprocess.Popen(
            [*CANDLED, "watch", "BTCUSDT", "--format", "json", "--address", running.grpc],
            stdout=subprocess.PIPE,
            text=True,
        ) as watch:
            assert watch.stdout is not None
            kinds = [json.loads(watch.stdout.readline())["kind"] for _ in range(5)]
            watch.send_signal(signal.SIGINT)
            assert watch.wait(10) == 130
        assert set(kinds) <= {"snapshot", "update", "close", "revision"}

        running.process.send_signal(signal.SIGINT)
        _, errors = running.process.communicate(timeout=15)
        # A machine that stands still for a moment is late, which a fast exchange's time takes for a lie.
        unexpected = [line for line in errors.splitlines() if "source of time quarantined" not in line]
        assert (running.process.returncode, unexpected) == (0, [])


def charted_after(path: str, before: int) -> list[int]:
    """Open times of bars that are later than this one by more than five minutes."""
    times = [bar["open_time"] for bar in httpx.get(path).json()["bars"]]
    return [time for time in times if time > before + 300_000]


@pytest.mark.slow
def test_faster_demo_continues_after_a_restart(tmp_path: Path) -> None:
    """A demo at high speed continues with its stored bars after a restart."""
    newest: list[int] = []
    for _ in range(2):
        with demo(tmp_path, "--speed", "600") as running:
            path = f"http://{running.http}/api/bars?symbol=BTCUSDT"
            found = until(partial(charted_after, path, newest[-1] if newest else 0))
            newest.append(found[-1])
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(15) == 0


@pytest.mark.slow
def test_real_speed_after_a_faster_demo(tmp_path: Path) -> None:
    """`demo` after `demo --speed 600` serves new bars behind the stored ones, and says why its clock is ahead."""
    with demo(tmp_path, "--speed", "600") as running:
        path = f"http://{running.http}/api/bars?symbol=BTCUSDT"
        [*_, newest] = until(partial(charted_after, path, round(time.time() * 1000) + 600_000))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0
    with demo(tmp_path) as running:
        assert "where the bars of a faster demo end" in running.opening
        until(lambda: httpx.get(f"http://{running.http}/readyz").status_code == 200)
        with subprocess.Popen(
            [*CANDLED, "watch", "BTCUSDT", "--format", "json", "--address", running.grpc],
            stdout=subprocess.PIPE,
            text=True,
        ) as watch:
            assert watch.stdout is not None
            bar = json.loads(watch.stdout.readline())["bar"]
            watch.kill()
        assert datetime.fromisoformat(bar["open_time"]).timestamp() * 1000 >= newest


def test_program_is_named_as_typed() -> None:
    """The demo names the program so that the commands it prints can be pasted."""
    assert program(".venv/bin/candled", None) == ".venv/bin/candled"
    assert program("/usr/bin/candled", "/usr/bin/candled") == "candled"
    assert program("candled/cli/main.py", None) == "candled"
