"""Open a history for reading, wherever it is."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from candled.history.query.connect import connect as connect_directory


def connect(
    data_dir: Path | str,
    *,
    symbols: Collection[str] | None = None,
    check: bool = True,
    since: int | None = None,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
    cache_bytes: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection, in UTC, with the view ``bars``: one row per closed bar, newest revision.

    Rows come in no order, since sorting would cost every query that aggregates: end with ``ORDER BY open_time``.

    Every query sees the files that exist when it begins; it does not access the daemon or its journal. The
    view ``minutes`` holds the stored 1-minute rows with ``position`` and ``previous_trade_id`` besides. The table
    macro ``bars_between(interval, since, until)`` returns the bars of one interval with ``since <= open_time <
    until``: in a long history it reads only the files of that time, for longer intervals too.

    A query over a damaged file raises ``duckdb.InvalidInputException``; its text names the file. Verifying
    reads each file once per connection, about a second per gigabyte.

    A history in an object store is read through a cache on local disk. Each query lists the store, and fetches the
    files that were never read here before: all of them, so name symbols and a time where the history is long.

    Args:
        data_dir: The data directory, or the URL of a history in an object store.
        symbols: Read the sealed files of these symbols only; None: all.
        check: Whether files are verified against their checksums before they are read.
        since: With a URL: leave out sealed files that end before this time, microseconds since the epoch.
        endpoint: With a URL: address of an S3-compatible server.
        cache_dir: With a URL: folder of the caches. Default: ``~/.cache/candled``.
        cache_bytes: With a URL: size beyond which files that were not used lately leave the cache. Default: 10 GB.

    Raises:
        DataDirectoryError: it is not a data directory, or has the format of another version.
        ObjectStoreError: the object store does not answer, or holds no history.
    """
    if "://" not in str(data_dir):
        return connect_directory(data_dir, symbols=symbols, check=check)
    # Not before they are needed: a library of its own.
    from candled.history.objects.bucket import open_bucket
    from candled.history.objects.cache import DEFAULT_BYTES, HistoryCache, connect_cache

    cache = HistoryCache(open_bucket(str(data_dir), endpoint), cache_dir, cache_bytes or DEFAULT_BYTES)
    return connect_cache(cache, symbols=symbols, since=since, check=check)
