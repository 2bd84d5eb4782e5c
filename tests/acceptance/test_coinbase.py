"""The daemon on an exchange with Coinbase's API, as processes: kills, restarts, every bar to its last digit."""

import signal
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.client import Kind, TrioClient, open_trio_client
from candled.history import connect
from tests.acceptance.processes import RunningExchange, daemon_options, open_daemon, open_exchange, run_candled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SYMBOL = "BTC-USD"
_PAGE = 1000


async def trades(exchange: RunningExchange, first: int, last: int) -> list[dict[str, Any]]:
    """The exchange's own rows, by cursor, oldest first."""
    found: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=exchange.rest) as http:
        while first <= last:
            answer = await http.get(f"/products/{SYMBOL}/trades", params={"after": first + _PAGE, "limit": _PAGE})
            # The last page reaches back: it is the newest rows below a cursor that is past all of them.
            found += [row for row in reversed(answer.json()) if row["trade_id"] >= first]
            first += _PAGE
            await trio.sleep(0.1)
    return [row for row in found if row["trade_id"] <= last]


def _minute(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["time"]).timestamp()) // 60 * 60


def truth(rows: list[dict[str, Any]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Bars in plain Decimal: open time in seconds, and what a row of ``bars`` has."""
    for minute, group in groupby(rows, _minute):
        of_minute = list(group)
        prices = [Decimal(row["price"]) for row in of_minute]
        sizes = [Decimal(row["size"]) for row in of_minute]
        quotes = [price * size for price, size in zip(prices, sizes, strict=True)]
        taken = [row["side"] == "sell" for row in of_minute]  # the maker sold: the taker bought
        yield (
            minute,
            (
                *(prices[0], max(prices), min(prices), prices[-1], sum(sizes), sum(quotes), len(of_minute)),
                sum((size for size, is_taken in zip(sizes, taken, strict=True) if is_taken), Decimal(0)),
                sum((quote for quote, is_taken in zip(quotes, taken, strict=True) if is_taken), Decimal(0)),
                *(of_minute[0]["trade_id"], of_minute[-1]["trade_id"]),
            ),
        )


def stored(data_dir: Path) -> Mapping[int, tuple[Any, ...]]:
    """Complete bars with trades by open time in seconds."""
    with connect(data_dir) as history:
        rows = history.execute(
            "SELECT epoch(open_time)::BIGINT, open, high, low, close, volume, quote_volume, trade_count, "
            "taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id FROM bars "
            f"WHERE interval = '1m' AND symbol = '{SYMBOL}' AND complete AND trade_count > 0"
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


async def closes(client: TrioClient, count: int) -> None:
    """Wait until ``count`` more bars have closed."""
    async with client.stream_bars(symbols=[SYMBOL], closed_only=True) as stream:
        async for message in stream:
            count -= message.kind is Kind.CLOSE
            if count <= 0:
                return


async def test_kills_lose_nothing(tmp_path: Path) -> None:
    """Of the daemon and under loss of messages: all bars are complete, exact and whole afterwards."""
    options = ("--exchange=coinbase", f"--symbols={SYMBOL},ETH-USD", "--backfill-hours=1")
    async with open_exchange("--form=coinbase", "--speed=20", "--faults=lose=0.05,cut=20s") as exchange:
        for _ in range(3):
            async with open_daemon(exchange, tmp_path / "data", *options) as daemon:
                async with open_trio_client(daemon.grpc) as client:
                    await closes(client, 4)
                await daemon.stop(signal.SIGKILL)
        async with open_daemon(exchange, tmp_path / "data", *options) as daemon:
            async with open_trio_client(daemon.grpc) as client:
                await closes(client, 4)
            assert await daemon.stop() == 0
        bars = stored(tmp_path / "data")
        assert len(bars) >= 60
        first, last = min(bar[9] for bar in bars.values()), max(bar[10] for bar in bars.values())
        expected = dict(truth(await trades(exchange, first, last)))
        differing = {time: (bar, expected.get(time)) for time, bar in bars.items() if bar != expected.get(time)}
        assert differing == {}
        assert expected.keys() - bars.keys() <= set(sorted(expected)[-2:])  # the last await what proves them


async def test_commands_know_the_exchange(tmp_path: Path) -> None:
    """``backfill``, ``verify --klines``, ``bars`` and ``doctor``, with symbols that have a dash."""
    async with open_exchange("--form=coinbase") as exchange:
        source = ("--exchange=coinbase", *exchange.options[1:], f"--data-dir={tmp_path / 'data'}")
        filled = await run_candled("backfill", *source, "--symbols=btc-usd,eth-usd", "--from=-90m")
        assert filled.returncode == 0, filled.stderr
        assert "BTC-USD: 90 bars stored." in filled.stdout or "BTC-USD: 89 bars stored" in filled.stdout
        verified = await run_candled("verify", *source, "--klines")
        assert verified.returncode == 0, verified.stdout
        assert "compared with the exchange's klines" in verified.stdout
        shown = await run_candled(
            "bars", "btc-usd", f"--data-dir={tmp_path / 'data'}", "--limit=1", "--format=json"
        )
        assert '"symbol": "BTC-USD"' in shown.stdout
        checked = await run_candled(
            "doctor", "--exchange=coinbase", *daemon_options(exchange, tmp_path / "data")[:-1]
        )
        assert checked.returncode == 0, checked.stdout
