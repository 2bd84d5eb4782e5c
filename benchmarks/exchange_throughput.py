"""How many trades a second the embedded exchange pushes to one connection: other benchmarks lean on it.

    .venv/bin/python benchmarks/exchange_throughput.py [--seconds 10]

Must reach 20,000 trades/s, so that the exchange is never what is measured. Prints messages per second of time and
of the exchange's CPU; the reader only counts.
"""

import argparse
import os
import platform
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

UPGRADE = (
    "GET /stream?streams=btcusdt@trade/ethusdt@trade/pepeusdt@trade HTTP/1.1\r\nHost: exchange\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def count(port: int, seconds: float) -> tuple[int, int, float]:
    """Messages and bytes read in that time, and the time it was."""
    messages = size = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(UPGRADE.encode())
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            data = connection.recv(1 << 20)
            messages += data.count(b'"e":"trade"')
            size += len(data)
    return messages, size, elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    command = [
        str(Path(sys.executable).with_name("candled")),
        "exchange",
        "--address",
        "127.0.0.1:0",
        "--speed",
        "1000000",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exchange:
        try:
            assert exchange.stderr is not None
            line = exchange.stderr.readline()
            found = re.search(r"ws://127\.0\.0\.1:(\d+)", line)
            assert found is not None, line
            messages, size, elapsed = count(int(found[1]), seconds)
        finally:
            exchange.terminate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate, per_cpu = messages / elapsed, messages / (used.ru_utime + used.ru_stime)
    print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, seed 1")
    print(f"{rate:,.0f} trades/s, {per_cpu:,.0f} per CPU-second, {size / elapsed / 1e6:.1f} MB/s")


if __name__ == "__main__":
    main()
