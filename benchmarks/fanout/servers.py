"""The servers that are compared. Each waits for its streams and tells them ticks at a steady pace.

Once the clients have everything a line comes on standard input, and the CPU time that it took is printed.

usage: python -m benchmarks.fanout.servers KIND STREAMS TICKS TICKS_PER_SECOND      (KIND: fast, plain, grpc-aio)
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.fanout.tick import SHARED, tick_event
from candled.stream.grpc.encoder import encode_send_time, encode_sequence


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def wait_until_received() -> None:
    sys.stdin.readline()


def candled(streams: int, ticks: int, rate: float, *, plain: bool) -> None:
    """The hub and the gRPC server as the daemon runs them."""
    import trio

    from candled.domain.status import DaemonStatus
    from candled.stream.grpc.server import open_grpc_server
    from candled.stream.hub import Hub

    class NothingStored:
        stored_position = 1 << 62

        async def bars(self, *_: Any) -> list[Any]:
            return []

        async def changed_since(self, *_: Any) -> list[Any]:
            return []

    async def main() -> None:
        stored = NothingStored()
        hub = Hub(
            clock=trio.current_time,
            snapshot=lambda *_: None,
            symbols=lambda: ["BTCUSDT"],
            stored=stored,
            backlog_max=1_000_000,
        )
        status = DaemonStatus(version="", start_time=0, exchange="", exchange_time=0)
        async with open_grpc_server(
            "127.0.0.1:0", hub=hub, stored=stored, status=lambda: status, plain=plain
        ) as server:
            say(port=server.port)
            while hub.statistics().subscribers < streams:
                await trio.sleep(0.01)
            await trio.sleep(0.5)
            before, start = time.process_time(), trio.current_time()
            for tick in range(ticks):
                await trio.sleep_until(start + tick / rate)
                hub.publish([tick_event(tick)])
            await trio.to_thread.run_sync(wait_until_received)
            say(cpu_seconds=time.process_time() - before)

    trio.run(main)


def grpc_aio(streams: int, ticks: int, rate: float) -> None:
    """Google's own asyncio server: one queue for each stream, messages encoded before."""
    import grpc

    async def main() -> None:
        queues: list[asyncio.Queue[bytes]] = []
        finished = asyncio.Event()

        async def stream_bars(_request: bytes, context: Any) -> None:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            queues.append(queue)
            for _ in range(ticks):
                await context.write(await queue.get())
            await finished.wait()

        server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1000)])
        handler = grpc.unary_stream_rpc_method_handler(stream_bars)  # without serializers: bytes pass through
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("candled.v1.CandleService", {"StreamBars": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        say(port=port)
        while len(queues) < streams:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        before, start = time.process_time(), time.monotonic()
        for tick in range(ticks):
            await asyncio.sleep(max(0.0, start + tick / rate - time.monotonic()))
            data = SHARED + encode_sequence(tick + 1) + encode_send_time(time.time_ns() // 1000)
            for queue in queues:
                queue.put_nowait(data)
        await asyncio.to_thread(wait_until_received)
        say(cpu_seconds=time.process_time() - before)
        await server.stop(0)

    asyncio.run(main())


KINDS: dict[str, Callable[[int, int, float], None]] = {
    "fast": lambda *args: candled(*args, plain=False),
    "plain": lambda *args: candled(*args, plain=True),
    "grpc-aio": grpc_aio,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
