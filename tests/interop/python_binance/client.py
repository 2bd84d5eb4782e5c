"""python-binance, unchanged but for the addresses: streams trades and fetches klines, prints both as JSON."""

import asyncio
import json
import sys
from typing import Any

from binance import AsyncClient, BinanceSocketManager


async def main(rest_url: str, stream_url: str, count: int) -> None:
    client = AsyncClient()
    client.API_URL = f"{rest_url}/api"
    try:
        sockets = BinanceSocketManager(client)
        sockets.STREAM_URL = f"{stream_url}/"
        trades: list[dict[str, Any]] = []
        async with sockets.multiplex_socket(["btcusdt@trade", "ethusdt@trade"]) as stream:
            while sum(trade["s"] == "BTCUSDT" for trade in trades) < count:
                trades.append((await stream.recv())["data"])
        info = await client.get_symbol_info("BTCUSDT")
        klines = await client.get_klines(symbol="BTCUSDT", interval="1m", limit=5)
        aggregates = await client.get_aggregate_trades(symbol="BTCUSDT", limit=5)
        print(json.dumps({"trades": trades, "klines": klines, "aggregates": aggregates, "status": info["status"]}))
    finally:
        await client.close_connection()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
