"""The upload of an open history: everything arrives, in its own time, and nobody waits for it."""

import shutil
from pathlib import Path

import trio

from candled.history import open_history
from candled.history.objects.bucket import open_bucket
from candled.history.objects.keys import key_of, parse_key, writer_key
from candled.history.objects.restoring import list_files, read_history_identity, restore
from candled.history.objects.unfillable_record import read_stored
from candled.history.objects.writers import claim_epoch, newest_writer
from candled.history.unfillable import Unfillable
from tests.history.bars import minute
from tests.history.objects.support import (
    DAY,
    EXCHANGE,
    caught_up,
    flaky,
    keep,
    open_copied,
    rows,
    until,
    url_of,
)

BARS = [minute(number) for number in range(0, 3 * DAY, 7)]


async def test_the_store_has_every_bar_in_all_fields(tmp_path: Path) -> None:
    """Hot, sealed and revised bars, of every interval."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await keep(history, [minute(7, revision=1, salt=1), minute(3 * DAY)], 10_000)
        await keep(history, [minute(number, "ETH/EUR", trades=0) for number in range(5)], 20_000)
        await caught_up(history, uploader, bucket)
    expected = rows(tmp_path / "data")
    assert len(expected) > len(BARS)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == expected


async def test_store_names_its_history(tmp_path: Path) -> None:
    """The first start writes which history the store has."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await caught_up(history, uploader, bucket)
        identity = read_history_identity(bucket)
        assert identity is not None
        assert (identity.exchange, identity.history_id) == (EXCHANGE, history.history_id)
        assert newest_writer(bucket) == history.epoch


async def test_nothing_is_put_before_the_exchange_is_known(tmp_path: Path) -> None:
    """The object that names the exchange is written once."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket, exchange="") as (history, uploader):
        await keep(history, BARS[:1])
        await trio.sleep(0.05)
        assert bucket.asked == []
        history.bind(EXCHANGE)
        await caught_up(history, uploader, bucket)


async def test_absent_store_delays_only_the_copy(tmp_path: Path) -> None:
    """Storing goes on, status says how far behind the copy is, and it catches up by itself."""
    bucket = flaky(tmp_path / "store")
    bucket.fails = lambda _what, _key: True
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await until(lambda: uploader.statistics().errors > 1)
        behind = uploader.statistics()
        assert behind.behind_seconds > 0
        assert behind.files_waiting > 0
        assert "the test says so" in (behind.problem or "")
        bucket.fails = lambda _what, _key: False
        await caught_up(history, uploader, bucket)
        assert uploader.statistics().behind_seconds == 0
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_some_requests_may_fail(tmp_path: Path) -> None:
    """What was put before a failure is not put again."""
    bucket = flaky(tmp_path / "store")
    bucket.fails = lambda _what, _key: len(bucket.asked) % 7 == 6
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await until(lambda: uploader.statistics().files_put > 0 and uploader.statistics().files_waiting == 0)
        await until(lambda: uploader.statistics().problem is None)
        puts = [key for what, key in bucket.asked if what == "put" and parse_key(key)]
        assert len(puts) - len(set(puts)) <= uploader.statistics().errors
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_the_last_bars_are_put_at_the_end(tmp_path: Path) -> None:
    """A daemon that stops leaves nothing for the next one."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await caught_up(history, uploader, bucket)
        await keep(history, BARS[1:2], 2)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_later_writer_fences(tmp_path: Path) -> None:
    """It puts nothing more, deletes nothing more, and says so."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await until(lambda: set(list_files(bucket)) == set(history.live_files))  # superseded ones are gone, too
        before = list_files(bucket)
        assert claim_epoch(bucket, history.epoch + 1, "elsewhere")
        await keep(history, BARS[1:2], 2)
        await until(lambda: uploader.statistics().fenced)
        assert "Another process writes" in (uploader.statistics().problem or "")
        assert list_files(bucket) == before
        assert len(rows(tmp_path / "data")) >= 2  # storing goes on
    assert list_files(bucket) == before


async def test_epoch_of_another_process_fences(tmp_path: Path) -> None:
    """Both opened the directory's copies while the store was away: their files would have the same names."""
    bucket = flaky(tmp_path / "store")
    assert claim_epoch(bucket, 1, "elsewhere")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await until(lambda: uploader.statistics().fenced)
    assert list_files(bucket) == []


async def test_a_directory_that_lacks_stored_files_puts_nothing(tmp_path: Path) -> None:
    """Another one stored bars, and it was opened while the store was away: what it merges would hide them."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await caught_up(history, uploader, bucket)
    shutil.copytree(tmp_path / "data", tmp_path / "second")
    async with open_copied(tmp_path / "second", bucket, epoch_min=2) as (history, uploader):
        await keep(history, BARS[1:2])
        await caught_up(history, uploader, bucket)
    before = list_files(bucket)
    async with open_copied(tmp_path / "data", bucket, epoch_min=3, restored=False) as (history, uploader):
        await keep(history, BARS[2:3])
        await until(lambda: uploader.statistics().fenced)
        assert "until a restart has fetched them" in (uploader.statistics().problem or "")
    assert list_files(bucket) == before


async def test_an_unclaimed_start_continues_where_nothing_is_missing(tmp_path: Path) -> None:
    """The usual end of a short outage."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await caught_up(history, uploader, bucket)
    async with open_copied(tmp_path / "data", bucket, epoch_min=2, restored=False) as (history, uploader):
        await keep(history, BARS[1:2])
        await caught_up(history, uploader, bucket)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_another_history_is_not_mixed_in(tmp_path: Path) -> None:
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "first", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await caught_up(history, uploader, bucket)
    before = list_files(bucket)
    async with open_copied(tmp_path / "second", bucket, epoch_min=9) as (history, uploader):
        await keep(history, BARS[1:2])
        await until(lambda: uploader.statistics().fenced)
        assert "is another one than that of the data directory" in (uploader.statistics().problem or "")
    assert list_files(bucket) == before


async def test_superseded_objects_are_deleted(tmp_path: Path) -> None:
    """Without a grace period at once; what is left is what readers read."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        for number, bar in enumerate(BARS[:20]):
            await keep(history, [bar], 1 + number)
            await caught_up(history, uploader, bucket)
        await keep(history, [minute(3 * DAY)], 100)
        await caught_up(history, uploader, bucket)
        await keep(history, [minute(3 * DAY + 1)], 101)
        await until(lambda: uploader.statistics().objects_deleted > 0)
        await caught_up(history, uploader, bucket)
    assert len(list_files(bucket)) < 10
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_older_claims_are_deleted(tmp_path: Path) -> None:
    """Each start leaves one; the highest says who writes, and stays."""
    bucket = flaky(tmp_path / "store")
    for epoch in (1, 2, 4):
        assert claim_epoch(bucket, epoch, "earlier")
    async with open_copied(tmp_path / "data", bucket, epoch_min=6) as (history, uploader):
        await keep(history, BARS[:1])
        await until(lambda: [each.key for each in bucket.list("writers")] == [writer_key(history.epoch)])
        await caught_up(history, uploader, bucket)


async def test_a_claim_below_the_highest_puts_nothing(tmp_path: Path) -> None:
    """A directory that was opened while the store was away claims a number that had been deleted."""
    bucket = flaky(tmp_path / "store")
    assert claim_epoch(bucket, 5, "elsewhere")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:1])
        await until(lambda: uploader.statistics().fenced)
        assert history.epoch < newest_writer(bucket) == 5
    assert list_files(bucket) == []


async def test_unfillable_trades_are_known_elsewhere(tmp_path: Path) -> None:
    """A restore has the record, and so the bars of disputed trades stay as they are; the last state counts."""
    bucket = flaky(tmp_path / "store")
    first, second = (
        Unfillable("BTCUSDT", 5, 7, "not there"),
        Unfillable("BTCUSDT", 9, 9, "differs", is_disputed=True),
    )
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await history.record_unfillable([first])
        await keep(history, BARS[:1])
        await until(lambda: read_stored(bucket) == (first,))
        await history.record_unfillable([second])
        await caught_up(history, uploader, bucket)
    async with open_copied(tmp_path / "data", bucket, epoch_min=2) as (history, _):
        await until(lambda: read_stored(bucket) == (first, second))
    restore(tmp_path / "new", bucket, exchange=EXCHANGE, epoch=2)
    async with open_history(tmp_path / "new", exchange=EXCHANGE) as restored:
        assert restored.unfillable == (first, second)


async def test_a_damaged_file_is_not_put(tmp_path: Path) -> None:
    """The history sets it aside and publishes its rows again; those are put."""
    bucket = flaky(tmp_path / "store")
    bucket.fails = lambda _what, _key: True
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:3])
        [file] = history.live_files
        history.path(file).write_bytes(b"damaged")
        bucket.fails = lambda _what, _key: False
        await until(lambda: history.live_files == [])
        await history.publish()
        await caught_up(history, uploader, bucket)
        assert bucket.get(key_of(file)) is None
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_missing_live_file_is_rewritten(tmp_path: Path) -> None:
    """Nobody else noticed: its rows come from the journal, in a file of another name."""
    bucket = flaky(tmp_path / "store")
    bucket.fails = lambda _what, _key: True
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS[:3])
        [file] = history.live_files
        history.path(file).unlink()
        bucket.fails = lambda _what, _key: False
        await until(lambda: history.live_files == [])
        await history.publish()
        await caught_up(history, uploader, bucket)
    assert len(rows(url_of(tmp_path / "store"), tmp_path / "cache")) >= 3


async def test_a_restart_puts_only_what_is_missing(tmp_path: Path) -> None:
    async with open_copied(tmp_path / "data", open_bucket(url_of(tmp_path / "store"))) as (history, uploader):
        await keep(history, BARS)
        await caught_up(history, uploader, open_bucket(url_of(tmp_path / "store")))
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket, epoch_min=2) as (history, uploader):
        await keep(history, [minute(3 * DAY + 5)], 1)
        await caught_up(history, uploader, bucket)
        assert uploader.statistics().files_put < 5
