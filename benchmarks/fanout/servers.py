"""The servers that are measured. Each waits for its streams, then tells them ticks at a steady pace.

Once the clients have everything a line comes on standard input, and what it took is printed.

usage: python -m benchmarks.fanout.servers KIND STREAMS TICKS TICKS_PER_SECOND
  fast, plain, grpc-aio   one CLOSE each tick
  crowd                   UPDATEs, each tenth a CLOSE
  daemon                  feed, engine and stream, on trades that come over a websocket
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.fanout.tick import SHARED, crowd_event, tick_event
from candled.domain.event import BarEvent
from candled.stream.grpc.encoder import encode_send_time, encode_sequence


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def wait_until_received() -> None:
    sys.stdin.readline()


class NothingStored:
    """Nothing ever waits to be stored either."""

    epoch = 1
    stored_position = 1 << 62

    async def bars(self, *_: Any) -> list[Any]:
        return []

    async def changed_since(self, *_: Any) -> list[Any]:
        return []

    async def newest_bars(self) -> dict[str, Any]:
        return {}

    async def incomplete_bars(self, *_: Any) -> list[Any]:
        return []


@asynccontextmanager
async def open_stream_server(
    streams: int, symbols: list[str], *, plain: bool = False, backlog_max: int = 10_000
) -> AsyncIterator[tuple[Any, Callable[[], Any]]]:
    """The hub and the gRPC server as the daemon runs them; await what is yielded for the streams to be there."""
    import trio

    from candled.domain.status import DaemonStatus
    from candled.stream.grpc.server import open_grpc_server
    from candled.stream.hub import Hub

    stored = NothingStored()
    hub = Hub(
        clock=trio.current_time,
        snapshot=lambda *_: None,
        symbols=lambda: symbols,
        stored=stored,
        backlog_max=backlog_max,
    )
    status = DaemonStatus(version="", start_time=0, exchange="", exchange_time=0)

    async def until_streams() -> None:
        while hub.statistics().subscribers < streams:
            await trio.sleep(0.01)
        await trio.sleep(0.5)

    async with open_grpc_server(
        "127.0.0.1:0", hub=hub, stored=stored, status=lambda: status, plain=plain
    ) as server:
        say(port=server.port)
        yield hub, until_streams


def candled(
    streams: int, ticks: int, rate: float, event: Callable[[int], BarEvent], *, plain: bool = False
) -> None:
    """Events made here."""
    import trio

    async def main() -> None:
        # Throughput counts every CLOSE, so none may be let go, however slow the machine is.
        backlog = 1_000_000 if event is tick_event else 10_000
        async with open_stream_server(streams, ["BTCUSDT"], plain=plain, backlog_max=backlog) as (
            hub,
            until_streams,
        ):
            await until_streams()
            memory, before, start = resident_bytes(), time.process_time(), trio.current_time()
            closed = 0
            for tick in range(ticks):
                await trio.sleep_until(start + tick / rate)
                told = event(tick)
                closed += told.bar.closed
                hub.publish([told])
            await trio.to_thread.run_sync(wait_until_received)
            say(
                cpu_seconds=time.process_time() - before,
                grown_mb=(resident_bytes() - memory) / 1e6,
                closed=closed,
            )
            await trio.to_thread.run_sync(wait_until_received)

    trio.run(main)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def daemon(streams: int, trades: int, rate: float) -> None:
    """The whole way of a trade; answers when each was sent."""
    import trio

    from benchmarks.ingest import NoSource
    from candled.engine.engine import Engine
    from candled.engine.rollup import RollUp
    from candled.feed.interface import ExchangeDescription, Instrument
    from candled.feed.websocket import connect_tcp
    from candled.logs import configure_logging
    from candled.pipeline import open_pipeline
    from candled.settings import DaemonSettings

    configure_logging("error", "console")
    symbols = ["BTCUSDT", "ETHUSDT", "PEPEUSDT"]

    async def main(port: int, feeder: "subprocess.Popen[str]") -> None:
        engine, rollup = Engine(), RollUp()
        for symbol in symbols:
            engine.add(symbol)
        send, receive = trio.open_memory_channel[list[BarEvent]](100_000)
        description = ExchangeDescription("paced", {name: Instrument(name, "TRADING", 2, 6) for name in symbols})
        async with receive, open_stream_server(streams, symbols) as (hub, until_streams):
            await until_streams()
            async with open_pipeline(
                DaemonSettings(symbols=tuple(symbols), stream_urls=(f"ws://127.0.0.1:{port}",)),
                description,
                engine,
                rollup,
                source=NoSource(),  # type: ignore[arg-type]
                stored=NothingStored(),
                hub=hub,
                closed=send,
                connect=connect_tcp,
                rng=random.Random(1),
            ):
                await trio.to_thread.run_sync(wait_until_received)
                assert feeder.stdout is not None
                say(sent=json.loads(feeder.stdout.readline()))
                await trio.to_thread.run_sync(wait_until_received)

    command = [sys.executable, "-m", "benchmarks.fanout.paced_feed", str(trades), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        assert feeder.stdout is not None
        try:
            trio.run(main, int(feeder.stdout.readline()), feeder)
        finally:
            feeder.kill()


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
    "fast": lambda *args: candled(*args, tick_event),
    "plain": lambda *args: candled(*args, tick_event, plain=True),
    "grpc-aio": grpc_aio,
    "crowd": lambda *args: candled(*args, crowd_event),
    "daemon": daemon,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
