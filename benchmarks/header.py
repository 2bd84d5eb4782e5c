"""A record of a run: how it begins, and the file that it is added to."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path


def header(module: str) -> list[str]:
    """Lines about this run of ``python -m benchmarks.<module>``."""
    return [
        f"date:     {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine:  {os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        f"load:     {os.getloadavg()[0]:.1f}",
        f"python:   {platform.python_implementation()} {platform.python_version()}",
        f"command:  python -m benchmarks.{module} {' '.join(sys.argv[1:])}".rstrip(),
    ]


def publish(text: str, output: Path | None) -> None:
    """Print a record, and add it to a file if one is given."""
    print(text, end="")
    if output is not None:
        with output.open("a") as file:
            file.write(text)
