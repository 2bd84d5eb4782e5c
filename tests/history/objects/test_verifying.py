"""Damage in the store is named, set aside, and put again."""

from pathlib import Path

from candled.history.objects.cache import HistoryCache
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import list_files, select_live
from candled.history.objects.verifying import set_damaged_objects_aside, verify_stored
from candled.history.segments.names import Segment
from candled.history.verify import FindingKind
from tests.history.bars import minute
from tests.history.objects.support import DAY, FlakyBucket, caught_up, flaky, keep, open_copied, rows, url_of

BARS = [minute(number) for number in range(2 * DAY)]


async def stored(tmp_path: Path) -> FlakyBucket:
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, BARS)
        await caught_up(history, uploader, bucket)
    return bucket


def damage(tmp_path: Path, bucket: FlakyBucket) -> Segment:
    segment = next(file for file in select_live(list_files(bucket)) if isinstance(file, Segment))
    path = tmp_path / "store" / key_of(segment)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return segment


async def test_damage_is_found_despite_the_cache(tmp_path: Path) -> None:
    """An intact copy in the cache does not hide a damaged object."""
    bucket = await stored(tmp_path)
    cache = HistoryCache(bucket, tmp_path / "cache")
    kinds = {finding.kind for finding in verify_stored(bucket, cache)}
    assert FindingKind.DAMAGED_FILE not in kinds
    segment = damage(tmp_path, bucket)
    found = [each for each in verify_stored(bucket, cache) if each.kind is FindingKind.DAMAGED_FILE]
    assert [(each.symbol, each.start, each.end) for each in found] == [("BTCUSDT", segment.start, segment.end)]
    assert key_of(segment) in found[0].text


async def test_damaged_object_is_replaced(tmp_path: Path) -> None:
    """Its content is kept; the daemon finds the object missing and puts its own file."""
    bucket = await stored(tmp_path)
    segment = damage(tmp_path, bucket)
    assert set_damaged_objects_aside(bucket) == [key_of(segment)]
    assert set_damaged_objects_aside(bucket) == []
    assert len(bucket.list("set-aside")) == 1
    async with open_copied(tmp_path / "data", bucket, epoch_min=2) as (history, uploader):
        await keep(history, [])
        await caught_up(history, uploader, bucket)
    assert bucket.get(key_of(segment)) is not None
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")
