"""python-binance: a multiplex socket of trades, each taken with ``recv``."""

import asyncio
import os

from binance import AsyncClient, BinanceSocketManager

from benchmarks.peers.tally import Tally, arguments

STREAMS = ["btcusdt@trade", "ethusdt@trade", "pepeusdt@trade"]


async def main() -> None:
    url, trades, warm, _ = arguments()
    tally = Tally(trades, warm)
    # With its usual 100 places a burst ends in BinanceWebsocketQueueOverflow.
    manager = BinanceSocketManager(AsyncClient(), max_queue_size=trades)
    manager.STREAM_URL = f"{url}/"
    async with manager.multiplex_socket(STREAMS) as socket:
        while not tally.take((await socket.recv())["data"]["t"]):
            pass
        tally.publish()
        os._exit(0)  # closing takes its time and tells nothing


asyncio.run(main())
