"""An edge's questions to a stored history: the same bars as from the data directory, and few files for each."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from candled.domain.interval import parse_interval
from candled.domain.limits import TIME_MAX, TIME_MIN
from candled.domain.storage import BarsUnavailableError
from candled.history.objects.bucket import Bucket
from candled.history.objects.cache import HistoryCache
from candled.history.objects.errors import OtherHistoryError
from candled.history.objects.keys import parse_key
from candled.history.objects.stored_bars import LISTING_SECONDS, RETRY_SECONDS, StoredBars
from candled.history.segments.names import Segment
from tests.history.bars import START, minute
from tests.history.objects.support import DAY, EXCHANGE, FlakyBucket, caught_up, flaky, keep, open_copied

MINUTE = 60_000_000
SYMBOLS = ("BTCUSDT", "ETH/EUR")


@pytest.fixture
def moved_clock() -> MockClock:
    """Time runs as usual, and jumps when the test says so."""
    return MockClock(rate=1.0)


def stored_bars(bucket: Bucket, tmp_path: Path, exchange: str = EXCHANGE) -> StoredBars:
    return StoredBars(bucket, exchange, lambda store: HistoryCache(store, tmp_path / "cache"))


@pytest.fixture
async def bucket(tmp_path: Path) -> FlakyBucket:
    """Three days of two symbols, the first two sealed."""
    bucket = flaky(tmp_path / "store")
    bars = [minute(number, symbol) for number in range(0, 3 * DAY, 7) for symbol in SYMBOLS]
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, bars)
        await caught_up(history, uploader, bucket)
    return bucket


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
async def test_bars_are_those_of_the_data_directory(tmp_path: Path, bucket: FlakyBucket, interval: str) -> None:
    """Forwards in pages, and without a limit."""
    stored = stored_bars(bucket, tmp_path)
    async with open_copied(tmp_path / "data", bucket, epoch_min=2) as (history, _):
        for symbol in SYMBOLS:
            for start, end, limit in ((0, TIME_MAX, 5000), (START + 1000 * MINUTE, START + 2500 * MINUTE, 7)):
                expected = await history.bars(symbol, interval, start, end, limit)
                assert await stored.bars(symbol, parse_interval(interval), start, end, limit) == expected


async def test_only_the_files_of_a_question_are_fetched(tmp_path: Path, bucket: FlakyBucket) -> None:
    """One symbol, one day; the next question for it fetches nothing."""
    stored = stored_bars(bucket, tmp_path)
    for expected in (1, 0):
        bucket.asked.clear()
        found = await stored.bars("BTCUSDT", parse_interval("1m"), START, START + DAY * MINUTE, 5000)
        assert len(found) == len(range(0, DAY, 7))
        files = [parse_key(key) for what, key in bucket.asked if what == "get"]
        assert sum(isinstance(file, Segment) for file in files) == expected


async def test_the_store_is_listed_now_and_then(
    tmp_path: Path, bucket: FlakyBucket, moved_clock: MockClock
) -> None:
    stored = stored_bars(bucket, tmp_path)
    for jump, expected in ((0.0, 2), (0.0, 0), (LISTING_SECONDS, 2)):
        moved_clock.jump(jump)
        bucket.asked.clear()
        await stored.bars("BTCUSDT", parse_interval("1m"), START, START + MINUTE, 1)
        assert sum(what == "list" for what, _ in bucket.asked) == expected


async def test_what_was_read_needs_no_store(tmp_path: Path, bucket: FlakyBucket, moved_clock: MockClock) -> None:
    """The last listing counts during an outage; what is not in the cache is refused until the store answers."""
    stored = stored_bars(bucket, tmp_path)
    first = await stored.bars("BTCUSDT", parse_interval("1m"), START, START + DAY * MINUTE, 5000)
    bucket.fails = lambda _what, _key: True
    moved_clock.jump(LISTING_SECONDS)
    assert await stored.bars("BTCUSDT", parse_interval("1m"), START, START + DAY * MINUTE, 5000) == first
    assert stored.problem is not None
    with pytest.raises(BarsUnavailableError):
        await stored.bars("ETH/EUR", parse_interval("1m"), START, START + MINUTE, 1)
    bucket.fails = lambda _what, _key: False
    moved_clock.jump(RETRY_SECONDS)
    assert await stored.bars("ETH/EUR", parse_interval("1m"), START, START + MINUTE, 1)
    assert stored.problem is None


async def test_a_store_that_never_answered_is_no_empty_history(tmp_path: Path, bucket: FlakyBucket) -> None:
    stored = stored_bars(bucket, tmp_path)
    bucket.fails = lambda _what, _key: True
    await stored.open(60.0)
    with pytest.raises(BarsUnavailableError):
        await stored.bars("BTCUSDT", parse_interval("1m"), TIME_MIN, TIME_MAX, 1)


async def test_bars_of_another_exchange_are_refused(tmp_path: Path, bucket: FlakyBucket) -> None:
    with pytest.raises(OtherHistoryError, match="has bars of an exchange, not of another"):
        await stored_bars(bucket, tmp_path, "another").open(60.0)
