"""Recorded Binance data through the whole path: websocket, daemon, gRPC and Parquet, each in its own process."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from candled.client import Bar, Kind, Message, open_trio_client
from candled.history import connect
from tests.acceptance.processes import NINE, RunningDaemon, RunningExchange, official, open_daemon, open_exchange
from tests.recordings import recordings

AGGREGATES: Final = "spot_BTCUSDT_aggTrades_20200102T151023-151839.json"
WHOLE_MINUTES: Final = range(1577977860, 1577978280, 60)
"""15:11 to 15:17, open times in seconds."""

KLINE_FIELDS: Final = {
    "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "q": "quote_volume", "n": "trade_count",
    "V": "taker_buy_volume", "Q": "taker_buy_quote_volume", "f": "first_trade_id", "L": "last_trade_id",
}  # fmt: skip
"""What the exchange's kline message calls a bar's fields."""


def official_klines(folder: Path) -> dict[int, dict[str, Any]]:
    """The official archive's klines of the recorded minutes, by open time in seconds."""
    with zipfile.ZipFile(folder / "BTCUSDT-1m-2020-01-02.zip") as archive:
        lines = io.TextIOWrapper(archive.open(archive.namelist()[0]), "ascii").read().split()
    rows = [line.split(",") for line in lines]
    return {
        int(row[0]) // 1000: official([*row[:8], int(row[8]), *row[9:]])
        for row in rows
        if int(row[0]) // 1000 in WHOLE_MINUTES
    }


def nine(bar: Bar) -> dict[str, Any]:
    """A bar's nine fields as the exchange writes them."""
    return {name: getattr(bar, name) if name == "trade_count" else f"{getattr(bar, name):f}" for name in NINE}


async def start_replay(daemon: RunningDaemon, exchange: RunningExchange) -> None:
    """Begin once somebody listens to the daemon."""
    async with open_trio_client(daemon.grpc) as client, httpx.AsyncClient() as http:
        while (await client.status()).subscribers == 0:
            await trio.sleep(0.02)
        assert (await http.post(f"{exchange.rest}/replay/start")).json()["running"]


def as_kline(bar: Bar) -> dict[str, Any]:
    """A bar as the exchange's kline message writes it."""
    values = {short: getattr(bar, name) for short, name in KLINE_FIELDS.items()}
    return {short: value if isinstance(value, int) else f"{value:f}" for short, value in values.items()}


@asynccontextmanager
async def replayed_stream(
    daemon: RunningDaemon, exchange: RunningExchange, **options: Any
) -> AsyncIterator[AsyncIterator[Message]]:
    """The daemon's stream of bars, opened before the recording begins."""
    async with (
        open_trio_client(daemon.grpc) as client,
        client.stream_bars(**options) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(start_replay, daemon, exchange)
        yield stream


async def stored_bars(daemon: RunningDaemon, symbol: str, count: int) -> list[Bar]:
    """What GetBars answers once it has ``count`` bars: a CLOSE does not wait for the disk."""
    async with open_trio_client(daemon.grpc) as client:
        while True:
            bars = [bar async for page in client.bar_pages(symbol, "1m", None, None) for bar in page]
            if len(bars) >= count:
                return bars
            await trio.sleep(0.05)


async def test_minutes_equal_official_klines(tmp_path: Path) -> None:
    """Every whole minute of the recording, over gRPC and in Parquet, equals the official kline."""
    folder = recordings()
    truth = official_klines(folder)
    assert list(truth) == list(WHOLE_MINUTES)
    replay = ("--replay", folder / AGGREGATES, "--replay-begin=command", "--speed=100")
    options = ("--symbols=BTCUSDT", "--stream=aggTrade")
    with trio.fail_after(40):
        async with (
            open_exchange(*replay) as exchange,
            open_daemon(exchange, tmp_path / "data", *options) as daemon,
        ):
            streamed: dict[int, dict[str, Any]] = {}
            async with replayed_stream(daemon, exchange, closed_only=True) as stream:
                async for message in stream:
                    if message.kind is Kind.CLOSE and message.bar is not None:
                        streamed[int(message.bar.open_time.timestamp())] = nine(message.bar)
                        if len(streamed) == len(truth):
                            break
            assert streamed == truth
            asked = await stored_bars(daemon, "BTCUSDT", len(truth))
            assert {int(bar.open_time.timestamp()): nine(bar) for bar in asked} == truth
            # Nothing after the last minute shows that no trade of it is missing: the recording ends with it.
            assert [bar.complete for bar in asked] == [True] * 6 + [False]
            assert await daemon.stop() == 0
    with connect(tmp_path / "data") as history:
        rows = history.execute(
            f"SELECT epoch(open_time)::BIGINT, {', '.join(NINE)} FROM bars WHERE interval = '1m' ORDER BY ALL"
        ).fetchall()
    stored = {
        row[0]: {name: v if name == "trade_count" else f"{v:f}" for name, v in zip(NINE, row[1:], strict=True)}
        for row in rows
    }
    assert stored == truth


@pytest.mark.parametrize(
    ("name", "messages", "splits"),
    [
        ("spot_ws_BTC_ETH_DOT_20210404T2003-2004.jsonl", 53, 2),
        ("spot_ws_ONTTRY_VETETH_etc_20210417T163612.jsonl", 6, 0),
    ],
)
async def test_updates_equal_kline_messages(tmp_path: Path, name: str, messages: int, splits: int) -> None:
    """Each recorded kline message equals the update of the last trade that it contains."""
    path = recordings() / name
    frames = [json.loads(line)["msg"]["data"] for line in path.read_text().splitlines()]
    trades = [frame for frame in frames if frame["e"] == "aggTrade"]
    klines = [frame["k"] for frame in frames if frame["e"] == "kline"]
    symbols = sorted({trade["s"] for trade in trades})
    first_ids = {(trade["s"], trade["f"]) for trade in trades}
    whole = [kline for kline in klines if (kline["s"], kline["f"]) in first_ids]
    assert len(whole) == messages
    last_ids = {trade["s"]: trade["l"] for trade in trades}
    updates: list[Bar] = []
    with trio.fail_after(50):
        async with (
            open_exchange("--replay", path, "--replay-begin=command", "--speed=20") as exchange,
            open_daemon(
                exchange, tmp_path / "data", f"--symbols={','.join(symbols)}", "--stream=aggTrade"
            ) as daemon,
            replayed_stream(daemon, exchange) as stream,
        ):
            async for message in stream:
                if message.bar is not None:
                    updates.append(message.bar)
                    if last_ids.get(message.bar.symbol) == message.bar.last_trade_id:
                        del last_ids[message.bar.symbol]
                        if not last_ids:
                            break
    by_last_trade = {(bar.symbol, bar.last_trade_id): bar for bar in updates if not bar.closed}
    assert len(by_last_trade) == len(trades), "one update for each aggregate, and none twice"
    equal = [kline for kline in whole if (kline["s"], kline["L"]) in by_last_trade]
    for kline in equal:
        assert as_kline(by_last_trade[kline["s"], kline["L"]]) == {name: kline[name] for name in KLINE_FIELDS}
    others = [kline for kline in whole if kline not in equal]
    assert len(others) == splits
    for kline in others:
        assert any(t["s"] == kline["s"] and t["f"] <= kline["L"] < t["l"] for t in trades), "no aggregate is split"
