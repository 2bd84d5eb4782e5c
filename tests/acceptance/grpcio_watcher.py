"""A program that knows only candles.proto: it notes every message of a stream until each symbol closed some bars
that have trades.

usage: grpcio_watcher.py GENERATED ADDRESS CLOSES   prints a line of JSON for each message
"""

import json
import sys
from collections import Counter

sys.path.insert(0, sys.argv[1])

import grpc
from candled.v1 import candles_pb2, candles_pb2_grpc

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")

closes: Counter[str] = Counter()
with grpc.insecure_channel(sys.argv[2]) as channel:
    stub = candles_pb2_grpc.CandleServiceStub(channel)
    for message in stub.StreamBars(candles_pb2.StreamBarsRequest(symbols=SYMBOLS), timeout=100):
        bar = message.bar
        print(
            json.dumps(
                {
                    "kind": candles_pb2.BarKind.Name(message.kind).removeprefix("BAR_KIND_"),
                    "symbol": bar.symbol,
                    "open_time": bar.open_time.seconds,
                    "first": bar.first_trade_id if bar.HasField("first_trade_id") else None,
                    "last": bar.last_trade_id if bar.HasField("last_trade_id") else None,
                    "complete": bar.complete,
                    "revision": bar.revision,
                    "nine": [
                        bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trade_count,
                        bar.taker_buy_volume, bar.taker_buy_quote_volume,
                    ],
                }
            )
        )  # fmt: skip
        closes[bar.symbol] += message.kind == candles_pb2.BAR_KIND_CLOSE and bar.HasField("first_trade_id")
        if all(closes[symbol] >= int(sys.argv[3]) for symbol in SYMBOLS):
            break
