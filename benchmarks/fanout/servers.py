"""The servers that are measured. Each waits for its streams, then sends them ticks.

At a steady pace; or, with a pace of 0, as fast as the clients take them: a dot on standard input says that one
more tick has arrived everywhere, and no more than a few are ever on their way. Once the clients have everything a
line comes on standard input, and what it took is printed.

usage: python -m benchmarks.fanout.servers KIND STREAMS TICKS TICKS_PER_SECOND
  fast, plain, grpc-aio   one CLOSE each tick
  bare                    the same bytes straight to the sockets: what no server can fall below
  crowd                   UPDATEs, each tenth a CLOSE
  daemon                  feed, engine and stream, on trades that come over a websocket
"""

import asyncio
import json
import os
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fanout.client import frame
from benchmarks.fanout.tick import SHARED, crowd_event, tick_event
from candled.domain.event import BarEvent
from candled.stream.grpc.encoder import encode_send_time, encode_sequence

ON_THEIR_WAY_MAX = 8
"""Ticks that a server may be ahead of its clients: enough to keep it busy, and the most that queue."""


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def wait_until_received() -> None:
    sys.stdin.readline()


class Pace:
    """When the next tick is due.

    Args:
        rate: ticks per second; 0 waits for the clients.
        clock: monotonic seconds.
        sleep_until: of that clock.
        read: the next bytes on standard input.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float],
        sleep_until: Callable[[float], Awaitable[Any]],
        read: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._rate = rate
        self._sleep_until = sleep_until
        self._read = read
        self._start = clock()
        self._arrived = 0

    async def due(self, tick: int) -> None:
        """Wait until this tick is due."""
        if self._rate:
            await self._sleep_until(self._start + tick / self._rate)
        else:
            while tick - self._arrived >= ON_THEIR_WAY_MAX:
                self._arrived += (await self._read()).count(b".")

    async def received(self) -> None:
        """Wait until the clients have everything."""
        while b"\n" not in await self._read():
            pass


class NothingStored:
    """Nothing ever waits to be stored either."""

    epoch = 1
    history_id = "0" * 16
    stored_position = 1 << 62

    async def bars(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def changed_since(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def newest_bars(self) -> dict[str, Any]:
        return {}

    async def incomplete_bars(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def disputed(self, *_: Any) -> list[Any]:
        return []

    async def symbols(self) -> list[str]:
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
        async with (
            trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as standard_input,
            open_stream_server(streams, ["BTCUSDT"], plain=plain, backlog_max=backlog) as (hub, until_streams),
        ):
            await until_streams()
            pace = Pace(rate, trio.current_time, trio.sleep_until, standard_input.receive_some)
            memory, before = resident_bytes(), time.process_time()
            closed = 0
            for tick in range(ticks):
                await pace.due(tick)
                published = event(tick)
                closed += published.bar.closed
                hub.publish([published])
            await pace.received()
            say(
                cpu_seconds=time.process_time() - before,
                grown_mb=(resident_bytes() - memory) / 1e6,
                closed=closed,
            )
            await pace.received()

    trio.run(main)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def daemon(streams: int, trades: int, rate: float) -> None:
    """The whole way of a trade; answers when each was sent."""
    import trio

    from benchmarks.ingest import NoSource
    from candled.config.settings import DaemonSettings
    from candled.daemon.pipeline import open_pipeline
    from candled.engine.engine import Engine
    from candled.feed.adapter import ExchangeDescription, Instrument
    from candled.feed.transport.tcp import connect_tcp
    from candled.telemetry.logging import configure_logging

    configure_logging("error", "console")
    symbols = ["BTCUSDT", "ETHUSDT", "PEPEUSDT"]

    async def main(port: int, feeder: "subprocess.Popen[str]") -> None:
        engine = Engine(symbols)
        send, receive = trio.open_memory_channel[list[BarEvent]](100_000)
        description = ExchangeDescription("paced", {name: Instrument(name, "TRADING", 2, 6) for name in symbols})
        async with receive, open_stream_server(streams, symbols) as (hub, until_streams):
            await until_streams()
            async with open_pipeline(
                DaemonSettings(symbols=tuple(symbols), stream_urls=(f"ws://127.0.0.1:{port}",)),
                description,
                engine,
                source=NoSource(),  # type: ignore[arg-type]
                stored=NothingStored(),
                hub=hub,
                unstored=hub.unstored,
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

        async def sleep_until(moment: float) -> None:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))

        standard_input = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(standard_input), sys.stdin
        )
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
        pace = Pace(rate, time.monotonic, sleep_until, lambda: standard_input.read(4_096))
        before = time.process_time()
        for tick in range(ticks):
            await pace.due(tick)
            data = SHARED + encode_sequence(tick + 1) + encode_send_time(time.time_ns() // 1000)
            for queue in queues:
                queue.put_nowait(data)
        await pace.received()
        say(cpu_seconds=time.process_time() - before)
        await server.stop(0)

    asyncio.run(main())


def bare(streams: int, ticks: int, rate: float) -> None:
    """No server at all: frames that are made before, one ``send`` for each connection, and no flow control."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listener:
        say(port=listener.getsockname()[1])
        clients = []
        while streams > 0:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened = opened_streams(client)
            streams -= len(opened)
            clients.append((client, opened))
        time.sleep(0.5)

        async def sleep_until(moment: float) -> None:
            time.sleep(max(0.0, moment - time.monotonic()))  # noqa: ASYNC251 - there is no loop

        async def read() -> bytes:
            return os.read(0, 4_096)

        async def send() -> None:
            pace = Pace(rate, time.monotonic, sleep_until, read)
            before = time.process_time()
            for tick in range(ticks):
                await pace.due(tick)
                data = SHARED + encode_sequence(tick + 1) + encode_send_time(time.time_ns() // 1000)
                message = b"\0" + len(data).to_bytes(4, "big") + data
                for client, opened in clients:
                    client.sendall(b"".join(frame(0, 0, stream, message) for stream in opened))
            await pace.received()
            say(cpu_seconds=time.process_time() - before)

        with suppress(StopIteration):
            send().send(None)  # nothing in it ever waits for a loop


def opened_streams(client: socket.socket) -> list[int]:
    """The streams that a client of the benchmark opens in the first bytes that it says."""
    said, opened = client.recv(1 << 20)[len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") :], []
    while said:
        size, kind, stream = int.from_bytes(said[:3], "big"), said[3], int.from_bytes(said[5:9], "big")
        if kind == 1:
            opened.append(stream)
        said = said[9 + size :]
    return opened


KINDS: dict[str, Callable[[int, int, float], None]] = {
    "fast": partial(candled, event=tick_event),
    "plain": partial(candled, event=tick_event, plain=True),
    "grpc-aio": grpc_aio,
    "bare": bare,
    "crowd": partial(candled, event=crowd_event),
    "daemon": daemon,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
