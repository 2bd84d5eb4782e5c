"""``python -m benchmarks.imports``: CPU seconds until each client of ``candled.client`` is imported.

Each start is a process of its own, by turns with the others. The limit is that of the client's distribution;
the peer is the import of ``grpc``, with which a client in Python would be made otherwise.
"""

import statistics
import subprocess
import sys
from typing import Final

from benchmarks.header import header

STARTS: Final = 15
LIMIT: Final = 0.3
"""CPU seconds that importing a client may take."""
PEER: Final = "import grpc"
STATEMENTS: Final = (
    PEER,
    "from candled.client import open_client",
    "from candled.client import open_asyncio_client",
    "from candled.client import open_trio_client",
)
_CODE: Final = "import time; start = time.process_time(); {}; print(time.process_time() - start)"


def seconds(statement: str) -> float:
    """CPU time of one import in a fresh process, without that of Python itself."""
    command = [sys.executable, "-c", _CODE.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    """Exit status 1 if the median of any client is beyond the limit."""
    found: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(STARTS):
        for statement, times in found.items():
            times.append(seconds(statement))
    medians = {statement: statistics.median(times) for statement, times in found.items()}
    print(*header("imports"), "", sep="\n")
    print(f"{'statement':<50} {'median':>7} {'fastest':>8} {'slowest':>8} {'of limit':>9} {'of grpc':>8}")
    for statement, median in medians.items():
        times = found[statement]
        shares = f"{median / LIMIT:>9.2f} {median / medians[PEER]:>8.2f}"
        print(f"{statement:<50} {median:>7.3f} {min(times):>8.3f} {max(times):>8.3f} {shares}")
    return any(median > LIMIT for statement, median in medians.items() if statement != PEER)


if __name__ == "__main__":
    sys.exit(main())
