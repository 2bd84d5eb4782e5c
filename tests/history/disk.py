"""A disk that is full."""

import contextlib
import os
from pathlib import Path


def fill_up(ballast: Path, *, left: int = 0) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(1000):
            file.write(b"\0" * 4096)
    os.truncate(ballast, ballast.stat().st_size - left)
