"""Open DuckDB connections with the history's settings."""

from typing import Final

import duckdb

NO_EXTENSIONS: Final = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


def open_memory_database(**settings: str) -> duckdb.DuckDBPyConnection:
    """Open an empty DuckDB in UTC that loads no extensions and caches metadata of immutable files."""
    connection = duckdb.connect(config={**NO_EXTENSIONS, **settings})
    # Global: cursors are connections of their own, and months begin at midnight in UTC for them too.
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET GLOBAL parquet_metadata_cache = true")
    return connection
