"""``python -m benchmarks.soak --minutes 60``: daemon and exchange as processes, with faults, kills and restarts.

The exchange runs faster than real time. Faults are commanded over its HTTP side, the daemon is stopped or killed
now and then. Each minute one line: resident memory, threads, kills. At the end the faults stop: every stored bar
must equal the exchange's own kline and be complete. Prints a record in Markdown; exit status 1 if not so.
"""

import argparse
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
FAULTS = (
    *("lose=0.02", "double=0.05", "reorder=0.05", "malformed=0.01", "late=0.05", "half=0.001", "stall", "nopong"),
    *("stall:ETHUSDT", "refuse", "rest_lag=5s", "rest_delay=2s", "rest_500=0.3", "rest_429=0.05", "rest_half=0.2"),
)
BLOWS = ("cut", "shutdown", "half")
MINUTE = 60_000_000
SETTLE_SECONDS = 180
"""How long the repair may take at the end."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.define
class Stand:
    """Both processes, and where they listen."""

    directory: Path
    speed: float
    rate: float
    seed: int
    port: int = attrs.Factory(free_port)
    grpc: int = attrs.Factory(free_port)
    http: int = attrs.Factory(free_port)
    exchange: "subprocess.Popen[bytes] | None" = None
    daemon: "subprocess.Popen[bytes] | None" = None

    def start_exchange(self) -> None:
        self.exchange = self._start(
            "exchange", f"--address=127.0.0.1:{self.port}", f"--speed={self.speed}", f"--rate={self.rate}",
            f"--seed={self.seed}",
        )  # fmt: skip

    def start_daemon(self) -> None:
        self.daemon = self._start(
            "run", f"--data-dir={self.directory / 'data'}", f"--stream-urls=ws://127.0.0.1:{self.port}",
            f"--rest-urls=http://127.0.0.1:{self.port}", f"--grpc-address=127.0.0.1:{self.grpc}",
            f"--http-address=127.0.0.1:{self.http}", "--log-format=json", "--log-level=warning",
        )  # fmt: skip

    def _start(self, command: str, *options: str) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "candled.cli.main", command, *options], stdout=log, stderr=log
            )

    def stop_daemon(self, number: signal.Signals) -> int:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        return self.daemon.wait(timeout=20)

    def ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=10) as answer:
            return json.loads(answer.read())

    def command(self, fault: str) -> None:
        self.ask("/faults", fault.encode())

    def close(self) -> None:
        for process in (self.daemon, self.exchange):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def wait_for_exchange(stand: Stand) -> None:
    for _ in range(200):
        try:
            stand.ask("/api/v3/time")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the exchange did not start: see exchange.log")


def live(stand: Stand, rng: random.Random, minutes: float) -> tuple[list[str], int, int]:
    """Faults and restarts for so long: lines of the record, kills, wrong exits."""
    lines: list[str] = []
    begun = time.monotonic()
    kills = bad_exits = 0
    next_line, next_restart = begun, begun + rng.uniform(30, 90)
    while time.monotonic() < begun + minutes * 60:
        fault = rng.choice((*FAULTS, *BLOWS))
        stand.command(fault)
        time.sleep(rng.uniform(0.5, 5))
        if fault in FAULTS:
            stand.command(f"{fault.partition('=')[0]}=off")
        now = time.monotonic()
        assert stand.daemon is not None
        if stand.daemon.poll() is not None:
            bad_exits += 1
            lines.append(f"| {now - begun:.0f} | the daemon ended by itself with {stand.daemon.returncode} | | |")
            stand.start_daemon()
        if now >= next_line:
            next_line = now + 60
            pid = stand.daemon.pid
            lines.append(f"| {now - begun:.0f} | {resident_mb(pid):.0f} | {threads(pid)} | {kills} |")
            print(lines[-1], flush=True)
        if now >= next_restart:
            next_restart = now + rng.uniform(30, 120)
            if rng.random() < 0.5:
                stand.stop_daemon(signal.SIGKILL)
                kills += 1
            elif stand.stop_daemon(signal.SIGTERM) != 0:
                bad_exits += 1
                lines.append(f"| {now - begun:.0f} | exit status other than 0 after SIGTERM | | |")
            stand.start_daemon()
    return lines, kills, bad_exits


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
    stored = {(row["symbol"], row["at"]): row for row in bars(stand)}
    wrong: list[str] = []
    count = trades = 0
    for symbol in SYMBOLS:
        times = sorted(at for name, at in stored if name == symbol)
        if not times:
            wrong.append(f"no bar of {symbol}")
            continue
        start, end = times[0], times[-1] - 5 * MINUTE
        while start < end:
            rows = stand.ask(f"/api/v3/klines?symbol={symbol}&interval=1m&startTime={start // 1000}&limit=1000")
            for row in rows:
                at = row[0] * 1000
                if at >= end:
                    break
                count += 1
                trades += row[8]
                bar = stored.get((symbol, at))
                names = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count")
                names += ("taker_buy_volume", "taker_buy_quote_volume")
                true = [Decimal(value) for value in (*row[1:6], row[7], row[8], row[9], row[10])]
                if bar is None or [Decimal(bar[name]) for name in names] != true or not bar["complete"]:
                    wrong.append(f"{symbol} {at}: stored {bar}, kline {row}")
            start += 1000 * MINUTE
    return count, trades, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--speed", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="directory to leave the data and the logs in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        stand = Stand(options.keep or Path(directory), options.speed, options.rate, options.seed)
        try:
            return soak(stand, options.minutes)
        finally:
            stand.close()


def soak(stand: Stand, minutes: float) -> int:
    stand.directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{stand.seed}/soak")
    stand.start_exchange()
    wait_for_exchange(stand)
    stand.start_daemon()
    time.sleep(5)
    lines, kills, bad_exits = live(stand, rng, minutes)
    stand.command("clear")
    wrong: list[str] = []
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        time.sleep(10)
        count, trades, wrong = compare(stand)
        if not wrong or time.monotonic() > deadline:
            break
    status = stand.stop_daemon(signal.SIGTERM)
    print(
        f"\n# Soak\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} "
        f"shared cores, Python {platform.python_version()}\n\n"
        f"`python -m benchmarks.soak --minutes {minutes:g} --speed {stand.speed:g} --rate {stand.rate:g} "
        f"--seed {stand.seed}`\n\n"
        f"{count} bars of {trades} trades compared with the exchange's klines; {len(wrong)} differ or are "
        f"not proven; {kills} kill -9; {bad_exits} wrong exits; exit status {status} at the end\n\n"
        "| second | resident MB | threads | kills |\n|---|---|---|---|\n" + "\n".join(lines)
    )
    for what in wrong[:10]:
        print(what)
    return bool(wrong or bad_exits or status)


if __name__ == "__main__":
    sys.exit(main())
