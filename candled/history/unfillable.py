"""Trade ids that prove nothing, recorded beside the bars that lack them, with the reason.

The exchange does not have them, or sources contradict each other about them.
"""

import json
from collections.abc import Collection
from pathlib import Path

import attrs

from candled.history.directory import UNFILLABLE
from candled.history.durable_io import Files


@attrs.frozen(slots=True)
class Unfillable:
    """Trade ids ``first_id..last_id`` of one symbol, both included, that the repair gave up."""

    symbol: str
    first_id: int
    last_id: int
    reason: str
    """Reason, as the status shows it."""
    is_disputed: bool = False
    """Whether sources contradict each other about them."""


def read_unfillable(root: Path) -> list[Unfillable]:
    """Read the record of a data directory; empty if there is none or it cannot be read."""
    try:
        return parse_unfillable((root / UNFILLABLE).read_bytes())
    except FileNotFoundError:
        return []


def parse_unfillable(content: bytes) -> list[Unfillable]:
    """Parse the content of a record; empty if it is none."""
    try:
        return [Unfillable(**row) for row in json.loads(content)]
    except (ValueError, TypeError):  # it only explains and proves nothing: not worth stopping
        return []


def encode_unfillable(ranges: Collection[Unfillable]) -> bytes:
    """Return the content of a record."""
    text = json.dumps([attrs.asdict(each) for each in ranges], indent=1)
    return f"{text}\n".encode()


def write_unfillable(root: Path, ranges: Collection[Unfillable], files: Files) -> None:
    """Replace the record, durably.

    Raises:
        OSError: a write failed.
    """
    files.publish(root / UNFILLABLE, encode_unfillable(ranges))
