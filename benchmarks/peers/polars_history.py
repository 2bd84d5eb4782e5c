"""Polars over the Parquet files of a data directory."""

import datetime as dt

import polars as pl

from benchmarks.peers.history_queries import Rows, folder, publish

TOTALS = (
    pl.len(),
    pl.col("high").max(),
    pl.col("low").min(),
    pl.col("volume").sum(),
    pl.col("quote_volume").sum(),
    pl.col("trade_count").sum(),
)
DAY = dt.datetime(2025, 6, 10, tzinfo=dt.UTC)


def scan() -> pl.LazyFrame:
    return pl.scan_parquet(f"{folder()}/bars/**/*.parquet", hive_partitioning=True)


def one_day() -> Rows:
    at = pl.col("open_time")
    day = (pl.col("symbol") == "ETHUSDT") & (at >= DAY) & (at < DAY + dt.timedelta(days=1))
    rows: Rows = (
        scan()
        .filter(day)
        .select(*(total.alias(str(number)) for number, total in enumerate(TOTALS)))
        .collect()
        .rows()
    )
    return rows


def full_scan() -> Rows:
    grouped = scan().group_by("symbol").agg(*(total.alias(str(number)) for number, total in enumerate(TOTALS)))
    rows: Rows = grouped.sort("symbol").collect().rows()
    return rows


publish({"one symbol's day": one_day, "full scan": full_scan})
