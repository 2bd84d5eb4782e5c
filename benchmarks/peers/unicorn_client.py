"""unicorn-binance-websocket-api: a stream of trades into a callback that only counts.

Its output is ``dict``, decoded JSON, or ``UnicornFy``, values by their full names. That is measured with aggTrade:
unicorn-fy 0.17.2 raises a KeyError for trade frames that lack the order ids ``b`` and ``a``, as these do. Its
library is ``websockets`` or ``picows``.
"""

import os
import threading
from typing import Any

from unicorn_binance_websocket_api import BinanceWebSocketApiManager

from benchmarks.peers.tally import Tally, arguments

url, trades, warm, (output, library) = arguments()
tally, done = Tally(trades, warm), threading.Event()


def take_dict(message: dict[str, Any]) -> None:
    if tally.take(message["data"]["t"]):
        done.set()


def take_unicorn_fy(message: dict[str, Any]) -> None:
    if tally.take(message["aggregate_trade_id"]):
        done.set()


manager = BinanceWebSocketApiManager(
    process_stream_data=take_dict if output == "dict" else take_unicorn_fy,
    exchange="binance.com",
    websocket_base_uri=f"{url}/",
    output_default=output,
    warn_on_update=False,
    websocket_library=library,
    ping_interval_default=600,  # the server answers none
)
manager.create_stream(["trade"], ["btcusdt", "ethusdt", "pepeusdt"])
done.wait()
tally.publish()
os._exit(0)  # stopping takes its time and tells nothing
