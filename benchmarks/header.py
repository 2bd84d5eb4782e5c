"""How a record begins: when, where and by which command it was made."""

import os
import platform
import sys
from datetime import UTC, datetime


def header(module: str) -> list[str]:
    """Lines about this run of ``python -m benchmarks.<module>``."""
    return [
        f"date:     {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine:  {os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        f"load:     {os.getloadavg()[0]:.1f}",
        f"python:   {platform.python_implementation()} {platform.python_version()}",
        f"command:  python -m benchmarks.{module} {' '.join(sys.argv[1:])}".rstrip(),
    ]
