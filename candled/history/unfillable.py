"""Trade ids that the exchange does not have, kept beside the bars that lack them, so that these can say why."""

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path

import attrs

from candled.history.directory import UNFILLABLE
from candled.history.files import Files


@attrs.frozen(slots=True)
class Unfillable:
    """Trade ids ``first_id..last_id`` of one symbol, both included, that the repair has given up."""

    symbol: str
    first_id: int
    last_id: int
    reason: str
    """Why, in the words of the status."""


def read_unfillable(root: Path) -> list[Unfillable]:
    """What is recorded in a data directory; nothing if there is no record or it cannot be read."""
    try:
        rows = json.loads((root / UNFILLABLE).read_text("utf-8"))
        return [Unfillable(**row) for row in rows]
    except (FileNotFoundError, ValueError, TypeError):  # it explains and proves nothing: no reason to stop
        return []


def write_unfillable(root: Path, ranges: Collection[Unfillable], files: Files) -> None:
    """Replace the record, durably.

    Raises:
        OSError: the disk does not take it.
    """
    text = json.dumps([attrs.asdict(each) for each in ranges], indent=1)
    files.publish(root / UNFILLABLE, partial(_write, text=text))


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", "utf-8")
