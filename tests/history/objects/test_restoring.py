"""A data directory made of what the store has."""

import json
from pathlib import Path

import pytest

from candled.domain.interval import DAY as DAY_MICROSECONDS
from candled.history import DataDirectoryError, open_history
from candled.history.directory import read_identity
from candled.history.lost import LostMinutes, read_lost
from candled.history.objects.errors import ObjectStoreError, OtherHistoryError
from candled.history.objects.keys import IDENTITY, key_of, parse_key
from candled.history.objects.restoring import bind_bucket, list_files, restore, select_live
from candled.history.segments.names import Segment
from tests.history.bars import START, minute
from tests.history.objects.support import (
    DAY,
    EXCHANGE,
    SETTINGS,
    FlakyBucket,
    caught_up,
    flaky,
    keep,
    open_copied,
    rows,
)

BARS = [minute(number) for number in range(0, 3 * DAY, 7)]


async def stored(tmp_path: Path) -> FlakyBucket:
    """A history of three days and a few bars more, in ``data`` and in the store."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await keep(history, [minute(7, revision=1, salt=1), minute(3 * DAY + 70)], 10_000)
        await caught_up(history, uploader, bucket)
    return bucket


async def test_an_empty_directory_becomes_a_copy(tmp_path: Path) -> None:
    """Readers need no daemon, and the next opening continues the same history."""
    bucket = await stored(tmp_path)
    restored = restore(tmp_path / "new", bucket, exchange=EXCHANGE, epoch=5)
    assert restored.files == len(select_live(list_files(bucket)))
    assert rows(tmp_path / "new") == rows(tmp_path / "data")
    identity, before = read_identity(tmp_path / "new"), read_identity(tmp_path / "data")
    assert identity is not None
    assert before is not None
    assert identity["id"] == before["id"]
    async with open_history(tmp_path / "new", exchange=EXCHANGE, settings=SETTINGS) as history:
        assert history.epoch == 6
        assert await history.bars("BTCUSDT", "1m", START, None, 1) == [minute(0)]
        await keep(history, [minute(3 * DAY + 71)])
        assert (await history.newest_bars())["BTCUSDT"] == minute(3 * DAY + 71)


async def test_a_store_without_a_history_changes_nothing(tmp_path: Path) -> None:
    assert restore(tmp_path / "new", flaky(tmp_path / "store"), exchange=EXCHANGE).files == 0
    assert not (tmp_path / "new").exists()


async def test_a_new_volume_may_hold_lost_and_found(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    (tmp_path / "new" / "lost+found").mkdir(parents=True)
    restore(tmp_path / "new", bucket)
    assert rows(tmp_path / "new") == rows(tmp_path / "data")


async def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "letter.txt").write_text("Dear")
    with pytest.raises(DataDirectoryError, match="holds other files"):
        restore(tmp_path / "new", bucket)


async def test_another_exchanges_history_is_refused(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    with pytest.raises(OtherHistoryError, match="has bars of an exchange, not of another one"):
        restore(tmp_path / "new", bucket, exchange="another one")
    assert read_identity(tmp_path / "new") is None


async def test_another_history_is_refused(tmp_path: Path) -> None:
    """A directory that has bars of its own is not mixed with a stored history."""
    bucket = await stored(tmp_path)
    async with open_history(tmp_path / "other", exchange=EXCHANGE) as history:
        await keep(history, [minute(1)])
    with pytest.raises(OtherHistoryError, match="another one than that of the data directory"):
        restore(tmp_path / "other", bucket)
    with pytest.raises(OtherHistoryError):
        bind_bucket(bucket, EXCHANGE, "0123456789abcdef")


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    bucket = flaky(tmp_path / "store")
    bucket.put(IDENTITY, json.dumps({"format": 99, "exchange": "x", "id": "0123456789abcdef"}).encode())
    with pytest.raises(OtherHistoryError, match="format 99"):
        restore(tmp_path / "new", bucket)
    other = flaky(tmp_path / "other")
    other.put(IDENTITY, json.dumps({"format": 2, "exchange": "x", "id": "../../elsewhere"}).encode())
    with pytest.raises(OtherHistoryError, match=r"is not candled's"):
        restore(tmp_path / "new", other)


async def test_an_interrupted_restore_continues(tmp_path: Path) -> None:
    """The directory is none until everything is there, and what is there is not fetched again."""
    bucket = await stored(tmp_path)
    bucket.fails = lambda what, key: what == "get" and key.startswith("recent")
    with pytest.raises(ObjectStoreError):
        restore(tmp_path / "new", bucket, epoch=1)
    assert read_identity(tmp_path / "new") is None
    sealed = sum(isinstance(file, Segment) for file in select_live(list_files(bucket)))
    bucket.fails = lambda _what, _key: False
    restored = restore(tmp_path / "new", bucket, epoch=1)
    assert restored.files == len(select_live(list_files(bucket))) - sealed
    assert rows(tmp_path / "new") == rows(tmp_path / "data")


async def test_a_damaged_object_is_not_restored(tmp_path: Path) -> None:
    """Its minutes are fetched from the exchange again."""
    bucket = await stored(tmp_path)
    segment = next(file for file in select_live(list_files(bucket)) if isinstance(file, Segment))
    bucket.delete([key_of(segment)])
    bucket.put(key_of(segment), b"damaged")
    restored = restore(tmp_path / "new", bucket)
    assert restored.damaged == (segment,)
    assert read_lost(tmp_path / "new") == [LostMinutes(segment.symbol, segment.start, segment.end)]
    days = {row[2] for row in rows(tmp_path / "data")} - {row[2] for row in rows(tmp_path / "new")}
    assert days
    assert segment.end - segment.start >= DAY_MICROSECONDS


async def test_what_another_writer_stored_is_fetched(tmp_path: Path) -> None:
    """A volume that comes back after another one took over has the bars of both."""
    bucket = await stored(tmp_path)
    restore(tmp_path / "second", bucket, epoch=1)
    async with open_copied(tmp_path / "second", bucket, nonce="second") as (history, uploader):
        await keep(history, [minute(3 * DAY + 71), minute(8 * DAY)], 1)
        await caught_up(history, uploader, bucket)
    restore(tmp_path / "data", bucket)
    assert rows(tmp_path / "data") == rows(tmp_path / "second")


async def test_a_lost_file_comes_from_the_store(tmp_path: Path) -> None:
    bucket = await stored(tmp_path)
    expected = rows(tmp_path / "data")
    gone = next((tmp_path / "data").rglob("bars/**/*.parquet"))
    gone.unlink()
    assert restore(tmp_path / "data", bucket).files == 1
    assert rows(tmp_path / "data") == expected


async def test_objects_that_are_deleted_meanwhile_are_listed_again(tmp_path: Path) -> None:
    """The writer joins files while they are being restored."""
    bucket = await stored(tmp_path)
    victim = next(file for file in select_live(list_files(bucket)) if isinstance(file, Segment))
    copy = Segment(victim.symbol, victim.start, victim.end, victim.sequence + 1, victim.checksum)
    content = bucket.get(key_of(victim))
    assert content is not None

    def replaces(what: str, key: str) -> bool:
        if what == "get" and parse_key(key) == victim:
            bucket.fails = lambda _what, _key: False
            bucket.put(key_of(copy), content)
            bucket.delete([key])
        return False

    bucket.fails = replaces
    restore(tmp_path / "new", bucket)
    assert rows(tmp_path / "new") == rows(tmp_path / "data")


async def test_unreadable_objects_end_the_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose listings are wrong does not make a start run in circles."""
    bucket = await stored(tmp_path)
    get = FlakyBucket.get
    monkeypatch.setattr(FlakyBucket, "get", lambda self, key: get(self, key) if key == IDENTITY else None)
    with pytest.raises(ObjectStoreError, match="they do not exist"):
        restore(tmp_path / "new", bucket)
