"""candled's own connection, and plain DuckDB over the same Parquet files; in candled's environment."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from benchmarks.peers.history_queries import Rows, folder, publish
from candled.history import connect

TOTALS = (
    "SELECT symbol, count(*), max(high), min(low), sum(volume), sum(quote_volume), sum(trade_count) FROM {table} "
    "GROUP BY symbol ORDER BY symbol"
)
DAY = (
    "SELECT count(*), max(high), min(low), sum(volume), sum(quote_volume), sum(trade_count) FROM {table} "
    "WHERE symbol = 'ETHUSDT' AND open_time >= TIMESTAMPTZ '2025-06-10 00:00:00+00' "
    "AND open_time < TIMESTAMPTZ '2025-06-11 00:00:00+00'"
)
OURS = "(FROM bars WHERE interval = '1m' AND open_time < TIMESTAMPTZ '2026-01-01 00:00:00+00')"


def queries(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Callable[[], Rows]]:
    def fetch(sql: str) -> Rows:
        return connection.sql(sql).fetchall()

    return {
        "one symbol's day": partial(fetch, DAY.format(table=table)),
        "full scan": partial(fetch, TOTALS.format(table=table)),
    }


if sys.argv[2] == "candled":
    with connect(Path(folder())) as opened:
        publish(queries(opened, OURS))
else:
    publish(queries(duckdb.connect(), f"read_parquet('{folder()}/bars/**/*.parquet')"))
