"""A store that hangs or is away for long: bars are stored as ever, memory stays bounded, and it catches up."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from candled.history.objects.keys import parse_key
from candled.retry import DELAY_MAX
from tests.history.bars import minute
from tests.history.objects.support import (
    DAY,
    FlakyBucket,
    caught_up,
    flaky,
    keep,
    open_copied,
    rows,
    until,
    url_of,
)


@pytest.fixture
def moved_clock() -> MockClock:
    """Time runs as usual, and jumps when the test says so."""
    return MockClock(rate=1.0)


@attrs.define
class Hanging:
    """Puts that do not end."""

    now: int = 0
    most: int = 0
    """Puts at once, of files with bars."""


@contextmanager
def hanging_puts(bucket: FlakyBucket, folder: str = "") -> Iterator[Hanging]:
    """Let each put of a file in a folder wait until the end of the body."""
    gate, lock, counts = threading.Event(), threading.Lock(), Hanging()

    def wait(what: str, key: str) -> bool:
        if what == "put" and parse_key(key) and key.startswith(folder):
            with lock:
                counts.now += 1
                counts.most = max(counts.most, counts.now)
            gate.wait()
            with lock:
                counts.now -= 1
        return False

    bucket.fails = wait
    try:
        yield counts
    finally:
        gate.set()


async def test_hanging_put_delays_no_bar(tmp_path: Path) -> None:
    """Bars are durable, published and sealed meanwhile."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        with hanging_puts(bucket) as puts:
            await keep(history, [minute(0)])
            await until(lambda: puts.now > 0)
            await keep(history, [minute(number) for number in range(1, 2 * DAY, 60)], 2)
            assert puts.now > 0
            assert history.stored_position >= 2
            assert len(rows(tmp_path / "data")) > 24
            assert uploader.statistics().files_put == 0
        await caught_up(history, uploader, bucket)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_few_files_are_in_memory_however_many_wait(tmp_path: Path) -> None:
    """What waits is names; contents are read when they are put, four at once."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        with hanging_puts(bucket, "bars/") as puts:
            symbols = [f"S{number}" for number in range(20)]
            await keep(history, [minute(number * DAY, symbol) for symbol in symbols for number in range(3)])
            await until(lambda: puts.now == 4)
            assert uploader.statistics().files_waiting >= len(symbols)
        await caught_up(history, uploader, bucket)
        assert puts.most == 4


async def test_an_hour_without_the_store(tmp_path: Path, moved_clock: MockClock) -> None:
    """The copy's age rises with the time, tries go on, and half a minute after the store is back it has all."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, [minute(0)])
        await caught_up(history, uploader, bucket)
        bucket.fails = lambda _what, _key: True
        for number in range(1, 61):
            errors = uploader.statistics().errors
            await keep(history, [minute(number)], 1 + number)
            await until(lambda errors=errors: uploader.statistics().errors > errors)  # type: ignore[misc]
            moved_clock.jump(60.0)
        behind = uploader.statistics()
        assert behind.behind_seconds >= 59 * 60.0, "the first look at a file may come after the first jump"
        assert behind.files_waiting < 20, "files that wait are merged like all others"
        bucket.fails = lambda _what, _key: False
        moved_clock.jump(DELAY_MAX)
        await caught_up(history, uploader, bucket)
        assert uploader.statistics().behind_seconds == 0.0
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")


async def test_hanging_put_delays_no_stop(tmp_path: Path, moved_clock: MockClock) -> None:
    """The next start puts what is left."""
    bucket = flaky(tmp_path / "store")
    with hanging_puts(bucket) as puts:
        async with open_copied(tmp_path / "data", bucket) as (history, _):
            await keep(history, [minute(0)])
            await until(lambda: puts.now > 0)
            started = trio.current_time()
        assert trio.current_time() - started < 10.0
    async with open_copied(tmp_path / "data", flaky(tmp_path / "store"), epoch_min=2) as (history, uploader):
        await caught_up(history, uploader, bucket)
    assert rows(url_of(tmp_path / "store"), tmp_path / "cache") == rows(tmp_path / "data")
