"""Minutes whose file was damaged and set aside: recorded until they are fetched from the exchange again."""

import json
from collections.abc import Collection
from pathlib import Path

import attrs

from candled.history.directory import LOST
from candled.history.durable_io import Files


@attrs.frozen(slots=True, order=True)
class LostMinutes:
    """Minutes of one symbol, ``start <= open time < end`` in microseconds, of which some may be missing."""

    symbol: str
    start: int
    end: int


def read_lost(root: Path) -> list[LostMinutes]:
    """Read the record of a data directory; empty if there is none or it cannot be read."""
    try:
        rows = json.loads((root / LOST).read_text("utf-8"))
        return [LostMinutes(str(row["symbol"]), int(row["start"]), int(row["end"])) for row in rows]
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # `candled verify` finds holes without it too
        return []


def write_lost(root: Path, lost: Collection[LostMinutes], files: Files) -> None:
    """Replace the record, durably.

    Raises:
        OSError: a write failed.
    """
    files.publish(root / LOST, (json.dumps([attrs.asdict(each) for each in lost], indent=1) + "\n").encode())
