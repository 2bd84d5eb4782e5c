"""A program that knows only candles.proto, by betterproto or betterproto2 over grpclib; nothing of candled.

usage: grpclib_peer.py FOLDER MODULE ADDRESS [CA_FILE [CERTIFICATE_FILE KEY_FILE]]   prints the answers as JSON
"""

import asyncio
import importlib
import json
import ssl
import sys
from datetime import datetime, timezone
from typing import Any

sys.path.insert(0, sys.argv[1])

from grpclib.client import Channel
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

api = importlib.import_module(sys.argv[2])
ADDRESS, *FILES = sys.argv[3:]
# Not the epoch itself: betterproto 2.0.0b7 does not send a time that is its default.
START = datetime(1970, 1, 2, tzinfo=timezone.utc)  # noqa: UP017


def bar(message: Any) -> list[Any]:
    return [
        message.symbol,
        round(message.open_time.timestamp()),
        message.high,
        message.trade_count,
        message.first_trade_id,
        message.closed,
        message.complete,
    ]


async def main() -> dict[str, Any]:
    context = None
    if FILES:
        context = ssl.create_default_context(cafile=FILES[0])
        context.set_alpn_protocols(["h2"])
        if FILES[1:]:
            context.load_cert_chain(*FILES[1:])
    host, _, port = ADDRESS.rpartition(":")
    async with Channel(host, int(port), ssl=context) as channel:
        stub = api.CandleServiceStub(channel)
        request = api.StreamBarsRequest(symbols=["BTCUSDT"], start_time=START, closed_only=True)
        received: list[Any] = []
        stream = stub.stream_bars(request)
        async for message in stream:
            received.append(bar(message.bar))
            if len(received) == 3:
                break
        await stream.aclose()
        listed = await ServerReflectionStub(channel).ServerReflectionInfo(
            [ServerReflectionRequest(list_services="")]
        )
        return {
            "stream": received,
            "bars": [bar(b) for b in (await stub.get_bars(api.GetBarsRequest(symbol="BTCUSDT"))).bars],
            "symbols": [s.symbol for s in (await stub.list_symbols(api.ListSymbolsRequest())).symbols],
            "version": (await stub.get_status(api.GetStatusRequest())).version,
            "health": (await HealthStub(channel).Check(HealthCheckRequest())).status,
            "services": sorted(s.name for s in listed[0].list_services_response.service),
        }


print(json.dumps(asyncio.run(main())))
