"""From kill -9 of a daemon to its successor serving whole current bars, on the embedded exchange.

usage: python -m benchmarks.restart [--kills N] [--output FILE]

A daemon is killed at some moment of a running market and started again at once. The time ends when a stream has
emitted current bars of the busy symbols that hold every trade of the minute from its first one on, which the
exchange's REST side names.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import trio

from benchmarks.header import header
from candled.client import ClientError, open_trio_client
from candled.client.model import Bar

if TYPE_CHECKING:
    from datetime import datetime

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
"""They trade every second or so."""
TARGET_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.05
CANDLED: Final = (sys.executable, "-m", "candled")


@contextmanager
def open_exchange(*options: str) -> Iterator[str]:
    """The embedded exchange in a process of its own: ``host:port``."""
    with subprocess.Popen(
        [*CANDLED, "exchange", "--address=127.0.0.1:0", *options], stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        try:
            yield run.stderr.readline().partition("ws://")[2].partition(",")[0]
        finally:
            run.kill()


def start_daemon(exchange: str, grpc: str, directory: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *CANDLED,
            "run",
            f"--symbols={','.join(SYMBOLS)}",
            f"--stream-urls=ws://{exchange}",
            f"--rest-urls=http://{exchange}",
            f"--grpc-address={grpc}",
            "--http-address=127.0.0.1:0",
            f"--data-dir={directory}/data",
            "--log-level=error",
        ]
    )


class Truth:
    """What the exchange's REST side says of minutes, asked once for each."""

    def __init__(self, exchange: str, asking: httpx.Client) -> None:
        self._exchange = exchange
        self._asking = asking
        self._first_ids: dict[tuple[str, datetime], int] = {}

    def is_whole(self, bar: Bar) -> bool:
        """Whether a forming bar holds every trade from its minute's first one to its own last one."""
        first, last = bar.first_trade_id, bar.last_trade_id
        return (
            first is not None
            and last is not None
            and first == self._first_id(bar)
            and bar.trade_count == last - first + 1
        )

    def _first_id(self, bar: Bar) -> int:
        key = bar.symbol, bar.open_time
        if key not in self._first_ids:
            start = int(bar.open_time.timestamp() * 1000)
            query: dict[str, str | int] = {"symbol": bar.symbol, "startTime": start, "limit": 1}
            rows = self._asking.get(f"http://{self._exchange}/api/v3/aggTrades", params=query).json()
            self._first_ids[key] = int(rows[0]["f"])
        return self._first_ids[key]


async def serving_whole_bars(truth: Truth, grpc: str) -> float:
    """Wait for it; the moment at which the last of the symbols' bars was whole."""
    missing = set(SYMBOLS)
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                async with (
                    open_trio_client(grpc) as client,
                    client.stream_bars(symbols=SYMBOLS) as messages,
                ):
                    async for message in messages:
                        received = time.perf_counter()
                        bar = message.bar
                        if bar is not None and not bar.closed and truth.is_whole(bar):
                            missing.discard(bar.symbol)
                            if not missing:
                                return received
            except ClientError:
                await trio.sleep(RETRY_SECONDS)


def measure(kills: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    seconds = []
    grpc = f"127.0.0.1:{free_port()}"
    with (
        open_exchange() as exchange,
        httpx.Client() as asking,
        tempfile.TemporaryDirectory() as directory,
    ):
        truth = Truth(exchange, asking)
        daemon = start_daemon(exchange, grpc, directory)
        try:
            for _ in range(kills):
                trio.run(serving_whole_bars, truth, grpc)
                time.sleep(rng.uniform(1, 8))
                daemon.kill()
                daemon.wait()
                begun = time.perf_counter()
                daemon = start_daemon(exchange, grpc, directory)
                seconds.append(trio.run(serving_whole_bars, truth, grpc) - begun)
        finally:
            daemon.kill()
            daemon.wait()
    return seconds


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    seconds = measure(options.kills, options.seed)
    text = "\n".join(
        [
            *header("restart"),
            f"data:     the embedded exchange, {', '.join(SYMBOLS)}; {options.kills} kills, seed {options.seed}",
            "",
            f"kill -9 to whole current bars, less than {TARGET_SECONDS:g} s wanted:",
            f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s",
            "each: " + " ".join(f"{second:.2f}" for second in seconds),
            "",
        ]
    )
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
