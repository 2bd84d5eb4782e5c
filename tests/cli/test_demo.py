"""The demo: its market's clock, and the whole command as a process."""

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trio

from candled.cli import demo_command
from candled.cli.demo_command import market_epoch, program
from candled.errors import UserError
from candled.exchange.clock import exchange_time_of, parse_epoch
from candled.logs import LogCounts
from candled.settings import DaemonSettings, ExchangeSettings
from tests.cli.demo import CANDLED, demo, until

NOW = datetime(2026, 5, 8, 14, 30, tzinfo=UTC)


def time_of_market(newest, speed):
    """What the embedded exchange's clock shows at ``NOW``."""
    epoch = parse_epoch(market_epoch(NOW, newest, speed, Path("d")))
    shown = exchange_time_of(round(NOW.timestamp() * 1_000_000), epoch=epoch, speed=speed)
    return datetime.fromtimestamp(shown / 1_000_000, UTC)


@pytest.mark.parametrize("speed", [0.5, 1, 20])
def test_a_new_market_begins_now(speed) -> None:
    assert time_of_market(None, speed) == NOW
    assert time_of_market(NOW - timedelta(hours=3), speed) == NOW


@pytest.mark.parametrize("speed", [2, 20, 1000])
def test_a_fast_market_goes_on_where_its_stored_bars_end(speed) -> None:
    ahead = NOW + timedelta(hours=5)
    assert abs(time_of_market(ahead, speed) - ahead) < timedelta(seconds=1)


def test_a_market_that_cannot_catch_up_with_its_bars_says_what_to_do() -> None:
    with pytest.raises(UserError, match="up to 2026-05-08 19:30 UTC, ahead of the clock"):
        time_of_market(NOW + timedelta(hours=5), 1)


def test_a_demo_that_is_ended_before_it_serves_ends_in_order(tmp_path, monkeypatch, capsys) -> None:
    async def ended_at_once(*_, **__) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(demo_command.parts, "run_daemon", ended_at_once)
    market = ExchangeSettings(address="127.0.0.1:0")
    trio.run(demo_command._run, DaemonSettings(data_dir=tmp_path), market, LogCounts())
    assert capsys.readouterr().out == ""


@pytest.mark.timeout(180)  # some ten processes, one after another
def test_a_newcomer_sees_bars_everywhere_and_ctrl_c_ends_it_in_order(tmp_path) -> None:
    with demo(tmp_path, "--speed", "120") as running:
        until(lambda: httpx.get(f"http://{running.http}/readyz").status_code == 200)
        assert "ready" in running.candled("status", "--address", running.grpc)

        def bars(*where):
            return json.loads(running.candled("bars", "BTCUSDT", "--format", "json", *where))

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
        assert (running.process.returncode, errors) == (0, "")


@pytest.mark.slow
def test_a_faster_demo_goes_on_after_a_restart(tmp_path) -> None:
    newest = []
    for _ in range(2):
        with demo(tmp_path, "--speed", "600") as running:
            path = f"http://{running.http}/api/bars?symbol=BTCUSDT"
            before = newest[-1] if newest else 0
            found = until(lambda path=path, before=before: [
                bar["open_time"] for bar in httpx.get(path).json()["bars"] if bar["open_time"] > before + 300_000
            ])  # fmt: skip
            newest.append(found[-1])
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(15) == 0


def test_it_names_itself_so_that_its_words_can_be_pasted() -> None:
    assert program(".venv/bin/candled", None) == ".venv/bin/candled"
    assert program("/usr/bin/candled", "/usr/bin/candled") == "candled"
    assert program("candled/cli/main.py", None) == "candled"
