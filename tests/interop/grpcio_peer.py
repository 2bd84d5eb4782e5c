"""A program that knows only candles.proto: grpcio's own tools and packages, nothing of candled.

usage: grpcio_peer.py GENERATED sync|aio ADDRESS [CA_FILE [CERTIFICATE_FILE KEY_FILE]]   prints the answers as JSON
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

import grpc
from candled.v1 import candles_pb2, candles_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

FLAVOUR, ADDRESS, *FILES = sys.argv[2:]
REQUEST = candles_pb2.StreamBarsRequest(symbols=["BTCUSDT"], start_time={"seconds": 0}, closed_only=True)


def credentials() -> Any:
    authority, *own = (Path(name).read_bytes() for name in FILES)
    certificate, key = own or (None, None)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def dial(module: Any) -> Any:
    return module.secure_channel(ADDRESS, credentials()) if FILES else module.insecure_channel(ADDRESS)


def bar(message: Any) -> list[Any]:
    return [
        message.symbol,
        message.open_time.seconds,
        message.high,
        message.trade_count,
        message.first_trade_id if message.HasField("first_trade_id") else None,
        message.closed,
        message.complete,
    ]


def synchronous() -> dict[str, Any]:
    with dial(grpc) as channel:
        stub = candles_pb2_grpc.CandleServiceStub(channel)
        stream = stub.StreamBars(REQUEST, timeout=30)
        database = ProtoReflectionDescriptorDatabase(channel)
        file = database.FindFileContainingSymbol("candled.v1.CandleService")
        answers = {
            "stream": [bar(next(stream).bar) for _ in range(3)],
            "bars": [bar(b) for b in stub.GetBars(candles_pb2.GetBarsRequest(symbol="BTCUSDT")).bars],
            "symbols": [s.symbol for s in stub.ListSymbols(candles_pb2.ListSymbolsRequest()).symbols],
            "version": stub.GetStatus(candles_pb2.GetStatusRequest()).version,
            "health": health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status,
            "services": sorted(database.get_services()),
            "methods": [method.name for method in file.service[0].method],
        }
        stream.cancel()
        return answers


async def asynchronous() -> dict[str, Any]:
    async with dial(grpc.aio) as channel:
        stub = candles_pb2_grpc.CandleServiceStub(channel)
        stream = stub.StreamBars(REQUEST, timeout=30)
        received = [bar((await stream.read()).bar) for _ in range(3)]
        stream.cancel()
        health = health_pb2_grpc.HealthStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        listed = await reflection.read()
        reflection.cancel()
        return {
            "stream": received,
            "bars": [bar(b) for b in (await stub.GetBars(candles_pb2.GetBarsRequest(symbol="BTCUSDT"))).bars],
            "symbols": [s.symbol for s in (await stub.ListSymbols(candles_pb2.ListSymbolsRequest())).symbols],
            "version": (await stub.GetStatus(candles_pb2.GetStatusRequest())).version,
            "health": (await health.Check(health_pb2.HealthCheckRequest())).status,
            "services": sorted(s.name for s in listed.list_services_response.service),
        }


print(json.dumps(synchronous() if FLAVOUR == "sync" else asyncio.run(asynchronous())))
