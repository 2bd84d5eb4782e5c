"""A grpcio client made from the .proto alone watches ``candled demo``."""

import json
import subprocess
import sys
from decimal import ROUND_DOWN, Context, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.client import GapState, SymbolStatus, open_trio_client
from tests.acceptance.processes import ENVIRONMENT, open_candled

WATCHER = Path(__file__).with_name("grpcio_watcher.py")
PROTOS = Path(__file__).parents[2] / "protos"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
CLOSES = 3
EXACT = Context(prec=80, rounding=ROUND_DOWN)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
UNIT = Decimal("0.00000001")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", "candled/v1/candles.proto"], check=True, timeout=30)
    for package in ("candled", "candled/v1"):
        (folder / package / "__init__.py").touch()
    return folder


async def raw_trades(rest: str, symbol: str, first: int, last: int) -> list[dict[str, Any]]:
    """The exchange's own trades of these ids."""
    rows: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=rest) as http:
        while first <= last:
            query: dict[str, str | int] = {"symbol": symbol, "fromId": first, "limit": min(1000, last - first + 1)}
            page = (await http.get("/api/v3/historicalTrades", params=query)).json()
            rows += page
            first = page[-1]["id"] + 1
    return rows


def is_caught_up(symbol: SymbolStatus) -> bool:
    """The stream runs and each trade of before it was fetched: from now on ids come in order."""
    is_open = any(gap.state is GapState.OPEN for gap in symbol.gaps)
    return symbol.live and symbol.trades > 0 and not symbol.minutes_left and not is_open


async def wait_until_caught_up(address: str) -> None:
    """Until every symbol's ids come in order."""
    async with open_trio_client(address) as client:
        while not all(map(is_caught_up, (await client.status()).symbols)):
            await trio.sleep(0.1)


def recomputed(rows: list[dict[str, Any]]) -> list[Any]:
    """The nine fields of these trades, from their texts, by Decimal."""
    prices = [Decimal(row["price"]) for row in rows]

    def sums(chosen: list[dict[str, Any]]) -> tuple[str, str]:
        volume = quote = Decimal(0)
        for row in chosen:
            fill = EXACT.multiply(Decimal(row["price"]), Decimal(row["qty"]))
            volume = EXACT.add(volume, Decimal(row["qty"]))
            quote = EXACT.add(quote, fill.quantize(UNIT, context=EXACT))
        return f"{volume.quantize(UNIT, context=EXACT):f}", f"{quote.quantize(UNIT, context=EXACT):f}"

    ohlc = [rows[0]["price"], f"{max(prices):f}", f"{min(prices):f}", rows[-1]["price"]]
    return [*ohlc, *sums(rows), len(rows), *sums([row for row in rows if not row["isBuyerMaker"]])]


async def test_grpcio_sees_every_update_once(tmp_path: Path, generated: Path) -> None:
    """A stock gRPC client gets one update per trade, and each minute's close once."""
    options = ("--speed=20", f"--data-dir={tmp_path / 'data'}", "--grpc-address=127.0.0.1:0", "--log-format=json")
    with trio.fail_after(120):
        async with open_candled("demo", *options, "--http-address=127.0.0.1:0", "--log-level=info") as demo:
            address = (await demo.said(r"gRPC at (\S+)"))[1]
            rest = "http" + (await demo.said(r'"url": "ws(://[^"]+)"'))[1]
            await wait_until_caught_up(address)
            watched = await trio.run_process(
                [sys.executable, str(WATCHER), str(generated), address, str(CLOSES)],
                capture_stdout=True,
                env=ENVIRONMENT,
            )
            messages = [json.loads(line) for line in watched.stdout.splitlines()]
            for symbol in SYMBOLS:
                mine = [message for message in messages if message["symbol"] == symbol]
                check_one_update_per_trade(mine)
                check_closes(mine)
                closed = {m["open_time"]: m for m in mine if m["kind"] in ("CLOSE", "REVISION")}
                for bar in closed.values():
                    if bar["first"] is None:
                        assert len(set(bar["nine"][:4])) == 1
                        assert bar["nine"][4:] == ["0.00000000", "0.00000000", 0, "0.00000000", "0.00000000"]
                    else:
                        rows = await raw_trades(rest, symbol, bar["first"], bar["last"])
                        assert bar["nine"] == recomputed(rows)
                assert any(bar["first"] is not None for bar in closed.values())
            assert await demo.stop() == 0


def check_one_update_per_trade(messages: list[dict[str, Any]]) -> None:
    """From the first snapshot on, each forming bar holds one trade more than the one before."""
    forming = [message for message in messages if message["kind"] in ("SNAPSHOT", "UPDATE")]
    assert forming
    by_minute: dict[int, list[dict[str, Any]]] = {}
    for message in forming:
        by_minute.setdefault(message["open_time"], []).append(message)
    for minute in list(by_minute)[1:]:
        assert by_minute[minute][0]["nine"][6] == 1, "the first update of a minute holds its first trade"
    for updates in by_minute.values():
        counts = [message["nine"][6] for message in updates]
        assert counts == list(range(counts[0], counts[0] + len(counts)))
    lasts = [message["last"] for message in forming]
    assert all(later == earlier + 1 for earlier, later in pairwise(lasts)), "an update for each trade id"


def check_closes(messages: list[dict[str, Any]]) -> None:
    """Each minute that was traded closes once, in order. An empty one may come late, as a revision."""
    times = [message["open_time"] for message in messages if message["kind"] == "CLOSE"]
    assert len(times) >= CLOSES
    assert times == sorted(set(times))
    traded = {message["open_time"] for message in messages if message["kind"] in ("SNAPSHOT", "UPDATE")}
    assert {time for time in traded if times[0] <= time <= times[-1]} <= set(times)
