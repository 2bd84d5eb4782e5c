"""``--history``, ``restore`` and what they print, on a stored history in a folder."""

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from candled.cli.main import main
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import list_files
from tests.cli.fakes import Invoke
from tests.history.bars import minute
from tests.history.objects.support import caught_up, flaky, keep, open_copied, url_of

COUNT = "SELECT symbol, count(*) AS bars FROM bars WHERE interval = '1m' GROUP BY symbol ORDER BY symbol"


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDLED_CACHE_DIR", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled", catch_exceptions=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A stored history of three bars, of which one is recent only."""

    async def store() -> None:
        bucket = flaky(tmp_path / "store")
        async with open_copied(tmp_path / "data", bucket) as (history, uploader):
            await keep(history, [minute(0), minute(1), minute(5000)])
            await caught_up(history, uploader, bucket)

    trio.run(store)
    return url_of(tmp_path / "store")


def test_sql_reads_the_store(invoke: Invoke, url: str) -> None:
    result = invoke("sql", "--history", url, COUNT, "--format", "json")
    assert json.loads(result.stdout) == [{"symbol": "BTCUSDT", "bars": 3}]


def test_sql_can_be_limited(invoke: Invoke, url: str, tmp_path: Path) -> None:
    """Recent files have every symbol; sealed ones of other symbols are not even fetched."""
    result = invoke("sql", "--history", url, "--symbols", "ethusdt", "--since", "-1d", COUNT, "--format", "json")
    assert result.exit_code == 0
    assert not list((tmp_path / "cache").rglob("symbol=BTCUSDT/*.parquet"))


def test_bars_reads_the_store(invoke: Invoke, url: str) -> None:
    """As from the data directory, and of the symbol's own files only."""
    remote = invoke("bars", "btcusdt", "--history", url, "--format", "csv")
    local = invoke("bars", "BTCUSDT", "--format", "csv", "--data-dir", "data")
    assert len(remote.stdout.splitlines()) == 4
    assert remote.stdout == local.stdout


def test_bars_names_what_the_store_has(invoke: Invoke, url: str) -> None:
    result = invoke("bars", "DOGEUSDT", "--history", url)
    assert result.exit_code == 1
    assert f"No bars of DOGEUSDT in {url}: it has BTCUSDT." in result.stderr


def test_bars_come_from_one_place(invoke: Invoke, url: str) -> None:
    result = invoke("bars", "BTCUSDT", "--history", url, "--address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


def test_an_empty_store_is_an_error(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("sql", "--history", url_of(tmp_path / "nothing"), COUNT)
    assert result.exit_code == 1
    assert "There is no history in" in result.stderr


def test_restore_makes_a_data_directory(invoke: Invoke, url: str, tmp_path: Path) -> None:
    result = invoke("restore", "--history-url", url, "--data-dir", str(tmp_path / "new"))
    assert result.stdout.endswith(f" files restored to {tmp_path / 'new'}.\n")
    local = invoke("sql", "--data-dir", str(tmp_path / "new"), COUNT, "--format", "json")
    assert json.loads(local.stdout) == [{"symbol": "BTCUSDT", "bars": 3}]
    again = invoke("restore", "--history-url", url, "--data-dir", str(tmp_path / "new"))
    assert again.stdout.startswith("0 files restored")


def test_restore_needs_a_url(invoke: Invoke) -> None:
    result = invoke("restore")
    assert (result.exit_code, result.stderr) == (
        1,
        "candled: No object store is named: give its URL with --history-url.\n",
    )


def test_damage_is_named_and_set_aside(invoke: Invoke, url: str, tmp_path: Path) -> None:
    key = key_of(list_files(flaky(tmp_path / "store"))[-1])
    (tmp_path / "store" / key).write_bytes(b"damaged")
    found = json.loads(invoke("verify", "--history", url, "--format", "json").stdout)
    assert any(each["kind"] == "damaged file" and key in each["text"] for each in found)
    restored = invoke("restore", "--history-url", url, "--data-dir", str(tmp_path / "new"))
    assert restored.exit_code == 1
    assert "damaged in the object store, not restored" in restored.stderr
    repaired = invoke("repair", "--history", url)
    assert f"set aside: {key}\n1 damaged objects set aside" in repaired.stdout
    assert invoke("repair", "--history", url).stdout == "No object is damaged.\n"
