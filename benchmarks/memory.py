"""Resident memory of a daemon with three symbols and many clients, over simulated hours on the embedded exchange.

usage: python -m benchmarks.memory [--clients N] [--minutes N] [--speed N] [--output FILE]
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.fanout.client import Connection, read_all
from benchmarks.header import header
from benchmarks.restart import CANDLED, open_exchange

TARGET_MB: Final = 250
SAMPLE_SECONDS: Final = 5.0
WARM_UP: Final = 0.25
"""Part of the time that is not judged."""


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(clients: int, seconds: float, speed: float) -> tuple[list[float], int]:
    """Samples of resident megabytes, and how many messages the clients got."""
    samples: list[float] = []
    with open_exchange("--speed", str(speed)) as exchange, tempfile.TemporaryDirectory() as directory:
        urls = [f"--stream-urls=ws://{exchange}", f"--rest-urls=http://{exchange}"]
        ports = ["--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]
        where = [*ports, f"--data-dir={directory}/data", "--log-format=json"]
        with subprocess.Popen([*CANDLED, "run", *urls, *where], stderr=subprocess.PIPE, text=True) as daemon:
            try:
                assert daemon.stderr is not None
                line = next(line for line in daemon.stderr if '"serving"' in line)
                found = re.search(r'"grpc": "[^"]*:(\d+)"', line)
                assert found is not None
                opened = [Connection(int(found[1]), 1, lambda _data, _now: None) for _ in range(clients)]
                begun = time.monotonic()

                def sample() -> None:
                    if time.monotonic() - begun >= SAMPLE_SECONDS * (len(samples) + 1):
                        samples.append(resident_mb(daemon.pid))

                read_all(opened, lambda: False, seconds, sample)
                for client in opened:
                    client.sock.close()
            finally:
                daemon.kill()
    return samples, sum(client.messages for client in opened)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--speed", type=float, default=30.0, help="of the exchange's clock")
    parser.add_argument("--output", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    samples, messages = measure(options.clients, options.minutes * 60, options.speed)
    judged = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(judged) // 3)
    hours = options.minutes * options.speed / 60
    first, last = sum(judged[:third]) / third, sum(judged[-third:]) / third
    text = "\n".join(
        [
            *header("memory"),
            f"data:     embedded exchange, {hours:.1f} hours; {options.clients} clients got {messages} messages",
            "",
            f"resident memory after the first quarter, below {TARGET_MB} MB and flat wanted:",
            f"first third {first:.0f} MB, last third {last:.0f} MB, most {max(judged):.0f} MB",
            "each: " + " ".join(f"{megabytes:.0f}" for megabytes in samples),
            "",
        ]
    )
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
