"""Reading a stored history through files on local disk."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from candled.domain.interval import DAY as DAY_MICROSECONDS
from candled.history import connect
from candled.history.errors import DamagedFileError
from candled.history.objects.cache import HistoryCache, connect_cache
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import list_files, select_live
from candled.history.segments.names import Segment
from tests.history.bars import START, minute
from tests.history.objects.support import DAY, FlakyBucket, caught_up, flaky, keep, open_copied, rows, url_of

BARS = [minute(number) for number in range(0, 3 * DAY, 11)]


async def stored(tmp_path: Path) -> FlakyBucket:
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await keep(history, [minute(number, "ETHUSDT") for number in range(0, 3 * DAY, 500)], 10_000)
        await keep(history, [minute(3 * DAY + 70)], 20_000)
        await caught_up(history, uploader, bucket)
    bucket.asked.clear()
    return bucket


def parquet_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.parquet") if "empty" not in path.parts]


def count(connection: duckdb.DuckDBPyConnection, where: str = "true") -> int:
    [(number,)] = connection.execute(f"SELECT count(*) FROM bars WHERE interval = '1m' AND {where}").fetchall()
    assert isinstance(number, int)
    return number


async def test_an_object_is_fetched_once(tmp_path: Path) -> None:
    """Later queries, connections and processes only list."""
    bucket = await stored(tmp_path)
    for _ in range(2):
        with connect_cache(
            HistoryCache(bucket, tmp_path / "cache"), symbols=None, since=None, check=True
        ) as connection:
            assert count(connection) == count(connection)
    fetched = [key for what, key in bucket.asked if what == "get" and key != "candled.json"]
    assert sorted(fetched) == sorted(key_of(file) for file in select_live(list_files(bucket)))


async def test_each_query_sees_what_was_put_before(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    with connect(url_of(tmp_path / "store"), cache_dir=tmp_path / "cache") as connection:
        before = count(connection)
        async with open_copied(tmp_path / "data", bucket, epoch_min=2) as (history, uploader):
            await keep(history, [minute(3 * DAY + 71)])
            await caught_up(history, uploader, bucket)
        assert count(connection) == before + 1


async def test_symbols_and_time_limit_what_is_fetched(tmp_path: Path) -> None:
    """Recent files have every symbol, and the newest sealed one says up to when bars are known."""
    await stored(tmp_path)
    since = START + 2 * DAY_MICROSECONDS
    with connect(
        url_of(tmp_path / "store"), cache_dir=tmp_path / "cache", symbols=["BTCUSDT"], since=since
    ) as connection:
        assert count(connection, f"open_time >= make_timestamptz({since}) AND symbol = 'BTCUSDT'") > 100
    sealed = parquet_files(tmp_path / "cache")
    assert any("symbol=BTCUSDT" in path.parts for path in sealed)
    assert not any("symbol=ETHUSDT" in path.parts for path in sealed)


async def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    await stored(tmp_path)
    expected = rows(url_of(tmp_path / "store"), tmp_path / "cache")
    for path in parquet_files(tmp_path / "cache"):
        path.write_bytes(b"damaged" + path.read_bytes()[7:])
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == expected


async def test_a_damaged_object_is_named(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    key = key_of(next(file for file in select_live(list_files(bucket)) if isinstance(file, Segment)))
    (tmp_path / "store" / key).write_bytes(b"damaged")
    with pytest.raises(DamagedFileError, match=f"Object {key} in .* is damaged"):
        connect(url_of(tmp_path / "store"), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.part")) == []


async def test_readers_at_once_share_the_cache(tmp_path: Path) -> None:
    """Each may fetch the same object; all end with whole files."""
    await stored(tmp_path)

    def read() -> int:
        with connect(url_of(tmp_path / "store"), cache_dir=tmp_path / "cache") as connection:
            return count(connection)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: read(), range(6)))) == 1


async def test_files_not_used_lately_leave_a_full_cache(tmp_path: Path) -> None:
    """What a query has just listed stays, however small the limit is."""
    bucket = await stored(tmp_path)
    HistoryCache(bucket, tmp_path / "cache").live_files()
    old = parquet_files(tmp_path / "cache")
    for path in old:
        os.utime(path, (0, 0))
    small = HistoryCache(bucket, tmp_path / "cache", bytes_max=1)
    small.live_files(symbols=[])  # touches recent files only, and fetches nothing
    assert set(parquet_files(tmp_path / "cache")) == set(old)
    next(path for path in old if "recent" in path.parts).unlink()
    small.live_files(symbols=[])
    assert {path.parent.name for path in parquet_files(tmp_path / "cache")} == {"recent"}


async def test_the_least_recently_used_leave_first(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    cache = HistoryCache(bucket, tmp_path / "cache")
    cache.live_files()
    files = sorted(parquet_files(tmp_path / "cache"))
    for age, path in enumerate(files):
        os.utime(path, (1000 - age, 1000 - age))
    limit = sum(path.stat().st_size for path in files) - 1
    HistoryCache(bucket, tmp_path / "cache", bytes_max=limit)._shrink()
    assert sorted(parquet_files(tmp_path / "cache")) == files[:-1]


async def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """But not what another process may be writing now."""
    bucket = await stored(tmp_path)
    cache = HistoryCache(bucket, tmp_path / "cache")
    left, writing = cache.root / "recent" / "a.parquet.1.part", cache.root / "recent" / "b.parquet.2.part"
    for path, age in ((left, 7200), (writing, 5)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    cache.live_files()
    assert (left.exists(), writing.exists()) == (False, True)


async def test_a_store_that_is_away_is_an_error(tmp_path: Path) -> None:
    """Not fewer bars."""
    bucket = await stored(tmp_path)
    cache = HistoryCache(bucket, tmp_path / "cache")
    with connect_cache(cache, symbols=None, since=None, check=True) as connection:
        bucket.fails = lambda _what, _key: True
        with pytest.raises(duckdb.InvalidInputException, match="ObjectStoreError: Cannot list"):
            count(connection)
    with pytest.raises(ObjectStoreError, match="Cannot list"):
        connect_cache(cache, symbols=None, since=None, check=True)


def test_a_store_without_a_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="There is no history in"):
        connect(url_of(tmp_path / "store"))


async def test_a_history_without_bars_has_none(tmp_path: Path) -> None:
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, [])
        await caught_up(history, uploader, bucket)
        from candled.history.objects.restoring import bind_bucket

        bind_bucket(bucket, history.exchange, history.history_id)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == []
