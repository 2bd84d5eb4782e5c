"""What each command prints, on stand-ins for the daemon and the history."""

import csv
import io
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from candled.cli import parts
from candled.cli.main import main
from candled.client import Bar, Gap, GapState, Ingester, Kind
from candled.errors import UserError
from tests.cli import fakes
from tests.cli.demo import CANDLED, demo
from tests.cli.fakes import Invoke


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [*arguments], prog_name="candled", catch_exceptions=False)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    bars: list[Bar] = []
    monkeypatch.setattr(parts, "connect_history", lambda _data_dir, **_options: fakes.history(bars))
    return bars


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> fakes.Client:
    client = fakes.Client()

    @asynccontextmanager
    async def open_client(_address: str) -> AsyncIterator[fakes.Client]:
        yield client

    monkeypatch.setattr(parts, "open_client", open_client)
    return client


def test_json_has_decimals_as_strings(invoke: Invoke, stored: list[Bar]) -> None:
    """``bars`` in JSON gives objects, with exact decimals as strings."""
    stored += fakes.minutes(2)
    document = json.loads(invoke("bars", "BTCUSDT", "--format", "json").stdout)
    assert len(document) == 2
    assert document[0]["volume"] == "1234567890123.00000001"
    assert document[0]["open_time"] == "2026-05-08T14:30:00+00:00"
    assert document[0]["complete"] is True


def test_bars_in_csv_have_every_column(invoke: Invoke, stored: list[Bar]) -> None:
    stored += fakes.minutes(2)
    rows = list(csv.DictReader(io.StringIO(invoke("bars", "BTCUSDT", "--format", "csv").stdout)))
    assert list(rows[0]) == [
        "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
        "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
        "complete", "revision",
    ]  # fmt: skip
    assert rows[1]["open_time"] == "2026-05-08T14:31:00+00:00"
    assert rows[1]["close"] == "105.50000000"


def test_empty_minute_has_no_trade_ids(invoke: Invoke, stored: list[Bar]) -> None:
    """The trade ids of an empty minute are empty in CSV and null in JSON."""
    stored += fakes.minutes(1, first_trade_id=None, last_trade_id=None)
    assert (
        next(csv.DictReader(io.StringIO(invoke("bars", "BTCUSDT", "--format", "csv").stdout)))["last_trade_id"]
        == ""
    )
    assert json.loads(invoke("bars", "BTCUSDT", "--format", "json").stdout)[0]["last_trade_id"] is None


def test_bars_in_parquet_keep_decimals_and_utc_microseconds(
    invoke: Invoke, stored: list[Bar], tmp_path: Path
) -> None:
    stored += fakes.minutes(3)
    assert invoke("bars", "BTCUSDT", "--format", "parquet", "--output", "out.parquet").exit_code == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 3
    assert table["volume"][0].as_py() == Decimal("1234567890123.00000001")
    assert str(table.schema.field("open_time").type) == "timestamp[us, tz=UTC]"


def test_from_and_to_are_half_open(invoke: Invoke, stored: list[Bar]) -> None:
    stored += fakes.minutes(10)
    arguments = ["--from", "2026-05-08T14:32", "--to", "2026-05-08T14:35", "--format", "json"]
    times = [bar["open_time"][11:16] for bar in json.loads(invoke("bars", "BTCUSDT", *arguments).stdout)]
    assert times == ["14:32", "14:33", "14:34"]


def test_times_follow_the_zone(invoke: Invoke, stored: list[Bar]) -> None:
    """Times are read and shown in the zone of the option."""
    stored += fakes.minutes(10)
    arguments = ["--from", "2026-05-08T16:39", "--tz", "Europe/Berlin", "--format", "json"]
    document = json.loads(invoke("bars", "BTCUSDT", *arguments).stdout)
    assert [bar["open_time"] for bar in document] == ["2026-05-08T16:39:00+02:00"]


def test_limit_takes_the_newest(invoke: Invoke, stored: list[Bar]) -> None:
    """``--limit`` selects the newest bars and shows them oldest first."""
    stored += fakes.minutes(10)
    document = json.loads(invoke("bars", "BTCUSDT", "--limit", "2", "--format", "json").stdout)
    assert [bar["open_time"][11:16] for bar in document] == ["14:38", "14:39"]


def test_table_trims_decimals(invoke: Invoke, stored: list[Bar]) -> None:
    """A table shows no more decimals than its column uses."""
    stored += fakes.minutes(2)
    lines = invoke("bars", "BTCUSDT").stdout.splitlines()
    assert lines[0].split()[:2] == ["open_time", "open"]
    assert lines[1].split()[:6] == ["2026-05-08", "14:30", "100", "110", "90", "105.5"]


def test_bars_of_an_unknown_symbol(invoke: Invoke, stored: list[Bar]) -> None:
    """The error lists the symbols that have bars."""
    stored += fakes.minutes(1) + fakes.minutes(1, "ETHUSDT")
    result = invoke("bars", "XRPUSDT", "--format", "csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "candled: No bars of XRPUSDT in candled-data: it has BTCUSDT, ETHUSDT.\n"


def test_no_bars_in_a_period(invoke: Invoke, stored: list[Bar]) -> None:
    """A period without bars is a message, with exit status 0."""
    stored += fakes.minutes(1)
    result = invoke("bars", "BTCUSDT", "--from", "2027-01-01", "--format", "json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert "no closed 1m bar of BTCUSDT" in result.stderr


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_invalid_time_shows_the_form(invoke: Invoke, stored: list[Bar], option: str) -> None:
    """The error of a time that cannot be read shows how to write one."""
    result = invoke("bars", "BTCUSDT", option, "yesterdayish")
    assert result.exit_code == 2
    assert "2026-05-08T14:30" in result.stderr


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("-999999w", "UTC"),
        ("-3000w", "UTC"),
        ("0001-01-01", "Asia/Tokyo"),
        ("9999-12-31T23:30", "America/New_York"),
        ("1969-12-31T23:59:59", "UTC"),
        ("2100-01-01T00:00:01", "UTC"),
    ],
)
def test_time_beyond_limits_is_refused(
    invoke: Invoke, stored: list[Bar], option: str, text: str, zone: str
) -> None:
    """A time that no bar can have is a mistake that is named with the limits, whatever its form."""
    result = invoke("bars", "BTCUSDT", option, text, "--tz", zone)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'{text}' is not a time from 1970-01-01 to 2100-01-01" in result.stderr


@pytest.mark.parametrize("command", ["bars", "watch"])
@pytest.mark.parametrize("words", ["", " , "])
def test_words_without_symbol_are_refused(invoke: Invoke, stored: list[Bar], command: str, words: str) -> None:
    """An empty variable of the shell is neither all symbols nor a symbol without bars."""
    result = invoke(command, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "names no symbol" in result.stderr


def test_bars_from_a_daemon(invoke: Invoke, client: fakes.Client) -> None:
    """With ``--address`` bars are read from a daemon."""
    client.bars += fakes.minutes(5)
    document = json.loads(
        invoke("bars", "BTCUSDT", "--address", "127.0.0.1:1", "--limit", "3", "--format", "json").stdout
    )
    assert [bar["open_time"][11:16] for bar in document] == ["14:32", "14:33", "14:34"]


def test_sql_in_json(invoke: Invoke, stored: list[Bar]) -> None:
    """``sql`` in JSON gives an array of objects, with decimals as strings."""
    stored += fakes.minutes(2)
    result = invoke(
        "sql", "SELECT symbol, max(high) AS top, count(*) AS n FROM bars GROUP BY 1", "--format", "json"
    )
    assert json.loads(result.stdout) == [{"symbol": "BTCUSDT", "top": "110.00000000", "n": 2}]


def test_sql_without_rows_is_an_empty_array(invoke: Invoke, stored: list[Bar]) -> None:
    assert json.loads(invoke("sql", "SELECT * FROM bars", "--format", "json").stdout) == []


def test_a_wrong_query_is_no_traceback(invoke: Invoke, stored: list[Bar]) -> None:
    """DuckDB's explanation ends the command."""
    result = invoke("sql", "SELEC 1")
    assert result.exit_code == 1
    assert result.stderr.startswith("candled: The query failed: Parser Error")


def test_status_shows_symbols_and_their_gaps(invoke: Invoke, client: fakes.Client) -> None:
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


def test_status_names_the_process_and_its_ingesters(invoke: Invoke, client: fakes.Client) -> None:
    """Where several share the work, it says which process answered and which ingesters report to it."""
    ingesters = (
        Ingester(name="ingest-0", rank=0, ready=True, symbols=3),
        Ingester(name="ingest-1", rank=1, ready=False, symbols=3),
    )
    client.state = fakes.make_status(process="edge-1", ingesters=ingesters)

    said = "ingest-0 (rank 0, symbols 3), ingest-1 (rank 1, symbols 3, NOT READY)"
    assert f"answered by edge-1; ingesters: {said}\n" in invoke("status").stdout


def test_status_not_ready_exits_3(invoke: Invoke, client: fakes.Client) -> None:
    """``status`` says why a daemon is not ready, with exit status 3."""
    client.state = fakes.make_status(ready=False, not_ready_reasons=("BTCUSDT is not live.",))
    result = invoke("status")
    assert result.exit_code == 3
    assert "NOT READY\n  BTCUSDT is not live.\n" in result.stdout


@pytest.fixture
def readyz() -> Iterator[tuple[str, dict[str, Any]]]:
    """An HTTP port that answers ``/readyz``: its address, and what it answers."""
    answer: dict[str, Any] = {
        "status": 503,
        "text": "The daemon is starting: backfilling.\nBTCUSDT: 3 of 60 minutes.\n",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["text"].encode())

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", answer
        server.shutdown()
        thread.join()


def test_status_of_a_starting_daemon_comes_over_http(
    invoke: Invoke, readyz: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the gRPC port is open, the phase and the reason are those of ``/readyz``."""
    monkeypatch.setenv("CANDLED_GRPC_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("CANDLED_HTTP_ADDRESS", readyz[0])
    result = invoke("status")
    assert (result.exit_code, result.stdout) == (
        3,
        "NOT READY\n  The daemon is starting: backfilling.\n  BTCUSDT: 3 of 60 minutes.\n",
    )
    document = json.loads(invoke("status", "--format", "json").stdout)
    assert document["not_ready_reasons"][1] == "BTCUSDT: 3 of 60 minutes."


@pytest.mark.parametrize(
    ("status", "text"), [(200, "ready\n"), (404, "not found"), (503, "Service Unavailable"), (503, "")]
)
def test_status_believes_no_other_service(
    invoke: Invoke, readyz: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, status: int, text: str
) -> None:
    """What else listens on the HTTP address is not taken for a daemon that starts."""
    monkeypatch.setenv("CANDLED_GRPC_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("CANDLED_HTTP_ADDRESS", readyz[0])
    readyz[1].update(status=status, text=text)
    result = invoke("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("candled: No daemon answers at 127.0.0.1:1")


def test_status_in_json_keeps_decimals_as_strings(invoke: Invoke, client: fakes.Client) -> None:
    document = json.loads(invoke("status", "--format", "json").stdout)
    assert document["symbols"][0]["last_price"] == "105.50000000"


@pytest.mark.parametrize("command", [["status"], ["watch"], ["bars", "BTCUSDT"]])
def test_status_without_a_daemon(invoke: Invoke, command: list[str]) -> None:
    """A daemon that cannot be reached is an error of one sentence."""
    result = invoke(*command, "--address", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "candled: No daemon answers at 127.0.0.1:1: start one with `candled run` or `candled demo`, "
        "or give --address; a daemon with TLS needs --tls or --ca.\n"
    )


def test_a_directory_without_bars_is_one_sentence(invoke: Invoke) -> None:
    result = invoke("sql", "SELECT 1", "--data-dir", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("candled: ")
    assert "nowhere" in result.stderr
    assert result.stderr.count("\n") == 1


def test_piped_watch_writes_lines(invoke: Invoke, client: fakes.Client) -> None:
    """``watch`` writes a line for each message when its output is piped."""
    client.messages += [
        fakes.make_message(Kind.UPDATE, fakes.make_bar(closed=False, complete=False)),
        fakes.make_message(Kind.CLOSE, fakes.make_bar(complete=False, revision=2)),
        fakes.make_heartbeat(),
    ]
    lines = invoke("watch", "BTCUSDT").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("update    BTCUSDT 1m 2026-05-08 14:30  O 100.00000000")
    assert lines[1].endswith("trades 7  incomplete  revision 2")
    assert lines[2].startswith("heartbeat")


def test_watch_gives_json_lines_to_programs(invoke: Invoke, client: fakes.Client) -> None:
    client.messages += [fakes.make_message(Kind.UPDATE, fakes.make_bar())]
    document = json.loads(invoke("watch", "--format", "json").stdout)
    assert document["kind"] == "update"
    assert document["bar"]["volume"] == "1234567890123.00000001"


def test_watch_passes_the_refusal_on(invoke: Invoke, client: fakes.Client) -> None:
    """A symbol of another shard ends watch with the daemon's own sentence, which names that shard."""
    text = "Not served here: PEPEUSDT. PEPEUSDT is served by shard 1 at candled-1.candled-shards.prices.svc:50051."
    client.refusal = UserError(text)
    result = invoke("watch", "BTCUSDT", "PEPEUSDT")
    assert result.exit_code == 1
    assert result.stderr == f"candled: {text}\n"


def test_unreadable_token_or_certificate(invoke: Invoke) -> None:
    """A token or certificate file that cannot be read is an error of one sentence."""
    for option in ("--token-file", "--ca"):
        result = invoke("status", option, "no-such-file")
        assert result.exit_code == 1
        assert " no-such-file cannot be " in result.stderr
        assert option in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_daemon_with_tokens_is_asked_with_one(tmp_path: Path) -> None:
    token = "a-token-of-many-letters"
    (tmp_path / "tokens").write_text(f"{token}\n")
    with demo(tmp_path, "--tokens-file", "tokens") as daemon:
        where = ("--address", daemon.grpc)
        done = subprocess.run([*CANDLED, "status", *where], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "token" in done.stderr
        daemon.candled("bars", "BTCUSDT", *where, "--token-file", "tokens", "--format", "json")
        assert httpx.get(f"http://{daemon.http}/metrics").status_code == 401
