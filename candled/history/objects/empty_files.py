"""The files without rows that readers open for a kind of which a history has none."""

from collections.abc import Callable
from pathlib import Path

from candled.domain.numbers import DECIMALS
from candled.history.segments import paths

Write = Callable[[Path, memoryview], None]
"""Writes a file that appears whole."""


def add_empty_files(root: Path, example: Path | None, write: Write) -> None:
    """Write those that a folder lacks.

    Args:
        root: A data directory, or a folder like one.
        example: Any file of the history, for the decimals of its columns; None: there is none.
        write: Writes a file.
    """
    if paths.empty_recent(root).exists() and paths.empty_segment(root).exists():
        return
    import pyarrow.parquet as pq  # not before it is needed: reading a history with files of both kinds needs none

    from candled.history.columns import row_schema
    from candled.history.segments.parquet import encode_recent, encode_segment

    decimals = DECIMALS if example is None else pq.read_schema(example).field("quote_volume").type.scale
    no_rows = row_schema(decimals).empty_table()
    write(paths.empty_recent(root), encode_recent(no_rows))
    write(paths.empty_segment(root), encode_segment(no_rows))
