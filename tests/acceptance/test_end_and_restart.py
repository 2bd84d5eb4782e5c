"""Orderly ends, hard kills and second starts, of real processes under load."""

import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.client import Bar, ClientError, Kind, Message, TrioClient, open_trio_client
from candled.history import connect
from tests.acceptance.processes import (
    NINE,
    RunningDaemon,
    RunningExchange,
    daemon_options,
    official,
    one_sentence,
    open_daemon,
    open_exchange,
    run_candled,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
PLAIN_READER = """
import duckdb, sys
files = sys.argv[1] + "/recent/*.parquet"
print(duckdb.sql(f"SELECT DISTINCT symbol FROM read_parquet('{files}') ORDER BY symbol").fetchall())
"""
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")


def stored_bars(data_dir: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The stored 1-minute bars by symbol and open time in seconds, as the exchange writes klines."""
    columns = ", ".join(NINE)
    with connect(data_dir) as history:
        rows = history.execute(
            f"SELECT symbol, epoch(open_time)::BIGINT, complete, closed, {columns} FROM bars WHERE interval = '1m'"
        ).fetchall()
    assert all(row[3] for row in rows), "only closed bars are stored"
    keys = [(row[0], row[1]) for row in rows]
    assert len(set(keys)) == len(keys), "one row for each bar"
    return {
        (row[0], row[1]): {
            "complete": row[2],
            **{n: v if n == "trade_count" else f"{v:f}" for n, v in zip(NINE, row[4:], strict=True)},
        }
        for row in rows
    }


async def exchange_klines(
    exchange: RunningExchange, symbol: str, first: int, last: int
) -> dict[int, dict[str, Any]]:
    """The exchange's klines by open time in seconds, both ends included."""
    query: dict[str, str | int] = {
        "symbol": symbol,
        "interval": "1m",
        "startTime": first * 1000,
        "endTime": last * 1000,
        "limit": 1000,
    }
    async with httpx.AsyncClient(base_url=exchange.rest) as http:
        rows = (await http.get("/api/v3/klines", params=query)).json()
    return {row[0] // 1000: official(row) for row in rows}


async def compare(daemon: RunningDaemon, exchange: RunningExchange, *, past: datetime) -> None:
    """Every bar from the first to one after ``past`` ends complete and equal to the exchange's kline."""
    async with open_trio_client(daemon.grpc) as client:
        for symbol in SYMBOLS:
            with trio.fail_after(60):
                while True:
                    bars = [bar async for page in client.bar_pages(symbol, "1m", None, None) for bar in page][:-1]
                    if bars and bars[-1].open_time > past and all(bar.complete for bar in bars):
                        break
                    await trio.sleep(0.2)
            first, last = (round(bar.open_time.timestamp()) for bar in (bars[0], bars[-1]))
            klines = await exchange_klines(exchange, symbol, first, last)
            assert {round(bar.open_time.timestamp()): nine(bar) for bar in bars} == klines


def nine(bar: Bar) -> dict[str, Any]:
    return {name: getattr(bar, name) if name == "trade_count" else f"{getattr(bar, name):f}" for name in NINE}


async def wait_for_bars(client: TrioClient, count: int) -> datetime:
    """Until every symbol has closed ``count`` bars; the newest open time."""
    closes = dict.fromkeys(SYMBOLS, 0)
    async with client.stream_bars(closed_only=True) as stream:
        async for message in stream:
            if message.bar is not None and message.kind is Kind.CLOSE:
                closes[message.bar.symbol] += 1
                if min(closes.values()) >= count:
                    return message.bar.open_time
    raise AssertionError("the stream ended")


@asynccontextmanager
async def watching_clients(daemon: RunningDaemon, count: int) -> AsyncIterator[list[str]]:
    """``count`` streams of every trade; how each ended."""
    endings: list[str] = []

    async def watch() -> None:
        async with open_trio_client(daemon.grpc) as client:
            try:
                async with client.stream_bars(reconnect=False) as stream:
                    async for _ in stream:
                        pass
            except ClientError as error:
                endings.append(f"{error.code} {error.text}")

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(watch)
        yield endings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_signal_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends streams with the point to resume from, and a second start continues with the stored bars."""
    data_dir = tmp_path / "data"
    async with open_exchange("--speed=30") as exchange:
        async with open_daemon(exchange, data_dir) as daemon, watching_clients(daemon, 5) as endings:
            async with open_trio_client(daemon.grpc) as client:
                await wait_for_bars(client, 2)
                assert (await client.status()).subscribers >= 5
            began = time.monotonic()
            assert await daemon.stop(number) == 0
            assert time.monotonic() - began < 10
        assert len(endings) == 5
        for ending in endings:
            assert ending.startswith("UNAVAILABLE The daemon is stopping: resume with")
            assert "start_time" in ending
        assert "Traceback" not in daemon.running.text
        stored = stored_bars(data_dir)
        newest = max(open_time for _, open_time in stored)
        for symbol in SYMBOLS:
            klines = await exchange_klines(exchange, symbol, newest - 600, newest)
            for (name, open_time), bar in stored.items():
                if name == symbol and bar["complete"]:
                    assert bar == {"complete": True, **klines[open_time]}
        async with open_daemon(exchange, data_dir) as daemon:
            await compare(daemon, exchange, past=datetime.fromtimestamp(newest, UTC) + timedelta(minutes=1))
            assert await daemon.stop() == 0
        assert set(stored) <= set(stored_bars(data_dir))


async def test_killed_daemon_loses_no_bar(tmp_path: Path) -> None:
    """After kill -9 and a restart every bar is the exchange's."""
    data_dir = tmp_path / "data"
    async with open_exchange("--speed=30") as exchange:
        async with open_daemon(exchange, data_dir) as daemon, open_trio_client(daemon.grpc) as client:
            await wait_for_bars(client, 2)
            acknowledged = [bar async for page in client.bar_pages("BTCUSDT", "1m", None, None) for bar in page]
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        began = time.monotonic()
        async with open_daemon(exchange, data_dir) as daemon, open_trio_client(daemon.grpc) as client:
            async with client.stream_bars(symbols=["BTCUSDT"]) as stream:
                seconds = await first_forming(stream) - began
            print(f"kill -9 to serving again with a whole current bar: {seconds:.2f} s")
            await compare(daemon, exchange, past=acknowledged[-1].open_time + timedelta(minutes=3))
            assert await daemon.stop() == 0
        stored = stored_bars(data_dir)
        for bar in acknowledged:
            assert ("BTCUSDT", round(bar.open_time.timestamp())) in stored


async def test_stored_bars_precede_the_exchange(
    tmp_path: Path,
) -> None:
    """Stored bars are served before the exchange answers; trades follow once it does."""
    market = ("--speed=30", "--seed=7", f"--epoch={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    async with open_exchange(*market) as exchange:
        async with open_daemon(exchange, tmp_path / "data") as daemon, open_trio_client(daemon.grpc) as client:
            await wait_for_bars(client, 2)
            stored = [bar async for page in client.bar_pages("BTCUSDT", "1m", None, None) for bar in page]
            assert await daemon.stop() == 0
        assert exchange.running is not None
        await exchange.running.stop(signal.SIGKILL)
    async with open_daemon(exchange, tmp_path / "data") as daemon, open_trio_client(daemon.grpc) as client:
        served = [bar async for page in client.bar_pages("BTCUSDT", "1m", None, None) for bar in page]
        assert served[: len(stored)] == stored
        async with httpx.AsyncClient() as http:
            readiness = await http.get(f"http://{daemon.http}/readyz")
        assert readiness.status_code == 503
        assert "exchange" in readiness.text
        async with client.stream_bars(symbols=["BTCUSDT"], start_time=stored[0].open_time) as stream:
            assert (await anext(aiter(stream))).bar == stored[0]
            async with open_exchange(*market, address=exchange.address) as again:
                with trio.fail_after(60):
                    await first_forming(stream)
                await compare(daemon, again, past=stored[-1].open_time + timedelta(minutes=4))
        assert await daemon.stop() == 0


async def test_another_exchange_is_refused(tmp_path: Path) -> None:
    """A directory with bars of one exchange refuses another, once that has named itself."""
    async with (
        open_exchange("--speed=30", "--seed=7") as exchange,
        open_daemon(exchange, tmp_path / "data") as daemon,
        open_trio_client(daemon.grpc) as client,
    ):
        await wait_for_bars(client, 1)
        assert await daemon.stop() == 0
    async with open_exchange("--speed=30", "--seed=8") as other:
        refused = await run_candled("run", *daemon_options(other, tmp_path / "data"))
    assert refused.returncode == 1
    assert "use another data directory" in one_sentence(refused.stderr)


async def test_journal_only_bars_are_fetched_again(tmp_path: Path) -> None:
    """Bars that only a damaged journal had are fetched from the exchange."""
    data_dir = tmp_path / "data"
    async with open_exchange("--speed=30") as exchange:
        async with open_daemon(exchange, data_dir) as daemon:
            async with open_trio_client(daemon.grpc) as client:
                await wait_for_bars(client, 1)
            assert await daemon.stop() == 0  # what it has is published
        async with open_daemon(exchange, data_dir, "--publish-delay=60") as daemon:
            async with open_trio_client(daemon.grpc) as client:
                acknowledged = await stop_while_a_bar_is_in_the_journal_alone(daemon, client)
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        times = {("BTCUSDT", round(bar.open_time.timestamp())) for bar in acknowledged}
        for file in data_dir.glob("candled.duckdb*"):
            file.write_bytes(b"\0" * 5000)
        async with open_daemon(exchange, data_dir) as daemon:
            await daemon.running.said("file set aside")
            await compare(daemon, exchange, past=acknowledged[-1].open_time + timedelta(minutes=3))
            assert await daemon.stop() == 0
        assert times <= set(stored_bars(data_dir))
        assert {file.name for file in (data_dir / "set-aside").iterdir()} == {
            "3-candled.duckdb",
            "3-candled.duckdb.wal",
        }


async def stop_while_a_bar_is_in_the_journal_alone(daemon: RunningDaemon, client: TrioClient) -> list[Bar]:
    """Freeze the daemon at a moment when an acknowledged bar is in no file; the acknowledged bars of BTCUSDT."""
    with trio.fail_after(60):
        while True:
            bars = [bar async for page in client.bar_pages("BTCUSDT", "1m", None, None) for bar in page]
            daemon.running.process.send_signal(signal.SIGSTOP)
            published = set(stored_bars(daemon.data_dir))
            if any(("BTCUSDT", round(bar.open_time.timestamp())) not in published for bar in bars):
                return bars
            daemon.running.process.send_signal(signal.SIGCONT)
            await trio.sleep(0.2)


async def first_forming(stream: AsyncIterator[Message]) -> float:
    """When the first forming bar came."""
    async for message in stream:
        if message.bar is not None and not message.bar.closed:
            return time.monotonic()
    raise AssertionError("the stream ended")


async def test_killed_exchange_leaves_no_gap(tmp_path: Path) -> None:
    """After kill -9 of the exchange the daemon repairs what it missed."""
    market = ("--speed=30", "--seed=7", f"--epoch={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    async with open_exchange(*market) as exchange:  # noqa: SIM117 - it ends before the daemon does
        async with open_daemon(exchange, tmp_path / "data") as daemon, open_trio_client(daemon.grpc) as client:
            before = await wait_for_bars(client, 2)
            assert exchange.running is not None
            assert await exchange.running.stop(signal.SIGKILL) == -signal.SIGKILL
            await daemon.running.said("connection lost")
            async with open_exchange(*market, address=exchange.address) as again:
                await wait_for_bars(client, 2)
                await compare(daemon, again, past=before + timedelta(minutes=4))
                assert await daemon.stop() == 0
    assert "Traceback" not in daemon.running.text


async def test_other_processes_read_while_it_runs(
    tmp_path: Path,
) -> None:
    """``candled sql`` and plain ``read_parquet`` work on a directory that a daemon holds."""
    data_dir = tmp_path / "data"
    async with open_exchange("--speed=30") as exchange, open_daemon(exchange, data_dir) as daemon:
        async with open_trio_client(daemon.grpc) as client:
            await wait_for_bars(client, 2)
            (bar, *_) = [bar async for page in client.bar_pages("PEPEUSDT", "1m", None, None) for bar in page]
        query = f"SELECT * FROM bars WHERE interval = '1m' AND epoch(open_time) = {bar.open_time.timestamp():.0f}"
        with trio.fail_after(60):
            rows: list[dict[str, Any]] = []
            while len(rows) < len(SYMBOLS):
                done = await run_candled("sql", query, "--format", "json", "--data-dir", data_dir)
                assert done.returncode == 0, done.stderr
                rows = json.loads(done.stdout)
        assert sorted(row["symbol"] for row in rows) == list(SYMBOLS)
        row = next(row for row in rows if row["symbol"] == "PEPEUSDT")
        assert {name: row[name] for name in NINE} == nine(bar)
        assert (row["interval"], row["first_trade_id"]) == ("1m", bar.first_trade_id)
        command = [sys.executable, "-c", PLAIN_READER, str(data_dir)]
        plain = await trio.run_process(command, capture_stdout=True)
        assert plain.stdout.decode().strip() == str([(symbol,) for symbol in SYMBOLS])
        assert await daemon.stop() == 0
