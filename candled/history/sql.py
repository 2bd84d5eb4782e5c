"""One query over a data directory: what ``candled sql`` answers."""

from pathlib import Path

import duckdb
import pyarrow as pa

from candled.errors import UserError
from candled.history.reader import connect


def query(data_dir: Path, sql: str) -> pa.Table:
    """The answer of ``sql`` over the view ``bars``, as an Arrow table: decimals exact, times in UTC.

    Raises:
        DataDirectoryError: there are no bars of candled.
        UserError: the query is wrong; the text is DuckDB's first line on it.
    """
    with connect(data_dir) as connection:
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise UserError(f"The query failed: {str(error).splitlines()[0]}") from error
