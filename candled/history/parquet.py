"""Writing and checking the immutable Parquet files."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candled.history.columns import ROW_SCHEMA, SEGMENT_SCHEMA
from candled.history.files import Files

_ROW_GROUP: Final = 7 * 1440
"""Rows of one group: a week of one symbol, so that a query for a day reads little of a month."""


def write_segment(files: Files, path: Path, rows: pa.Table) -> None:
    """Write one symbol's rows, sorted by open time, as a sealed file.

    Raises:
        OSError: the disk does not take it.
    """
    _write(files, path, rows.select(SEGMENT_SCHEMA.names).cast(SEGMENT_SCHEMA), ["open_time"])


def write_recent(files: Files, path: Path, rows: pa.Table) -> None:
    """Write rows of any symbols, sorted by symbol and open time, as a recent file.

    Raises:
        OSError: the disk does not take it.
    """
    _write(files, path, rows.select(ROW_SCHEMA.names).cast(ROW_SCHEMA), ["symbol", "open_time"])


def read_footer(path: Path) -> tuple[int, int | None] | None:
    """How many rows a file has and its lowest open time, microseconds; None if its footer is damaged."""
    try:
        footer = pq.read_metadata(path)
        column = footer.schema.names.index("open_time")
        groups = [footer.row_group(index).column(column).statistics for index in range(footer.num_row_groups)]
        oldest = min((group.min_raw for group in groups if group is not None and group.has_min_max), default=None)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return footer.num_rows, oldest


def oldest_open_time(rows: pa.Table) -> int | None:
    """Lowest open time of rows, microseconds; None if there are none."""
    oldest: int | None = pc.min(rows.column("open_time").cast(pa.int64())).as_py()
    return oldest


def _write(files: Files, path: Path, rows: pa.Table, order: list[str]) -> None:
    sorting = [pq.SortingColumn(rows.schema.get_field_index(name)) for name in order]

    def fill(temporary: Path) -> None:
        pq.write_table(
            rows,
            temporary,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            store_decimal_as_integer=True,
            store_schema=False,
            sorting_columns=sorting,
            write_page_checksum=True,
        )

    files.publish(path, fill)
