"""Well-kept Binance clients of others talk to the embedded exchange, unchanged but for the addresses.

Each is installed from its own pinned, hash-locked list, apart from candled, under ``.interop`` in the checkout.
"""

import json
from itertools import pairwise
from typing import Any

import httpx
import pytest
import trio

from candled.config.settings import ExchangeSettings
from candled.embedded_exchange.server import serve
from tests.interop.installation import HERE, node_script, python_of

TRADES = 20
"""Of BTCUSDT, however many of others come between them."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def python_client(name: str) -> list[str]:
    """The command of a Python client, in an environment of its own."""
    return [str(python_of(name)), str(HERE / name / "client.py")]


CLIENTS = {
    "python-binance": lambda: python_client("python_binance"),
    "binance-sdk-spot": lambda: python_client("binance_sdk_spot"),
    "npm binance": lambda: node_script("node", "binance.mjs"),
    "npm @binance/spot": lambda: node_script("node", "binance_spot.mjs"),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_streams_trades_and_fetches_klines(client: str) -> None:
    command = CLIENTS[client]()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(serve, ExchangeSettings(address="127.0.0.1:0", speed=30))
            done = await trio.run_process(
                [*command, bound.rest_url, bound.stream_url, str(TRADES)], capture_stdout=True
            )
            report = json.loads(done.stdout.splitlines()[-1])
            async with httpx.AsyncClient(base_url=bound.rest_url) as rest:
                await check_trades(rest, report["trades"])
                await check_klines(rest, report["klines"])
            nursery.cancel_scope.cancel()
    assert report["status"] == "TRADING"
    assert len(report["aggregates"]) == 5
    assert all(after["f"] == before["l"] + 1 for before, after in pairwise(report["aggregates"]))


async def check_trades(rest: httpx.AsyncClient, trades: list[dict[str, Any]]) -> None:
    """Every streamed trade is there, once, and is the one that REST has."""
    own = [trade for trade in trades if trade["s"] == "BTCUSDT"]
    assert len(own) >= TRADES
    assert [trade["t"] for trade in own] == list(range(own[0]["t"], own[0]["t"] + len(own)))
    rows = await rest.get(
        "/api/v3/historicalTrades", params={"symbol": "BTCUSDT", "fromId": own[0]["t"], "limit": len(own)}
    )
    streamed = [(trade["t"], trade["p"], trade["q"], trade["T"], trade["m"]) for trade in own]
    assert streamed == [(r["id"], r["price"], r["qty"], r["time"], r["isBuyerMaker"]) for r in rows.json()]


async def check_klines(rest: httpx.AsyncClient, klines: list[list[Any]]) -> None:
    """The closed klines came through digit for digit; the last is still running."""
    assert len(klines) == 5
    params = {"symbol": "BTCUSDT", "interval": "1m", "startTime": klines[0][0], "limit": 4}
    assert [row[:11] for row in klines[:4]] == [
        row[:11] for row in (await rest.get("/api/v3/klines", params=params)).json()
    ]
