"""A program that knows only candles.proto: grpcio's own tools and packages, nothing of candled.

usage: grpcio_peer.py GENERATED ADDRESS [CA_FILE]   prints what each call answered, as JSON
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import grpc
from candled.v1 import candles_pb2, candles_pb2_grpc
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

ADDRESS = sys.argv[2]
CREDENTIALS = None
if len(sys.argv) > 3:
    CREDENTIALS = grpc.ssl_channel_credentials(Path(sys.argv[3]).read_bytes())
REQUEST = {"symbols": ["BTCUSDT"], "start_time": {"seconds": 0}, "closed_only": True}


def synchronous() -> dict[str, object]:
    dial = grpc.insecure_channel(ADDRESS) if CREDENTIALS is None else grpc.secure_channel(ADDRESS, CREDENTIALS)
    with dial as channel:
        stub = candles_pb2_grpc.CandleServiceStub(channel)
        stream = stub.StreamBars(candles_pb2.StreamBarsRequest(**REQUEST), timeout=10)
        database = ProtoReflectionDescriptorDatabase(channel)
        file = database.FindFileContainingSymbol("candled.v1.CandleService")
        answers = {
            "bars": [MessageToDict(next(stream).bar) for _ in range(3)],
            "page": [MessageToDict(b) for b in stub.GetBars(candles_pb2.GetBarsRequest(symbol="BTCUSDT")).bars],
            "symbols": [s.symbol for s in stub.ListSymbols(candles_pb2.ListSymbolsRequest()).symbols],
            "version": stub.GetStatus(candles_pb2.GetStatusRequest()).version,
            "health": health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status,
            "services": sorted(database.get_services()),
            "methods": [method.name for method in file.service[0].method],
            "messages": [database.FindFileContainingSymbol(f"candled.v1.{name}").name for name in ("Bar", "Gap")],
        }
        stream.cancel()
        return answers


async def asynchronous() -> dict[str, object]:
    aio = grpc.aio
    dial = aio.insecure_channel(ADDRESS) if CREDENTIALS is None else aio.secure_channel(ADDRESS, CREDENTIALS)
    async with dial as channel:
        stub = candles_pb2_grpc.CandleServiceStub(channel)
        stream = stub.StreamBars(candles_pb2.StreamBarsRequest(**REQUEST), timeout=10)
        bars = [MessageToDict((await stream.read()).bar) for _ in range(3)]
        stream.cancel()
        page = await stub.GetBars(candles_pb2.GetBarsRequest(symbol="BTCUSDT"))
        return {"bars": bars, "page": [MessageToDict(b) for b in page.bars]}


print(json.dumps({"sync": synchronous(), "aio": asyncio.run(asynchronous())}))
