"""``python -m benchmarks.soak --minutes 60``: daemon, exchange and a client as processes, for long, with faults.

The exchange runs faster than real time. Faults are commanded over its HTTP side all the while. First both
processes are ended again and again, by SIGTERM and by kill -9; for the rest of the time one daemon lives on, so
that its memory, tasks and open files show whether they grow. At the end the faults stop: every stored bar must
equal the exchange's own kline and be complete. Prints a record in Markdown; exit status 1 if anything is not so.
"""

import argparse
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import attrs

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
FAULTS = (
    *("lose=0.02", "double=0.05", "reorder=0.05", "malformed=0.01", "late=0.05", "half=0.001", "stall", "nopong"),
    *("stall:ETHUSDT", "refuse", "rest_lag=5s", "rest_delay=2s", "rest_500=0.3", "rest_429=0.05", "rest_half=0.2"),
)
"""None that changes the market itself: a restarted exchange would not know of it."""
BLOWS = ("cut", "shutdown", "half")
MINUTE = 60_000_000
SETTLE_SECONDS = 180
"""How long the repair may take at the end."""
SAMPLE_SECONDS = 10.0
STEADY_PART = 0.4
"""Fraction of the time, at its end, without restarts."""
WEIGHT: Final = 60_000
"""Request weight a minute: repairs of a fast market need more than those of a real one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.frozen
class Sample:
    """A daemon at one moment."""

    second: float
    life: int
    resident_mb: float
    tasks: int
    files: int
    threads: int


@attrs.define
class Tally:
    """What happened."""

    samples: list[Sample] = attrs.Factory(list)
    blows: Counter[str] = attrs.Factory(Counter)
    wrong: list[str] = attrs.Factory(list)
    """Whatever must not happen."""


@attrs.define
class Stand:
    """The processes, and where they listen."""

    directory: Path
    speed: float
    rate: float
    seed: int
    epoch: str = attrs.Factory(lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    port: int = attrs.Factory(free_port)
    grpc: int = attrs.Factory(free_port)
    http: int = attrs.Factory(free_port)
    exchange: "subprocess.Popen[bytes] | None" = None
    daemon: "subprocess.Popen[bytes] | None" = None
    client: "subprocess.Popen[bytes] | None" = None

    def start_exchange(self) -> None:
        self.exchange = self._start(
            "exchange", f"--address=127.0.0.1:{self.port}", f"--speed={self.speed}", f"--rate={self.rate}",
            f"--seed={self.seed}", f"--epoch={self.epoch}", f"--weight-limit={WEIGHT}", "--attempt-limit=100000",
        )  # fmt: skip
        for _ in range(300):
            try:
                self.ask("/api/v3/time")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the exchange did not start: see exchange.log")

    def start_daemon(self) -> None:
        self.daemon = self._start(
            "run", f"--data-dir={self.directory / 'data'}", f"--stream-urls=ws://127.0.0.1:{self.port}",
            f"--rest-urls=http://127.0.0.1:{self.port}", f"--grpc-address=127.0.0.1:{self.grpc}",
            f"--http-address=127.0.0.1:{self.http}", f"--rest-weight-per-minute={WEIGHT * 2 // 3}",
            "--log-format=json", "--log-level=warning",
        )  # fmt: skip

    def wait_for_daemon(self, path: str) -> None:
        """Until it lives (``/healthz``), or serves (``/readyz``)."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the daemon did not start: see run.log")

    def start_client(self) -> None:
        """One that follows every trade, and resumes by itself whenever the daemon comes back."""
        self.client = self._start("watch", f"--address=127.0.0.1:{self.grpc}", quiet=True)

    def _start(self, command: str, *options: str, quiet: bool = False) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "candled.cli.main", command, *options],
                stdout=subprocess.DEVNULL if quiet else log,
                stderr=log,
            )

    def ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=10) as answer:
            return json.loads(answer.read())

    def command(self, fault: str) -> None:
        self.ask("/faults", fault.encode())

    def sample(self, second: float, life: int) -> Sample | None:
        """The daemon now; None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        assert self.daemon is not None
        return Sample(
            second=second,
            life=life,
            resident_mb=_metric(text, "process_resident_memory_bytes") / 1e6,
            tasks=int(_metric(text, "candled_tasks")),
            files=int(_metric(text, "process_open_fds")),
            threads=len(list(Path(f"/proc/{self.daemon.pid}/task").iterdir())),
        )

    def close(self) -> None:
        for process in (self.client, self.daemon, self.exchange):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1.0


def live(stand: Stand, rng: random.Random, minutes: float, tally: Tally) -> None:
    """Cause faults for a time, and restarts in the first part of it."""
    begun = time.monotonic()
    end = begun + minutes * 60
    steady = end - minutes * 60 * STEADY_PART
    next_sample, life = begun, 1
    pause = min(120.0, max(15.0, minutes * 10))
    next_daemon, next_exchange = begun + rng.uniform(0.3, 1) * pause, begun + rng.uniform(0.5, 2) * pause
    while time.monotonic() < end:
        fault = rng.choice((*FAULTS, *BLOWS))
        tally.blows[fault.partition("=")[0]] += 1
        stand.command(fault)
        time.sleep(rng.uniform(0.5, 5))
        if fault in FAULTS:
            stand.command(f"{fault.partition('=')[0]}=off")
        now = time.monotonic()
        assert stand.daemon is not None
        if stand.daemon.poll() is not None:
            tally.wrong.append(f"after {now - begun:.0f} s the daemon ended by itself: {stand.daemon.returncode}")
            stand.start_daemon()
        if now >= next_sample:
            next_sample = now + SAMPLE_SECONDS
            sample = stand.sample(now - begun, life)
            if sample is not None:
                tally.samples.append(sample)
        if next_exchange <= now < steady:
            next_exchange = now + rng.uniform(0.5, 2) * pause
            kill(stand.exchange)
            tally.blows["kill -9 of the exchange"] += 1
            time.sleep(rng.uniform(0, 5))
            stand.start_exchange()
        if next_daemon <= now < steady:
            next_daemon = now + rng.uniform(0.3, 1) * pause
            life += 1
            if rng.random() < 0.5:
                kill(stand.daemon)
                tally.blows["kill -9 of the daemon"] += 1
            else:
                stop(stand, tally)
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, 10))
            stand.start_daemon()


def kill(process: "subprocess.Popen[bytes] | None") -> None:
    assert process is not None
    process.kill()
    process.wait()


def stop(stand: Stand, tally: Tally) -> None:
    """SIGTERM once it lives, and its exit status: before it asks for signals, they end it like any process."""
    assert stand.daemon is not None
    stand.wait_for_daemon("/healthz")
    stand.daemon.send_signal(signal.SIGTERM)
    tally.blows["SIGTERM of the daemon"] += 1
    try:
        status = stand.daemon.wait(timeout=30)
    except subprocess.TimeoutExpired:
        load = os.getloadavg()[0]
        tally.wrong.append(
            f"SIGTERM did not end the daemon within 30 s ({datetime.now(UTC):%H:%M:%S}, load {load:.0f})"
        )
        kill(stand.daemon)
    else:
        if status != 0:
            tally.wrong.append(f"exit status {status} after SIGTERM")


def bars(stand: Stand) -> list[dict[str, Any]]:
    query = (
        "SELECT symbol, epoch_us(open_time) AS at, open, high, low, close, volume, quote_volume, trade_count, "
        "taker_buy_volume, taker_buy_quote_volume, complete FROM bars WHERE interval = '1m'"
    )
    done = subprocess.run(
        [sys.executable, "-m", "candled.cli.main", "sql", query, "--format=json",
         f"--data-dir={stand.directory / 'data'}"],
        capture_output=True, check=True,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def compare(stand: Stand) -> tuple[int, int, list[str]]:
    """Bars, trades, and what differs from the exchange's klines; the newest minutes are left out."""
    rows = bars(stand)
    stored = {(row["symbol"], row["at"]): row for row in rows}
    wrong: list[str] = [] if len(stored) == len(rows) else ["a bar is stored twice"]
    count = trades = 0
    for symbol in SYMBOLS:
        times = sorted(at for name, at in stored if name == symbol)
        if not times:
            wrong.append(f"no bar of {symbol}")
            continue
        start, end = times[0], times[-1] - 5 * MINUTE
        if end <= start:
            wrong.append(f"too few bars of {symbol} to compare")
        while start < end:
            rows = stand.ask(f"/api/v3/klines?symbol={symbol}&interval=1m&startTime={start // 1000}&limit=1000")
            for row in rows:
                at = row[0] * 1000
                if at >= end:
                    break
                count += 1
                trades += row[8]
                bar = stored.get((symbol, at))
                names = [*("open", "high", "low", "close", "volume", "quote_volume", "trade_count")]
                names += ["taker_buy_volume", "taker_buy_quote_volume"]
                true = [Decimal(value) for value in (*row[1:6], row[7], row[8], row[9], row[10])]
                if bar is None or [Decimal(bar[name]) for name in names] != true or not bar["complete"]:
                    wrong.append(f"{symbol} {at}: stored {bar}, kline {row}")
            start += 1000 * MINUTE
    return count, trades, wrong


def make_parser(module: str, description: str | None, rate: float) -> argparse.ArgumentParser:
    """What every long run on a stand can be asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=rate, help="of the exchange's trades")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="directory to leave the data and the logs in")
    parser.add_argument("--record", type=Path, help="file to write the record to as well")
    return parser


def run_on_stand(
    options: argparse.Namespace, speed: float, run: Callable[[Stand, float], tuple[str, list[str]]]
) -> int:
    """Print the record of a run, and keep it if that is asked for; exit status 1 if anything is wrong."""
    with tempfile.TemporaryDirectory() as directory:
        stand = Stand(options.keep or Path(directory), speed, options.rate, options.seed)
        stand.directory.mkdir(parents=True, exist_ok=True)
        try:
            text, wrong = run(stand, options.minutes)
        finally:
            stand.close()
    print(text)
    if options.record is not None:
        options.record.write_text(text)
    return bool(wrong)


def main() -> int:
    parser = make_parser("soak", __doc__, rate=0.1)
    parser.add_argument("--speed", type=float, default=30.0)
    options = parser.parse_args()
    return run_on_stand(options, options.speed, soak)


def soak(stand: Stand, minutes: float) -> tuple[str, list[str]]:
    """The record, and what is wrong."""
    rng = random.Random(f"{stand.seed}/soak")
    tally = Tally()
    stand.start_exchange()
    stand.start_daemon()
    stand.wait_for_daemon("/readyz")
    stand.start_client()
    live(stand, rng, minutes, tally)
    stand.command("clear")
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        time.sleep(min(10.0, minutes * 3))
        count, trades, differing = compare(stand)
        if not differing or time.monotonic() > deadline:
            break
    assert stand.client is not None
    if stand.client.poll() is not None:
        tally.wrong.append(f"the client ended by itself: {stand.client.returncode}")
    stop(stand, tally)
    tally.wrong += [f"Traceback in {path.name}" for path in stand.directory.glob("*.log") if has_traceback(path)]
    return record(stand, minutes, tally, count, trades, differing), [*tally.wrong, *differing]


def has_traceback(path: Path) -> bool:
    text = path.read_text(errors="replace")
    return "Traceback" in text or '"exception"' in text


def record(stand: Stand, minutes: float, tally: Tally, count: int, trades: int, differing: list[str]) -> str:
    """All of it, in Markdown."""
    blows = ", ".join(f"{name} {number}" for name, number in sorted(tally.blows.items()))
    lives = [list(samples) for _, samples in groupby(tally.samples, key=lambda sample: sample.life)]
    rows = [_life_row(samples) for samples in lives]
    last = [next(samples) for _, samples in groupby(lives[-1] if lives else [], key=lambda at: at.second // 60)]
    minutely = [
        f"| {at.second / 60:.0f} | {at.resident_mb:.0f} | {at.tasks} | {at.files} | {at.threads} |" for at in last
    ]
    return f"""# Soak

{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} shared cores, Python \
{platform.python_version()}, load {os.getloadavg()[2]:.1f} over the last quarter of an hour

`python -m benchmarks.soak --minutes {minutes:g} --speed {stand.speed:g} --rate {stand.rate:g} --seed {stand.seed}`

- {count} bars of {trades} trades compared with the exchange's klines: {len(differing)} differ or are not proven.
- {blows}.
- Otherwise wrong: {"; ".join([*tally.wrong, *differing[:10]]) or "nothing"}.

A life of the daemon ends with a restart. Resident MB and tasks as sampled every {SAMPLE_SECONDS:g} s:

| life | seconds | MB first | MB most | MB last | tasks most |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The last life, once a minute:

| minute | resident MB | tasks | open files | threads |
|---|---|---|---|---|
{chr(10).join(minutely)}
"""


def _life_row(samples: list[Sample]) -> str:
    """One life of the daemon."""
    first, last = samples[0], samples[-1]
    highest = max(sample.resident_mb for sample in samples)
    return (
        f"| {first.life} | {first.second:.0f} to {last.second:.0f} | {first.resident_mb:.0f} | {highest:.0f} "
        f"| {last.resident_mb:.0f} | {max(sample.tasks for sample in samples)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
