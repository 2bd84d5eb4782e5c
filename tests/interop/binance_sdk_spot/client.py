"""Binance's own Python SDK, unchanged but for the addresses: streams trades and fetches klines, prints both."""

import asyncio
import json
import sys
from typing import Any

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot


async def main(rest_url: str, stream_url: str, count: int) -> None:
    spot = Spot(
        config_rest_api=ConfigurationRestAPI(base_path=rest_url, timeout=10_000),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=stream_url),
    )
    trades: list[dict[str, object]] = []
    enough = asyncio.Event()

    def take(message: Any) -> None:
        trades.append(json.loads(message.model_dump_json(by_alias=True, exclude_none=True)))
        if len(trades) >= count:
            enough.set()

    connection = await spot.websocket_streams.create_connection()
    try:
        stream = await connection.trade(symbol="btcusdt")
        stream.on("message", take)
        await enough.wait()
        await stream.unsubscribe()
    finally:
        await connection.close_connection(close_session=True)
    info = spot.rest_api.exchange_info(symbol="BTCUSDT").data()
    klines = spot.rest_api.klines(symbol="BTCUSDT", interval="1m", limit=5).data()
    aggregates = spot.rest_api.agg_trades(symbol="BTCUSDT", limit=5).data()
    print(
        json.dumps(
            {
                "trades": trades,
                "klines": [[getattr(cell, "actual_instance", cell) for cell in row] for row in klines],
                "aggregates": [json.loads(row.model_dump_json(by_alias=True)) for row in aggregates],
                "status": info.symbols[0].status,
            }
        )
    )


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
