"""REST answers in the original's forms, and its klines are those of its trades."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from trio.testing import MockClock

from candled.embedded_exchange.core import Limits
from tests.embedded_exchange.worlds import MINUTE, NOON, World, kline_of_row, naive_kline, open_world, synthetic

NOON_MS = NOON // 1000
MINUTE_MS = MINUTE // 1000


async def trades_between(world: World, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
    """Single trades of a stretch of milliseconds, found as a client finds them: by aggregate, then by id."""
    aggregates = await world.get(f"aggTrades?symbol={symbol}&startTime={start}&endTime={end - 1}&limit=1000")
    if not aggregates:
        return []
    first, last = aggregates[0]["f"], aggregates[-1]["l"]
    rows: list[dict[str, Any]] = []
    while not rows or rows[-1]["id"] < last:
        following = rows[-1]["id"] + 1 if rows else first
        rows += await world.get(f"historicalTrades?symbol={symbol}&fromId={following}&limit=1000")
    return [row for row in rows if row["id"] <= last]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "PEPEUSDT"])
async def test_klines_equal_naive_arithmetic(autojump_clock: MockClock, symbol: str) -> None:
    async with open_world(synthetic()) as world:
        start = NOON_MS - 12 * MINUTE_MS
        klines = await world.get(f"klines?symbol={symbol}&interval=1m&startTime={start}&limit=12")
        assert [row[0] for row in klines] == [start + n * MINUTE_MS for n in range(12)]
        close = None
        for row in klines:
            rows = await trades_between(world, symbol, row[0], row[0] + MINUTE_MS)
            if rows:
                assert naive_kline(rows) == kline_of_row(row)
            elif close is not None:
                assert row[1:5] == [close] * 4
                assert (row[5], row[7], row[8], row[9], row[10]) == (
                    "0.00000000",
                    "0.00000000",
                    0,
                    *["0.00000000"] * 2,
                )
            close = row[4]


async def test_empty_minute_repeats_the_close(autojump_clock: MockClock) -> None:
    """The kline of a minute without trades is at the previous close."""
    async with open_world(synthetic()) as world:
        klines = await world.get("klines?symbol=PEPEUSDT&interval=1m&limit=60")
        empty = [(before, row) for before, row in pairwise(klines) if row[8] == 0]
        assert len(empty) > 5
        assert all(row[1:5] == [before[4]] * 4 for before, row in empty)


@pytest.mark.parametrize(("interval", "minutes"), [("3m", 3), ("15m", 15), ("1h", 60)])
async def test_longer_klines_sum_up_their_minutes(autojump_clock: MockClock, interval: str, minutes: int) -> None:
    async with open_world(synthetic(rate=0.2)) as world:
        start = NOON_MS - 120 * MINUTE_MS
        query = f"symbol=BTCUSDT&startTime={start}&endTime={NOON_MS - 1}"
        ones = await world.get(f"klines?{query}&interval=1m")
        longer = await world.get(f"klines?{query}&interval={interval}")
        assert len(longer) == 120 // minutes
        for number, row in enumerate(longer):
            parts = ones[number * minutes : (number + 1) * minutes]
            assert row[0] == parts[0][0]
            assert row[6] == parts[-1][6]
            assert Decimal(row[5]) == sum(Decimal(part[5]) for part in parts)
            assert Decimal(row[7]) == sum(Decimal(part[7]) for part in parts)
            assert row[8] == sum(part[8] for part in parts)
            assert row[2] == max((part[2] for part in parts), key=Decimal)


async def test_running_kline_is_up_to_date(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(at=NOON + 30_000_000)) as world:
        running = (await world.get("klines?symbol=BTCUSDT&interval=1m&limit=1"))[0]
        assert running[0] == NOON_MS
        rows = await trades_between(world, "BTCUSDT", NOON_MS, NOON_MS + MINUTE_MS)
        assert all(row["time"] <= NOON_MS + 30_000 for row in rows)
        assert naive_kline(rows) == kline_of_row(running)


async def test_klines_by_range_are_inclusive_and_capped(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(rate=0.05)) as world:
        start, end = NOON_MS - 100 * MINUTE_MS, NOON_MS - 50 * MINUTE_MS
        both = await world.get(f"klines?symbol=BTCUSDT&interval=1m&startTime={start}&endTime={end}")
        assert [both[0][0], both[-1][0], len(both)] == [start, end, 51]
        until = await world.get(f"klines?symbol=BTCUSDT&interval=1m&endTime={end}&limit=3")
        assert [row[0] for row in until] == [end - 2 * MINUTE_MS, end - MINUTE_MS, end]
        odd = await world.get(f"klines?symbol=BTCUSDT&interval=1m&startTime={start + 1}&limit=1")
        assert odd[0][0] == start + MINUTE_MS
        assert len(await world.get("klines?symbol=BTCUSDT&interval=1m")) == 500


@pytest.mark.parametrize("interval", ["1m", "1M"])
async def test_times_beyond_any_calendar_have_no_klines(autojump_clock: MockClock, interval: str) -> None:
    async with open_world(synthetic()) as world:
        assert await world.get(f"klines?symbol=BTCUSDT&interval={interval}&startTime={10**19}") == []
        assert await world.get(f"klines?symbol=BTCUSDT&interval={interval}&endTime=0") == []


async def test_aggregates_cover_the_trade_ids_without_hole(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        newest = await world.get("aggTrades?symbol=BTCUSDT&limit=300")
        assert all(
            (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1) for before, after in pairwise(newest)
        )
        assert any(row["l"] > row["f"] for row in newest)
        trades = await world.get(f"historicalTrades?symbol=BTCUSDT&fromId={newest[0]['f']}&limit=1000")
        for row in newest[:50]:
            parts = [trade for trade in trades if row["f"] <= trade["id"] <= row["l"]]
            assert len(parts) == row["l"] - row["f"] + 1
            assert sum(Decimal(part["qty"]) for part in parts) == Decimal(row["q"])
            assert {(part["price"], part["time"], part["isBuyerMaker"]) for part in parts} == {
                (row["p"], row["T"], row["m"])
            }


async def test_pages_by_id_are_inclusive_up_to_now(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        newest = await world.get("trades?symbol=ETHUSDT&limit=1000")
        assert len(newest) == 1000
        middle = newest[400]["id"]
        assert await world.get(f"historicalTrades?symbol=ETHUSDT&fromId={middle}&limit=100") == newest[400:500]
        assert await world.get(f"historicalTrades?symbol=ETHUSDT&fromId={newest[-1]['id'] + 1}") == []
        assert await world.get("aggTrades?symbol=ETHUSDT&fromId=99999999999") == []


async def test_aggregates_by_time_take_whole_milliseconds(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        newest = await world.get("aggTrades?symbol=BTCUSDT&limit=1")
        time = newest[0]["T"]
        same = await world.get(f"aggTrades?symbol=BTCUSDT&startTime={time}&endTime={time}")
        assert same[-1] == newest[0]
        assert {row["T"] for row in same} == {time}


async def test_times_come_in_microseconds_on_request(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        target = "/api/v3/trades?symbol=BTCUSDT&limit=1"
        fine = json.loads((await world.request(target, headers={"X-MBX-TIME-UNIT": "MICROSECOND"})).content)
        coarse = json.loads((await world.request(target)).content)
        assert fine[0]["time"] // 1000 == coarse[0]["time"]
        assert fine[0]["time"] > 10**15


async def test_exchange_info_has_digits_status_and_identity(autojump_clock: MockClock) -> None:
    async with open_world(synthetic(seed=9)) as world:
        info = await world.get("exchangeInfo")
        assert info["candledExchange"] == "synthetic seed=9"
        assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "PEPEUSDT"]
        pepe = (await world.get("exchangeInfo?symbol=PEPEUSDT"))["symbols"]
        filters = {entry["filterType"]: entry for entry in pepe[0]["filters"]}
        assert pepe[0]["status"] == "TRADING"
        assert filters["PRICE_FILTER"]["tickSize"] == "0.00000001"
        assert filters["LOT_SIZE"]["stepSize"] == "1.00000000"
        two = await world.get("exchangeInfo?symbols=" + quote('["ETHUSDT","BTCUSDT"]'))
        assert [symbol["symbol"] for symbol in two["symbols"]] == ["ETHUSDT", "BTCUSDT"]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("exchangeInfo?symbol=NOPE", 400, -1121),
        ("exchangeInfo?symbols=" + quote('["BTCUSDT","NOPE"]'), 400, -1121),
        ("exchangeInfo?symbols=BTCUSDT", 400, -1100),
        ("exchangeInfo?symbol=BTCUSDT&symbols=" + quote('["BTCUSDT"]'), 400, -1128),
        ("trades", 400, -1102),
        ("trades?symbol=", 400, -1102),
        ("trades?symbol=btcusdt", 400, -1100),
        ("trades?symbol=BTCUSDT&limit=many", 400, -1100),
        ("trades?symbol=BTCUSDT&limit=0", 400, -1130),
        ("trades?symbol=BTCUSDT&foo=1", 400, -1104),
        ("trades?symbol=BTCUSDT&symbol=BTCUSDT", 400, -1101),
        ("time?symbol=BTCUSDT", 400, -1101),
        ("klines?symbol=BTCUSDT", 400, -1102),
        ("klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", 400, -1128),
        ("aggTrades?symbol=BTCUSDT&startTime=2&endTime=1", 400, -1023),
    ],
)
async def test_errors_match_the_original(autojump_clock: MockClock, target: str, status: int, code: int) -> None:
    async with open_world(synthetic()) as world:
        assert (await world.error(target))[:2] == (status, code)


async def test_an_unknown_endpoint_is_not_found(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        assert (await world.request("/api/v3/depth")).status == 404
        assert (await world.request("/api/v3/time", method="POST")).status == 405


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("time", 1),
        ("ping", 1),
        ("exchangeInfo", 20),
        ("trades?symbol=BTCUSDT", 25),
        ("historicalTrades?symbol=BTCUSDT&fromId=1", 25),
        ("aggTrades?symbol=BTCUSDT", 4),
        ("klines?symbol=BTCUSDT&interval=1m&limit=1", 2),
    ],
)
async def test_request_weights_match_the_original(autojump_clock: MockClock, target: str, weight: int) -> None:
    async with open_world(synthetic()) as world:
        response = await world.request(f"/api/v3/{target}")
        assert dict(response.headers)[b"x-mbx-used-weight-1m"] == str(weight).encode()


async def test_weight_limit_lasts_the_minute(autojump_clock: MockClock) -> None:
    """Too much weight is refused with 429 until the minute is over."""
    import trio

    async with open_world(synthetic(limits=Limits(weight_per_minute=100))) as world:
        for _ in range(4):
            assert (await world.request("/api/v3/trades?symbol=BTCUSDT")).status == 200
        refused = await world.request("/api/v3/trades?symbol=BTCUSDT")
        assert refused.status == 429
        assert json.loads(refused.content)["code"] == -1003
        wait = int(dict(refused.headers)[b"Retry-After"])
        assert 0 < wait <= 61
        await trio.sleep(wait)
        assert (await world.request("/api/v3/trades?symbol=BTCUSDT")).status == 200


async def test_bans_after_429_grow_longer(autojump_clock: MockClock) -> None:
    import trio

    async def until_banned(world: World) -> int:
        for _ in range(40):
            response = await world.request("/api/v3/trades?symbol=BTCUSDT")
            if response.status == 418:
                return int(dict(response.headers)[b"Retry-After"])
        raise AssertionError("never banned")

    async with open_world(synthetic(limits=Limits(weight_per_minute=50))) as world:
        first = await until_banned(world)
        assert first == 120
        await trio.sleep(60)
        assert (await world.request("/api/v3/time")).status == 418, "other requests are banned too"
        await trio.sleep(61)
        assert (await world.request("/api/v3/time")).status == 200
        assert await until_banned(world) > first
