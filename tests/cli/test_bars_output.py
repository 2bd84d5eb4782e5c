"""Where ``candled bars`` writes, in which form, and what it refuses."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from candled.cli import parts, result_output
from candled.cli.main import main
from candled.cli.output import write_rows
from candled.client import Bar
from tests.cli import fakes
from tests.cli.fakes import Invoke


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled", catch_exceptions=False)


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    bars = fakes.minutes(70) + fakes.minutes(60, "ETHUSDT")
    monkeypatch.setattr(parts, "connect_history", lambda _data_dir, **_options: fakes.history(bars))
    return bars


def test_file_name_decides_the_format(invoke: Invoke) -> None:
    """A file gets the form of its ending, and every bar."""
    for name in ("x.parquet", "x.csv", "x.JSON"):
        result = invoke("bars", "BTCUSDT", "--output", name)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"candled: 70 bars written to {name}\n"
    assert pq.read_table("x.parquet").num_rows == 70
    with Path("x.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 70
    assert len(json.loads(Path("x.JSON").read_text())) == 70
    assert sorted(path.name for path in Path().iterdir()) == ["x.JSON", "x.csv", "x.parquet"]


def test_a_table_in_a_file_has_every_bar(invoke: Invoke) -> None:
    """The limit of a table is for the terminal only."""
    invoke("bars", "BTCUSDT", "--format", "table", "--output", "x.txt")
    assert len(Path("x.txt").read_text().splitlines()) == 71


def test_file_name_without_a_format_is_refused(invoke: Invoke) -> None:
    """An ending that is no format is one sentence, and no file."""
    result = invoke("bars", "BTCUSDT", "--output", "x.xlsx")
    assert result.exit_code == 1
    assert "end it with .csv, .json, .parquet, or give --format" in result.stderr
    assert not Path("x.xlsx").exists()


def test_existing_file_needs_overwrite(invoke: Invoke) -> None:
    """An existing file stays unless the user says otherwise."""
    Path("x.csv").write_text("precious")
    result = invoke("bars", "BTCUSDT", "--output", "x.csv")
    assert result.exit_code == 1
    assert "give --overwrite" in result.stderr
    assert Path("x.csv").read_text() == "precious"
    assert invoke("bars", "BTCUSDT", "--output", "x.csv", "--overwrite").exit_code == 0
    assert len(Path("x.csv").read_text().splitlines()) == 71


@pytest.mark.parametrize(("answer", "status", "lines"), [("y\n", 0, 71), ("n\n", 1, 1), ("\n", 1, 1)])
def test_overwriting_is_asked_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, status: int, lines: int
) -> None:
    """On a terminal the user is asked, and only a yes replaces the file."""
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(result_output, "sys", SimpleNamespace(stdin=terminal, stdout=terminal, stderr=terminal))
    file = tmp_path / "x.csv"
    file.write_text("precious")
    result = CliRunner().invoke(main, ["bars", "BTCUSDT", "--output", str(file)], input=answer)
    assert "exists. Replace it?" in result.stderr
    assert result.exit_code == status
    assert len(file.read_text().splitlines()) == lines


def test_a_failure_leaves_the_old_file(invoke: Invoke) -> None:
    """A command that fails does not truncate the file that it was to replace."""
    Path("x.csv").write_text("precious")
    assert invoke("bars", "XRPUSDT", "--output", "x.csv", "--overwrite").exit_code == 1
    assert Path("x.csv").read_text() == "precious"


@pytest.mark.parametrize("arguments", [("btcusdt", "ethusdt"), ("BTCUSDT,ethusdt",)])
def test_several_symbols_in_any_case(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    """Symbols follow each other in the order given, each with its own limit."""
    bars = json.loads(invoke("bars", *arguments, "--limit", "2", "--format", "json").stdout)
    assert [(bar["symbol"], bar["open_time"][11:16]) for bar in bars] == [
        ("BTCUSDT", "15:38"), ("BTCUSDT", "15:39"), ("ETHUSDT", "15:28"), ("ETHUSDT", "15:29"),
    ]  # fmt: skip


def test_a_table_of_several_symbols_names_them(invoke: Invoke) -> None:
    """Rows of several symbols have a symbol column."""
    lines = invoke("bars", "BTCUSDT", "ETHUSDT", "--limit", "1").stdout.splitlines()
    assert lines[0].split()[0] == "symbol"
    assert [line.split()[0] for line in lines[1:]] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("end", ["2026-05-08T14:00", "2026-05-08T13:00"])
def test_a_reversed_range_is_an_error(invoke: Invoke, end: str) -> None:
    """A range that ends before it begins is a mistake, not an empty result."""
    result = invoke("bars", "BTCUSDT", "--from", "2026-05-08T14:00", "--to", end)
    assert result.exit_code == 2
    assert "not later than --from" in result.stderr


@pytest.mark.parametrize("limit", ["0", "-1", "99999999999999999999", "many"])
def test_a_limit_out_of_range_is_an_error(invoke: Invoke, limit: str) -> None:
    """A limit that is no count of bars is refused before anything is read."""
    assert invoke("bars", "BTCUSDT", "--limit", limit).exit_code == 2


def test_narrow_table_drops_spare_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns go, the first of the spare ones first, until a line fits."""
    columns = ("open_time", "close", "volume", "revision")
    rows = [("2026-05-08 14:30", "96000.1", "12.34567800", "0")]
    write_rows(columns, rows, "table", width=40, spare=("revision", "volume"))
    assert capsys.readouterr().out.splitlines()[0].split() == ["open_time", "close", "volume"]
    write_rows(columns, rows, "table", width=30, spare=("revision", "volume"))
    assert capsys.readouterr().out.splitlines()[0].split() == ["open_time", "close"]
