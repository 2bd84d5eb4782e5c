"""What each command prints, on stand-ins for the daemon and the history."""

import csv
import io
import json
import subprocess
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from candled.cli import parts
from candled.cli.main import main
from candled.client import Bar, Gap, GapState, Kind
from tests.cli import fakes
from tests.cli.demo import CANDLED, demo


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled", catch_exceptions=False)


@pytest.fixture
def stored(monkeypatch):
    bars: list[Bar] = []
    monkeypatch.setattr(parts, "connect_history", lambda _data_dir: fakes.history(bars))
    return bars


@pytest.fixture
def client(monkeypatch):
    client = fakes.Client()

    @asynccontextmanager
    async def open_client(_address):
        yield client

    monkeypatch.setattr(parts, "open_client", open_client)
    return client


def test_bars_in_json_are_objects_with_exact_decimals_as_strings(invoke, stored) -> None:
    stored += fakes.minutes(2)
    document = json.loads(invoke("bars", "BTCUSDT", "--format", "json").stdout)
    assert len(document) == 2
    assert document[0]["volume"] == "1234567890123.00000001"
    assert document[0]["open_time"] == "2026-05-08T14:30:00+00:00"
    assert document[0]["complete"] is True


def test_bars_in_csv_have_every_column(invoke, stored) -> None:
    stored += fakes.minutes(2)
    rows = list(csv.DictReader(io.StringIO(invoke("bars", "BTCUSDT", "--format", "csv").stdout)))
    assert list(rows[0]) == [
        "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
        "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
        "complete", "revision",
    ]  # fmt: skip
    assert rows[1]["open_time"] == "2026-05-08T14:31:00+00:00"
    assert rows[1]["close"] == "105.50000000"


def test_an_empty_minutes_trade_ids_are_empty_in_csv_and_null_in_json(invoke, stored) -> None:
    stored += fakes.minutes(1, first_trade_id=None, last_trade_id=None)
    assert (
        next(csv.DictReader(io.StringIO(invoke("bars", "BTCUSDT", "--format", "csv").stdout)))["last_trade_id"]
        == ""
    )
    assert json.loads(invoke("bars", "BTCUSDT", "--format", "json").stdout)[0]["last_trade_id"] is None


def test_bars_in_parquet_keep_decimals_and_utc_microseconds(invoke, stored, tmp_path) -> None:
    stored += fakes.minutes(3)
    assert invoke("bars", "BTCUSDT", "--format", "parquet", "--output", "out.parquet").exit_code == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 3
    assert table["volume"][0].as_py() == Decimal("1234567890123.00000001")
    assert str(table.schema.field("open_time").type) == "timestamp[us, tz=UTC]"


def test_from_and_to_are_half_open(invoke, stored) -> None:
    stored += fakes.minutes(10)
    arguments = ["--from", "2026-05-08T14:32", "--to", "2026-05-08T14:35", "--format", "json"]
    times = [bar["open_time"][11:16] for bar in json.loads(invoke("bars", "BTCUSDT", *arguments).stdout)]
    assert times == ["14:32", "14:33", "14:34"]


def test_times_are_read_and_shown_in_the_zone_asked_for(invoke, stored) -> None:
    stored += fakes.minutes(10)
    arguments = ["--from", "2026-05-08T16:39", "--tz", "Europe/Berlin", "--format", "json"]
    document = json.loads(invoke("bars", "BTCUSDT", *arguments).stdout)
    assert [bar["open_time"] for bar in document] == ["2026-05-08T16:39:00+02:00"]


def test_limit_takes_the_newest_and_shows_them_oldest_first(invoke, stored) -> None:
    stored += fakes.minutes(10)
    document = json.loads(invoke("bars", "BTCUSDT", "--limit", "2", "--format", "json").stdout)
    assert [bar["open_time"][11:16] for bar in document] == ["14:38", "14:39"]


def test_a_table_shows_only_the_decimals_that_are_used(invoke, stored) -> None:
    stored += fakes.minutes(2)
    lines = invoke("bars", "BTCUSDT").stdout.splitlines()
    assert lines[0].split()[:2] == ["open_time", "open"]
    assert lines[1].split()[:6] == ["2026-05-08", "14:30", "100", "110", "90", "105.5"]


def test_bars_of_an_unknown_symbol_name_those_there_are(invoke, stored) -> None:
    stored += fakes.minutes(1) + fakes.minutes(1, "ETHUSDT")
    result = invoke("bars", "XRPUSDT", "--format", "csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "candled: No bars of XRPUSDT in candled-data: it has BTCUSDT, ETHUSDT.\n"


def test_no_bars_in_a_time_is_said_and_is_no_error(invoke, stored) -> None:
    stored += fakes.minutes(1)
    result = invoke("bars", "BTCUSDT", "--from", "2027-01-01", "--format", "json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert "no closed 1m bar of BTCUSDT" in result.stderr


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_time_that_is_none_says_how_to_write_one(invoke, stored, option) -> None:
    result = invoke("bars", "BTCUSDT", option, "yesterdayish")
    assert result.exit_code == 2
    assert "2026-05-08T14:30" in result.stderr


def test_bars_come_from_a_daemon_where_an_address_is_given(invoke, client) -> None:
    client.bars += fakes.minutes(5)
    document = json.loads(
        invoke("bars", "BTCUSDT", "--address", "127.0.0.1:1", "--limit", "3", "--format", "json").stdout
    )
    assert [bar["open_time"][11:16] for bar in document] == ["14:32", "14:33", "14:34"]


def test_sql_gives_an_array_of_objects_with_decimals_as_strings(invoke, stored) -> None:
    stored += fakes.minutes(2)
    result = invoke(
        "sql", "SELECT symbol, max(high) AS top, count(*) AS n FROM bars GROUP BY 1", "--format", "json"
    )
    assert json.loads(result.stdout) == [{"symbol": "BTCUSDT", "top": "110.00000000", "n": 2}]


def test_sql_without_rows_is_an_empty_array(invoke, stored) -> None:
    assert json.loads(invoke("sql", "SELECT * FROM bars", "--format", "json").stdout) == []


def test_a_wrong_query_is_one_line(invoke, stored) -> None:
    result = invoke("sql", "SELEC 1")
    assert result.exit_code == 1
    assert result.stderr.startswith("candled: The query failed: Parser Error")
    assert result.stderr.count("\n") == 1


def test_status_shows_symbols_and_their_gaps(invoke, client) -> None:
    gaps = (
        Gap(first_trade_id=5, last_trade_id=9, state=GapState.OPEN, reason="fetching"),
        Gap(first_trade_id=20, last_trade_id=20, state=GapState.FILLED, reason=""),
    )
    client.state = fakes.make_status(symbols=(fakes.make_symbol_status(gaps=gaps, minutes_left=77),))
    result = invoke("status")
    assert result.exit_code == 0
    assert "synthetic seed=1" in result.stdout
    assert "BTCUSDT: open gap 5..9: fetching" in result.stdout
    assert "BTCUSDT: filled gap 20..20\n" in result.stdout
    assert "77 minutes" in result.stdout


def test_status_of_a_daemon_that_is_not_ready_says_why_and_exits_3(invoke, client) -> None:
    client.state = fakes.make_status(ready=False, not_ready_reasons=("BTCUSDT is not live.",))
    result = invoke("status")
    assert result.exit_code == 3
    assert "NOT READY\n  BTCUSDT is not live.\n" in result.stdout


def test_status_in_json_keeps_decimals_as_strings(invoke, client) -> None:
    document = json.loads(invoke("status", "--format", "json").stdout)
    assert document["symbols"][0]["last_price"] == "105.50000000"


@pytest.mark.parametrize("command", [["status"], ["watch"], ["bars", "BTCUSDT"]])
def test_a_daemon_that_is_not_there_is_one_sentence(invoke, command) -> None:
    result = invoke(*command, "--address", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "candled: No daemon answers at 127.0.0.1:1: start one with `candled run` or `candled demo`, "
        "or give --address; one that speaks TLS answers --tls or --ca alone.\n"
    )


def test_a_directory_without_bars_is_one_sentence(invoke) -> None:
    result = invoke("sql", "SELECT 1", "--data-dir", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("candled: ")
    assert "nowhere" in result.stderr
    assert result.stderr.count("\n") == 1


def test_watch_writes_a_line_for_each_message_when_piped(invoke, client) -> None:
    client.messages += [
        fakes.make_message(Kind.UPDATE, fakes.make_bar(closed=False, complete=False)),
        fakes.make_message(Kind.CLOSE, fakes.make_bar(complete=False, revision=2)),
        fakes.make_message(Kind.HEARTBEAT, None),
    ]
    lines = invoke("watch", "BTCUSDT").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("update    BTCUSDT 1m 2026-05-08 14:30  O 100.00000000")
    assert lines[1].endswith("trades 7  incomplete  revision 2")
    assert lines[2].startswith("heartbeat")


def test_watch_gives_json_lines_to_programs(invoke, client) -> None:
    client.messages += [fakes.make_message(Kind.UPDATE, fakes.make_bar())]
    document = json.loads(invoke("watch", "--format", "json").stdout)
    assert document["kind"] == "update"
    assert document["bar"]["volume"] == "1234567890123.00000001"


def test_watch_of_a_symbol_that_is_not_served_names_those_that_are(invoke, client) -> None:
    result = invoke("watch", "XRPUSDT")
    assert result.exit_code == 1
    assert result.stderr.endswith("does not serve XRPUSDT: it serves BTCUSDT, ETHUSDT.\n")


def test_a_file_for_the_call_that_cannot_be_read_is_one_sentence(invoke) -> None:
    for option in ("--token-file", "--ca"):
        result = invoke("status", option, "no-such-file")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"candled: {option} no-such-file cannot be ")
        assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_daemon_with_tokens_is_asked_with_one(tmp_path) -> None:
    token = "a-token-of-many-letters"
    (tmp_path / "tokens").write_text(f"{token}\n")
    with demo(tmp_path, "--tokens-file", "tokens") as daemon:
        where = ("--address", daemon.grpc)
        done = subprocess.run([*CANDLED, "status", *where], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "token" in done.stderr
        daemon.candled("bars", "BTCUSDT", *where, "--token-file", "tokens", "--format", "json")
        assert httpx.get(f"http://{daemon.http}/metrics").status_code == 401
