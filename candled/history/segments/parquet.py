"""Encode rows as an immutable Parquet file, and read its footer."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candled.history.columns import ROW_SCHEMA, SEGMENT_SCHEMA, cast_rows

_ROW_GROUP: Final = 7 * 1440
"""Rows per row group: a week of one symbol, so that a query for a day reads little of a month."""


def encode_segment(rows: pa.Table) -> memoryview:
    """Return the content of a sealed file: one symbol's rows, sorted by open time."""
    return _encode(cast_rows(rows.select(SEGMENT_SCHEMA.names)), ["open_time"])


def encode_recent(rows: pa.Table) -> memoryview:
    """Return the content of a recent file: rows of any symbols, sorted by symbol and open time."""
    return _encode(cast_rows(rows.select(ROW_SCHEMA.names)), ["symbol", "open_time"])


def read_footer(content: bytes) -> tuple[int, int | None]:
    """Return a file's number of rows, and its lowest open time in microseconds.

    Raises:
        pyarrow.ArrowException, ValueError: it is not such a file.
    """
    footer = pq.read_metadata(pa.BufferReader(content))
    column = footer.schema.names.index("open_time")
    groups = [footer.row_group(index).column(column).statistics for index in range(footer.num_row_groups)]
    oldest = min((group.min_raw for group in groups if group is not None and group.has_min_max), default=None)
    return footer.num_rows, oldest


def oldest_open_time(rows: pa.Table) -> int | None:
    """Return the lowest open time of rows, microseconds; None if there are none."""
    oldest: int | None = pc.min(rows.column("open_time").cast(pa.int64())).as_py()
    return oldest


def _encode(rows: pa.Table, order: list[str]) -> memoryview:
    sorting = [pq.SortingColumn(rows.schema.get_field_index(name)) for name in order]
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows,
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        store_decimal_as_integer=True,
        store_schema=False,
        sorting_columns=sorting,
        write_page_checksum=True,
    )
    return memoryview(sink.getvalue())
