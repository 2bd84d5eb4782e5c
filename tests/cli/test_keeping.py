"""``candled import``, ``verify`` and ``repair``: what they print and how they exit."""

import errno
import json
import os
import signal
import subprocess
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import trio
from click.testing import CliRunner

from candled.cli.main import main
from candled.history import open_history
from tests.cli.demo import CANDLED, running, until
from tests.cli.fakes import Invoke
from tests.recordings import recordings

ARCHIVE = "BTCUSDT-1m-2020-01-02.zip"


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled", catch_exceptions=False)


def test_import_stores_bars_once(invoke: Invoke) -> None:
    """Bars of an archive can be read after the import; a second import changes nothing."""
    archive = str(recordings() / ARCHIVE)
    assert invoke("import", archive).stdout.startswith("1440 bars added, ")
    assert invoke("import", archive).stdout.startswith("0 bars added, 0 revised, 1440 already stored, ")
    (bar,) = json.loads(invoke("bars", "BTCUSDT", "--limit", "1", "--format", "json").stdout)
    assert (bar["open_time"], bar["close"]) == ("2020-01-02T23:59:00+00:00", "6965.71000000")


def test_verify_finds_unproven_bars(invoke: Invoke) -> None:
    """``verify`` lists unproven bars, with exit status 1."""
    invoke("import", str(recordings() / ARCHIVE))
    result = invoke("verify", "--format", "json")
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)
    assert (finding["kind"], finding["start"]) == ("incomplete", "2020-01-02T00:00:00+00:00")


async def test_verify_compares_no_bars(invoke: Invoke, tmp_path: Path) -> None:
    """Without bars ``verify --klines`` asks the exchange nothing, and finds nothing."""
    async with open_history(tmp_path / "candled-data", exchange="candled-embedded coinbase synthetic seed=1"):
        pass
    words = ("verify", "--klines", "--exchange", "coinbase", "--rest-urls", "http://127.0.0.1:1")
    result = await trio.to_thread.run_sync(invoke, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "0 of them compared" in result.stdout


async def test_archives_of_another_exchange(invoke: Invoke, tmp_path: Path) -> None:
    """Archives of the real exchange are refused in a directory of the embedded one."""
    async with open_history(tmp_path / "candled-data", exchange="candled-embedded synthetic seed=1"):
        pass
    result = await trio.to_thread.run_sync(invoke, "import", str(recordings() / ARCHIVE))
    assert result.exit_code == 1
    assert "holds bars of candled-embedded synthetic seed=1, not of binance-spot" in result.stderr


def feed_pipe(path: Path, opened: Event, done: Event) -> None:
    """Write a line to whoever opens the pipe, each time anew: DuckDB may open a file more than once."""
    while not done.wait(0.02):
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads
                raise
            continue
        os.write(pipe, b"now\n")
        os.close(pipe)
        opened.set()


def test_ctrl_c_ends_a_query_without_a_traceback(invoke: Invoke, tmp_path: Path) -> None:
    """Ctrl-C during a query ends the command at once, with its status and no word."""
    invoke("import", str(recordings() / ARCHIVE))
    os.mkfifo(tmp_path / "begun")
    opened, done = Event(), Event()
    feeder = Thread(target=feed_pipe, args=(tmp_path / "begun", opened, done))
    begun = "read_csv('begun', columns = {'word': 'VARCHAR'}, auto_detect = false)"
    command = [*CANDLED, "sql", f"SELECT count(*) FROM range(1000000000) a, range(1000000000) b, {begun} c"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        feeder.start()
        try:
            assert opened.wait(40), "the query opens its file"
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=20)
        finally:
            done.set()
            feeder.join()
            process.kill()
    assert (process.returncode, printed) == (130, "")


def test_repair_sets_a_damaged_file_aside(invoke: Invoke, tmp_path: Path) -> None:
    invoke("import", str(recordings() / ARCHIVE))
    assert invoke("repair").stdout == "No file is damaged.\n"
    file = next((tmp_path / "candled-data").rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    assert "damaged" in invoke("verify").stdout
    assert "1 damaged files set aside" in invoke("repair").stdout
    assert not file.exists()


@pytest.mark.parametrize("command", [["verify"], ["import", "file.txt"]])
def test_unusable_files_are_one_sentence(invoke: Invoke, tmp_path: Path, command: list[str]) -> None:
    """A file or directory that cannot be used is an error of one sentence."""
    (tmp_path / "file.txt").touch()
    result = invoke(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("candled: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_verify_compares_with_klines(tmp_path: Path) -> None:
    """``verify --klines`` finds a daemon's bars equal to the exchange's klines."""
    market = running(
        *("exchange", "--address", "127.0.0.1:0", "--speed", "120"),
        directory=tmp_path,
        says=r"REST at http://([^;]+);",
    )
    with market as exchange:
        rest = ("--rest-urls", f"http://{exchange}")
        ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
        with running(
            *("run", "--stream-urls", f"ws://{exchange}", *rest, *ports),
            directory=tmp_path,
            says=r'"http": "([^"]+)"',
        ) as http:
            path = f"http://{http}/api/bars?symbol=BTCUSDT"
            until(lambda: len(httpx.get(path).json().get("bars", ())) > 20, 40)
            command = [*CANDLED, "verify", "--klines", *rest, "--format", "json"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        assert done.stderr == ""
        findings = json.loads(done.stdout or "[]")
        assert {finding["kind"] for finding in findings} <= {"incomplete", "different"}
        unproven = [
            f for f in findings if f["kind"] == "incomplete"
        ]  # the newest, until a later trade proves them
        for finding in findings:
            # A bar may differ only while it says itself that it is not proven.
            assert any(
                f["symbol"] == finding["symbol"] and f["start"] <= finding["start"] <= (f["end"] or f["start"])
                for f in unproven
            ), finding
