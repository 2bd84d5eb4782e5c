"""``python -m benchmarks.attack --minutes 60``: a lying exchange and a hostile client beside 50 healthy ones.

The daemon, the exchange, the healthy clients and the hostile one are processes of their own. The exchange lies all
the while, by one lie after another; the hostile client is there half of the time, in turns, so that what the
healthy clients see with it stands beside what they see without. At the end the lies stop, and the daemon must be
ready. Prints a record in Markdown; exit status 1 if p99 is more than twice what it is without the hostile client,
if the daemon ended or became deaf, or if a traceback is in a log.
"""

import argparse
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import grpc
import trio

from benchmarks.header import header
from benchmarks.soak import Sample, Stand, has_traceback, make_parser, run_on_stand
from candled.api import candles_pb2 as pb
from candled.api import message_pool  # noqa: F401 - registers the messages
from candled.client import Kind, open_trio_client
from candled.embedded_exchange.kinds import LIES

HEALTHY: Final = 50
PHASE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 120
RATIO_MAX: Final = 2.0
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EXTREMES: Final = ("0", "-1", "1", "9999999999999999999", "1e9", "", "NaN", "%00", "x" * 5000)
PATHS: Final = (
    "/api/bars?symbol=BTCUSDT&interval={0}&limit={1}",
    "/api/bars?symbol={0}&limit={1}",
    "/{0}",
    "/metrics",
)


# -- the healthy clients ------------------------------------------------------------------------------------------


async def crowd(address: str, output: Path) -> None:
    """Follow every update with many connections; write when each came and how long after it was sent."""
    with output.open("w", buffering=1 << 16) as lines:

        async def one() -> None:
            async with open_trio_client(address) as client, client.stream_bars() as stream:
                async for message in stream:
                    if message.kind is Kind.UPDATE:
                        now = time.time()
                        lines.write(f"{now:.6f} {now - message.send_time.timestamp():.6f}\n")

        async with trio.open_nursery() as nursery:
            for _ in range(HEALTHY):
                nursery.start_soon(one)


# -- the hostile one ----------------------------------------------------------------------------------------------


@attrs.define
class Hostile:
    """Does by turns whatever might stall the daemon; what the daemon answers is of no interest here."""

    grpc_port: int
    http_port: int
    rng: random.Random
    idle: list[socket.socket] = attrs.Factory(list)

    def run(self) -> None:
        moves: Sequence[Callable[[], None]] = (
            *(self.ask_extremes, self.ask_much, self.send_garbage),
            *(self.stay_silent, self.never_read, self.drop_streams),
        )  # fmt: skip
        while True:
            with suppress(OSError, grpc.RpcError, ValueError):
                self.rng.choice(moves)()

    def _connect(self, port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), timeout=2)
        self.idle.append(sock)
        while len(self.idle) > 200:
            self.idle.pop(0).close()
        return sock

    def ask_extremes(self) -> None:
        """One HTTP request with values that nobody sends by mistake."""
        path = self.rng.choice(PATHS).format(self.rng.choice(EXTREMES), self.rng.choice(EXTREMES))
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=2).read()

    def ask_much(self) -> None:
        """Many whole histories at once, and no answer is read to its end."""
        request = b"GET /api/bars?symbol=BTCUSDT&interval=1m&limit=100000 HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(20):
            self._connect(self.http_port).sendall(request)

    def send_garbage(self) -> None:
        """Bytes that are no HTTP, no HTTP/2, or stop in the middle of either."""
        port = self.rng.choice((self.grpc_port, self.http_port))
        head = self.rng.choice((b"", PREFACE, b"GET / HTTP/1.1\r\nX: "))
        self._connect(port).sendall(head + self.rng.randbytes(self.rng.choice((10, 5_000, 100_000))))

    def stay_silent(self) -> None:
        """Connections that say nothing."""
        for _ in range(20):
            self._connect(self.rng.choice((self.grpc_port, self.http_port)))

    def never_read(self) -> None:
        """A stream of everything whose client does not read."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            call = channel.unary_stream(
                "/candled.v1.CandleService/StreamBars", request_serializer=pb.StreamBarsRequest.SerializeToString
            )(pb.StreamBarsRequest(intervals=["1m", "5m", "1h", "1d"]))
            time.sleep(self.rng.uniform(0, 3))
            call.cancel()

    def drop_streams(self) -> None:
        """Streams that are begun and dropped."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            ask = channel.unary_stream(
                "/candled.v1.CandleService/StreamBars", request_serializer=pb.StreamBarsRequest.SerializeToString
            )
            for _ in range(50):
                ask(pb.StreamBarsRequest()).cancel()


# -- the run ------------------------------------------------------------------------------------------------------


@attrs.define
class Phases:
    """When the hostile client was there, by wall clock."""

    calm: list[tuple[float, float]] = attrs.Factory(list)
    attacked: list[tuple[float, float]] = attrs.Factory(list)


def child(mode: str, *arguments: str, nice: int = 0) -> "subprocess.Popen[bytes]":
    command = ["nice", "-n", str(nice), sys.executable, "-m", "benchmarks.attack", mode, *arguments]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def lie(stand: Stand, rng: random.Random, begun: Counter[str]) -> None:
    """Begin a lie of the exchange, and end another."""
    name = rng.choice(sorted(LIES))
    begun[name] += 1
    stand.command(f"{name}={rng.uniform(0, 0.05):.4f}")
    if len(begun) > 3:
        stand.command(f"{rng.choice(sorted(begun))}=off")


def run(stand: Stand, minutes: float) -> tuple[str, list[str]]:
    """The record, and what is wrong."""
    rng, wrong, samples = random.Random(stand.seed), list[str](), list[Sample]()
    lies: Counter[str] = Counter()
    stand.start_exchange()
    stand.start_daemon()
    stand.wait_for_daemon("/readyz")
    latencies = stand.directory / "latencies"
    healthy = child("--crowd", f"127.0.0.1:{stand.grpc}", str(latencies))
    time.sleep(5)
    phases, begun = Phases(), time.monotonic()
    hostile: subprocess.Popen[bytes] | None = None
    while time.monotonic() < begun + minutes * 60:
        since = time.time()
        if len(phases.calm) > len(phases.attacked):
            # On a machine of its own it would take no processor from the others.
            hostile = child("--hostile", str(stand.grpc), str(stand.http), str(rng.random()), nice=19)
        end = time.monotonic() + min(PHASE_SECONDS, minutes * 15)
        while time.monotonic() < end:
            lie(stand, rng, lies)
            time.sleep(rng.uniform(1, 5))
            sample = stand.sample(time.monotonic() - begun, 1)
            if sample is None:
                wrong.append(f"no metrics after {time.monotonic() - begun:.0f} s")
            else:
                samples.append(sample)
            if stand.daemon is not None and stand.daemon.poll() is not None:
                wrong.append(f"the daemon ended: {stand.daemon.returncode}")
                break
        (phases.calm if hostile is None else phases.attacked).append((since, time.time()))
        if hostile is not None:
            hostile.kill()
            hostile.wait()
            hostile = None
        time.sleep(2)
    stand.command("clear")
    if healthy.poll() is not None:
        wrong.append("the healthy clients ended")
    healthy.kill()
    healthy.wait()
    try:
        stand.wait_for_daemon("/readyz")
    except SystemExit:
        wrong.append("the daemon is not ready after the lies have ended")
    if stand.daemon is not None:
        stand.daemon.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            stand.daemon.wait(30)
        wrong += [] if stand.daemon.poll() == 0 else [f"exit status {stand.daemon.poll()} after SIGTERM"]
    wrong += [f"traceback in {path.name}" for path in stand.directory.glob("*.log") if has_traceback(path)]
    return record(phases, latencies, samples, lies, wrong), wrong


def quantiles(latencies: Path, spans: Sequence[tuple[float, float]]) -> tuple[int, float, float]:
    """How many updates came within these times, and p50 and p99 of their latency, seconds."""
    rows = (line.split() for line in latencies.read_text().splitlines())
    found = [float(row[1]) for row in rows if len(row) == 2 and any(a <= float(row[0]) <= b for a, b in spans)]
    if len(found) < 100:
        return len(found), float("nan"), float("nan")
    cuts = statistics.quantiles(found, n=100)
    return len(found), cuts[49], cuts[98]


def record(
    phases: Phases,
    latencies: Path,
    samples: Sequence[Sample],
    lies: Counter[str],
    wrong: list[str],
) -> str:
    """All of it, in Markdown; adds to what is wrong."""
    calm, attacked = quantiles(latencies, phases.calm), quantiles(latencies, phases.attacked)
    ratio = attacked[2] / calm[2]
    if not ratio <= RATIO_MAX:
        wrong.append(f"p99 is {ratio:.2f} times that without the hostile client")
    memory = [sample.resident_mb for sample in samples]
    quarter = max(1, len(memory) // 4)
    parts = [statistics.mean(memory[at : at + quarter]) for at in range(0, len(memory) - quarter + 1, quarter)]
    rows = [
        f"| {name} | {count} | {p50 * 1000:.2f} | {p99 * 1000:.2f} |"
        for name, (count, p50, p99) in (("without", calm), ("with", attacked))
    ]
    return "\n".join(
        [
            "# A lying exchange and a hostile client",
            "",
            *(f"    {line}" for line in header("attack")),
            "",
            f"{HEALTHY} healthy clients, each on its own connection, and a hostile one by turns. Milliseconds",
            "from the daemon's sending to the client's receiving:",
            "",
            "| hostile client | updates | p50 | p99 |",
            "|---|---|---|---|",
            *rows,
            "",
            f"- p99 with it is {ratio:.2f} times p99 without.",
            f"- Resident MB, mean of each quarter of the time: {', '.join(f'{part:.0f}' for part in parts[:4])}.",
            f"- Lies: {sum(lies.values())} of {len(lies)} kinds.",
            f"- Wrong: {'; '.join(wrong) or 'nothing'}.",
            "",
        ]
    )


def main() -> int:
    parser = make_parser("attack", __doc__, rate=3.0)
    parser.add_argument("--crowd", nargs=2, metavar=("ADDRESS", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--hostile", nargs=3, metavar=("GRPC", "HTTP", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crowd:
        trio.run(crowd, options.crowd[0], Path(options.crowd[1]))
        return 0
    if options.hostile:
        Hostile(int(options.hostile[0]), int(options.hostile[1]), random.Random(options.hostile[2])).run()
        return 0
    return run_on_stand(options, 1.0, run)


if __name__ == "__main__":
    sys.exit(main())
