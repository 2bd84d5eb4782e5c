"""Recorded files as markets."""

import json
import zipfile
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from candled.embedded_exchange.ledger import Ledger
from candled.embedded_exchange.market import MINUTE
from candled.embedded_exchange.replay import load_recording
from candled.embedded_exchange.wire import kline_row, trade_row
from tests.embedded_exchange.worlds import kline_of_row, naive_kline, open_world, replayed
from tests.recordings import recordings

AGGREGATES = "spot_BTCUSDT_aggTrades_20200102T151023-151839.json"
CAPTURE = "spot_ws_BTC_ETH_DOT_20210404T2003-2004.jsonl"


def test_klines_of_recorded_aggregates_are_the_official_ones() -> None:
    folder = recordings()
    market = load_recording(folder / AGGREGATES)
    ledger = Ledger(market)
    official = json.loads((folder / "spot_BTCUSDT_klines_1m_20200102T1510-1518.json").read_text())
    whole = [row for row in official if market.start <= row[0] * 1000 < market.end]
    assert len(whole) == 7
    for row in whole:
        kline = ledger.kline("BTCUSDT", row[0] * 1000, row[0] * 1000 + MINUTE, market.end)
        assert kline is not None
        assert json.loads(kline_row(kline, 1000)) == row


def test_recorded_aggregates_sum_to_klines() -> None:
    """Single trades made of recorded aggregates add up to the official klines."""
    folder = recordings()
    market = load_recording(folder / AGGREGATES)
    official = json.loads((folder / "spot_BTCUSDT_klines_1m_20200102T1510-1518.json").read_text())
    for row in official[1:8]:
        fills = market.block("BTCUSDT", row[0] * 1000 // MINUTE)
        assert all(fill.first_id == fill.last_id for fill in fills)
        rows = [json.loads(trade_row(fill, 1000)) for fill in fills]
        assert naive_kline(rows) == kline_of_row(row)


def test_rows_make_whole_minutes() -> None:
    """A market of rows has their whole minutes, the earlier ones as history."""
    market = load_recording(recordings() / AGGREGATES)
    assert (market.start % MINUTE, market.end % MINUTE, market.end - market.start) == (0, 0, 7 * MINUTE)
    history = market.block("BTCUSDT", market.start // MINUTE - 1)
    assert history
    assert not market.has_kline("BTCUSDT", market.start - MINUTE, market.start)
    assert not market.block("BTCUSDT", market.end // MINUTE)


def test_recorded_quote_quantities_are_those_that_rest_answers() -> None:
    folder = recordings()
    name = "unpaired_spot_ETHBTC_trades_20230320T024537-024927.json"
    recorded = {row["id"]: row for row in json.loads((folder / name).read_text())}
    market = load_recording(folder / name)
    ledger = Ledger(market)
    rows = [json.loads(trade_row(fill, 1000)) for fill in ledger.fills_between("ETHBTC", market.start, market.end)]
    assert len(rows) > 500
    assert all(row == recorded[row["id"]] for row in rows)


def test_kline_messages_are_passed_through() -> None:
    """Every kline message of a capture is sent as it was recorded."""
    folder = recordings()
    lines = [json.loads(line)["msg"] for line in (folder / CAPTURE).read_text().splitlines()]
    market = load_recording(folder / CAPTURE)
    assert [(frame.stream, frame.data) for frame in market.frames] == [(m["stream"], m["data"]) for m in lines]
    assert all(before.due <= after.due for before, after in zip(market.frames, market.frames[1:], strict=False))


async def test_capture_keeps_its_order(autojump_clock: MockClock) -> None:
    """A capture is replayed in its order over a stream."""
    folder = recordings()
    lines = [json.loads(line)["msg"] for line in (folder / CAPTURE).read_text().splitlines()]
    wanted = [m for m in lines if m["data"]["s"] != "DOTUSDT"]
    async with open_world(replayed(folder / CAPTURE)) as world:
        names = "/".join(f"{s}@{k}" for s in ("btcusdt", "ethusdt") for k in ("aggTrade", "kline_1m"))
        client = await world.subscribe(f"/stream?streams={names}")
        assert await client.take(len(wanted)) == wanted


async def test_a_replay_waits_for_its_first_subscriber(autojump_clock: MockClock) -> None:
    async with open_world(replayed(recordings() / AGGREGATES)) as world:
        await trio.sleep(100)
        assert await world.get("time") == {"serverTime": 1577977860000}
        client = await world.subscribe("/ws/btcusdt@aggTrade")
        first = await client.next()
        assert first["T"] >= 1577977860000
        history = await world.get(f"aggTrades?symbol=BTCUSDT&fromId={first['a'] - 1}&limit=1")
        assert history[0]["l"] == first["f"] - 1
        assert history[0]["T"] < 1577977860000


async def test_market_halts_at_the_end(autojump_clock: MockClock) -> None:
    """At the end of a recording the market halts, and REST still answers."""
    async with open_world(replayed(recordings() / AGGREGATES, speed=1000)) as world:
        client = await world.subscribe("/ws/btcusdt@aggTrade")
        await client.next()
        assert (await world.get("exchangeInfo"))["symbols"][0]["status"] == "TRADING"
        await trio.sleep(60)
        assert (await world.get("exchangeInfo"))["symbols"][0]["status"] == "HALT"
        klines = await world.get("klines?symbol=BTCUSDT&interval=1m")
        assert [row[0] for row in klines] == [1577977860000 + 60_000 * n for n in range(7)]
        now = (await world.get("time"))["serverTime"]
        assert 1577978280000 < now < 1577978280000 + 61_000, "after the end its clock runs at real speed"


async def test_rest_trades_of_a_replay_give_its_klines(autojump_clock: MockClock) -> None:
    async with open_world(replayed(recordings() / AGGREGATES, speed=1000)) as world:
        await (await world.subscribe("/ws/btcusdt@aggTrade")).next()
        await trio.sleep(60)
        rows = await world.get("historicalTrades?symbol=BTCUSDT&fromId=0&limit=1000")
        kline = (await world.get("klines?symbol=BTCUSDT&interval=1m&limit=1&startTime=1577977860000"))[0]
        inside = [row for row in rows if kline[0] <= row["time"] <= kline[6]]
        assert naive_kline(inside) == kline_of_row(kline)


def test_an_archive_of_trades_is_a_whole_day(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2026-05-08.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "BTCUSDT-trades-2026-05-08.csv",
            "11,80000.10000000,0.00100000,80.00010000,1778198400000123,True,True\n"
            "12,80000.20000000,0.00200000,160.00040000,1778198460000000,False,True\n",
        )
    market = load_recording(path)
    assert (market.start, market.end) == (1778198400000000, 1778284800000000)
    assert [fill.time for fill in market.block("BTCUSDT", market.start // MINUTE)] == [1778198400000123]
    assert market.has_kline("BTCUSDT", market.start, market.start + MINUTE)


def test_the_identity_is_name_and_content(tmp_path: Path) -> None:
    row = '[{"id":1,"price":"1.0","qty":"2.0","time":1577977823305,"isBuyerMaker":true}]'
    (tmp_path / "ABCUSDT_trades.json").write_text(row)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ABCUSDT_trades.json").write_text(row.replace("2.0", "3.0"))
    one = load_recording(tmp_path / "ABCUSDT_trades.json").identity
    other = load_recording(tmp_path / "other" / "ABCUSDT_trades.json").identity
    assert one.startswith("replay ABCUSDT_trades.json ")
    assert one != other


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("BTCUSDT_trades.json", b"[]", "is empty"),
        ("BTCUSDT_trades.json", b"not json", "not a recording"),
        ("BTCUSDT_trades.json", b'[{"foo": 1}]', "not a recording"),
        ("trades.json", b'[{"id":1,"price":"1","qty":"2","time":1577977823305,"isBuyerMaker":true}]', "a symbol"),
        ("BTCUSDT-1m-2020-01-02.zip", b"", "not an archive of trades"),
        ("capture.jsonl", b"", "is empty"),
    ],
)
def test_file_must_be_a_recording(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    """A file that is no recording is refused with a sentence."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        load_recording(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read the recording .*BTCUSDT"):
        load_recording(tmp_path / "BTCUSDT_trades.json")


def test_trades_out_of_order_are_refused(tmp_path: Path) -> None:
    rows = [
        {"id": number, "price": "1", "qty": "2", "time": time, "isBuyerMaker": True}
        for number, time in ((1, 1577977823305), (2, 1577977823300))
    ]
    (tmp_path / "BTCUSDT_trades.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="out of order at trade 2"):
        load_recording(tmp_path / "BTCUSDT_trades.json")
