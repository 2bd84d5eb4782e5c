"""Websocket frame to encoded update, trades per second on one core, beside a reader that only decodes.

usage: python -m benchmarks.ingest [--quick] [--trades N] [--rounds N] [--seed N] [--output FILE]

Both take the same frames over a loopback websocket from a process on another core. *candled* is all of the way:
trio-websocket, decode, engine, roll-up, hub, and the encoder of one subscriber to every symbol. *bare* is a
trio-websocket client that decodes each message with msgspec. Their rounds alternate. CPU figures count this
process's own CPU time, so that other work on the machine does not show; wall figures need a quiet one.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import trio
from trio_websocket import open_websocket_url

from benchmarks.header import header
from candled.config.settings import DaemonSettings
from candled.daemon.pipeline import open_pipeline
from candled.domain.event import BarEvent
from candled.engine.engine import Engine
from candled.feed.adapter import ExchangeDescription, Instrument
from candled.feed.errors import SourceUnavailableError
from candled.feed.transport.tcp import connect_tcp
from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.subscription import Selection
from candled.telemetry.logging import configure_logging

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
TARGET_PER_SECOND: Final = 15_000
TARGET_RATIO: Final = 0.6
PATIENCE_SECONDS: Final = 300.0


class Clock:
    """CPU and wall seconds from the first to the last trade."""

    def __init__(self) -> None:
        self.begun: tuple[float, float] | None = None
        self.cpu = self.wall = 0.0

    def begin(self) -> None:
        if self.begun is None:
            self.begun = time.process_time(), time.perf_counter()

    def end(self) -> None:
        assert self.begun is not None
        self.cpu, self.wall = time.process_time() - self.begun[0], time.perf_counter() - self.begun[1]


# -- bare ---------------------------------------------------------------------------------------------------------


class _Trade(msgspec.Struct, gc=False):
    e: str
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Frame(msgspec.Struct, gc=False):
    stream: str
    data: _Trade


async def bare(url: str, trades: int) -> Clock:
    """Read and decode, nothing else."""
    clock = Clock()
    decode = msgspec.json.Decoder(_Frame).decode
    async with open_websocket_url(f"{url}/stream") as connection:
        clock.begin()
        for _ in range(trades):
            decode(await connection.get_message())
        clock.end()
        await trio.aclose_forcefully(connection._stream)
    return clock


# -- candled ------------------------------------------------------------------------------------------------------


class NoSource:
    """A REST side that never answers, so that only the stream is measured."""

    weight_used = 0
    weight_limit = 3000

    async def server_time(self) -> int:
        raise SourceUnavailableError("not here")

    def __getattr__(self, _name: str) -> Callable[..., Awaitable[NoReturn]]:
        async def refuse(*_arguments: object) -> NoReturn:
            raise SourceUnavailableError("not here")

        return refuse


class NoHistory:
    """Nothing is stored."""

    epoch = 1
    history_id = "0" * 16
    stored_position = 0

    async def newest_bars(self) -> dict[str, Any]:
        return {}

    async def bars(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def incomplete_bars(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def disputed(self, *_: Any) -> list[Any]:
        return []

    async def changed_since(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def symbols(self) -> list[str]:
        return []


class EncodingClient:
    """One subscriber: every message becomes the bytes that its connection would be written."""

    def __init__(self, updates: int, clock: Clock, warm: int = 0) -> None:
        self.done = trio.Event()
        self.bytes = 0
        self._left = updates
        self._left_when_warm = updates - warm
        self._sequence = 0
        self._clock = clock

    def send_now(self, messages: Sequence[Message]) -> bool:
        sent = encode_send_time(time.time_ns() // 1000)
        for message in messages:
            self._sequence += 1
            data = encode_shared(message) + sent + encode_sequence(self._sequence)
            self.bytes += len(b"\0" + len(data).to_bytes(4, "big") + data)
            self._left -= message.bar is not None and not message.bar.closed
        if self._left <= self._left_when_warm:
            self._clock.begin()
        if self._left <= 0 and not self.done.is_set():
            self._clock.end()
            self.done.set()
        return True

    def wake(self) -> None:
        """Nothing waits, since everything is taken at once."""


async def candled(url: str, trades: int, warm: int = 0) -> Clock:
    """The whole way of a trade, as the daemon wires it; the clock begins after ``warm`` trades, if named."""
    clock = Clock()
    settings = DaemonSettings(symbols=SYMBOLS, stream_urls=(url,))
    engine = Engine(SYMBOLS)
    hub = Hub(clock=trio.current_time, snapshot=engine.forming, symbols=lambda: SYMBOLS, stored=NoHistory())
    client = EncodingClient(trades, clock, warm)
    subscription = hub.subscribe(Selection(), client)
    hub.go_live(subscription)
    subscription.take(trio.current_time(), 1)  # nothing waits: from here on it is sent at once
    send, receive = trio.open_memory_channel[list[BarEvent]](100_000)
    description = ExchangeDescription("canned", {name: Instrument(name, "TRADING", 2, 6) for name in SYMBOLS})

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        stream = await connect_tcp(host, port, tls)
        if not warm:
            clock.begin()
        return stream

    async with (
        receive,
        open_pipeline(
            settings,
            description,
            engine,
            source=NoSource(),  # type: ignore[arg-type]
            stored=NoHistory(),
            hub=hub,
            unstored=hub.unstored,
            closed=send,
            connect=connect,
            rng=random.Random(1),
        ) as pipeline,
    ):
        await client.done.wait()
        counted = sum(symbol.trades for symbol in pipeline.engine.statistics().symbols)
        assert counted == trades, f"{counted} of {trades} trades counted"
        assert pipeline.feed.counts.dropped_batches == 0
    return clock


# -- both ---------------------------------------------------------------------------------------------------------


@contextmanager
def open_feeder(trades: int, seed: int, core: int) -> Iterator[str]:
    """The process that sends; its URL."""
    command = [sys.executable, "-m", "benchmarks.canned_stream", str(trades), str(seed), str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        assert feeder.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(feeder.stdout.readline())}"
        finally:
            feeder.kill()


async def timed(measured: Callable[[str, int], Awaitable[Clock]], url: str, trades: int) -> Clock:
    with trio.fail_after(PATIENCE_SECONDS):
        return await measured(url, trades)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    if options.quick:
        options.trades, options.rounds = 10_000, 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    configure_logging("error", "console")
    results: dict[str, list[Clock]] = {"bare": [], "candled": []}
    with open_feeder(options.trades, options.seed, cores[-1]) as url:
        for number in range(options.rounds + 1):
            for name, measured in (("bare", bare), ("candled", candled)):
                clock = trio.run(timed, measured, url, options.trades)
                if number:  # the first round warms up
                    results[name].append(clock)
    text = report(results, options)
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text)


def report(results: dict[str, list[Clock]], options: argparse.Namespace) -> str:
    """The header and the figures."""
    lines = [
        *header("ingest"),
        f"data:     {options.trades} made-up trades, seed {options.seed}, median of {options.rounds} rounds",
        "",
        f"{'':10}{'trades/s of CPU':>18}{'trades/s of wall':>18}{'CPU us/trade':>15}",
    ]
    rates = {}
    for name, clocks in results.items():
        cpu, wall = (statistics.median(getattr(clock, kind) for clock in clocks) for kind in ("cpu", "wall"))
        rates[name] = options.trades / cpu
        figures = f"{options.trades / cpu:>18,.0f}{options.trades / wall:>18,.0f}"
        lines.append(f"{name:10}{figures}{cpu / options.trades * 1e6:>15.1f}")
    ratio = rates["candled"] / rates["bare"]
    lines += [
        "",
        f"candled / bare: {ratio:.2f} (at least {TARGET_RATIO} wanted)",
        f"candled: {rates['candled']:,.0f} trades/s on one core (at least {TARGET_PER_SECOND:,} wanted)",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
