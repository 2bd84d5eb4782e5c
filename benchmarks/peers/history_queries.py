"""Queries over a year of stored minutes: what is asked, how it is timed. Every environment can import this."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

PASSES: Final = 3
QUERIES: Final = ("one symbol's day", "full scan")
Rows = Sequence[Sequence[Any]]


def publish(queries: dict[str, Callable[[], Rows]]) -> None:
    """Print CPU seconds of each query, the least of some passes after a first one, and what it found."""
    found = {}
    for name in QUERIES:
        rows, taken = queries[name](), []
        for _ in range(PASSES):
            begun = time.process_time()
            queries[name]()
            taken.append(time.process_time() - begun)
        found[name] = {"cpu": min(taken), "rows": [[str(value) for value in row] for row in rows]}
    print(json.dumps(found), flush=True)


def folder() -> str:
    """The data directory."""
    return sys.argv[1]
