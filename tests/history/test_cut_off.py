"""Any step may be cut off, or refused by the disk, at any change of a file: nothing stored is lost or doubled."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from candled.domain.bar import Bar
from candled.history import DataDirectoryError, DurableHistory, HistorySettings, connect, open_history
from candled.history.durable_io import Files
from tests.history.bars import events, minute

SETTINGS = HistorySettings(grace=0.0, seal_delay=0.0, compact_files=3, refold_delay=0.0, retry_delay_max=0.01)
DAY = 1440


class KilledError(BaseException):
    """The process ends here: nothing that follows in the code is done."""


class StoppingFiles(Files):
    """Counts the changes of the file system, and fails at one of them, before it or right after it."""

    def __init__(self, stop_at: int | None, failure: Callable[[], BaseException], *, after: bool = False) -> None:
        self.changes = 0
        self._stop_at = stop_at
        self._failure = failure
        self._after = after

    def _change(self, change: Callable[[], None]) -> None:
        self.changes += 1
        stop = self.changes == self._stop_at
        if stop and not self._after:
            raise self._failure()
        change()
        if stop:
            raise self._failure()

    def sync(self, path: Path) -> None:
        self._change(lambda: super(StoppingFiles, self).sync(path))

    def sync_folder(self, path: Path) -> None:
        self._change(lambda: super(StoppingFiles, self).sync_folder(path))

    def rename(self, source: Path, target: Path) -> None:
        self._change(lambda: super(StoppingFiles, self).rename(source, target))

    def unlink(self, path: Path) -> None:
        self._change(lambda: super(StoppingFiles, self).unlink(path))


BATCHES = [
    [minute(number, symbol) for number in (0, 1) for symbol in ("A", "B")],
    [minute(DAY, "A"), minute(DAY, "B")],
    [minute(2 * DAY, "A"), minute(0, "A", revision=1, salt=1)],
    [minute(3 * DAY, "A")],
    [minute(40 * DAY, "A")],
]


def newest(stored: list[Bar]) -> list[Bar]:
    best: dict[tuple[str, int], Bar] = {}
    for bar in stored:
        known = best.get((bar.symbol, bar.open_time))
        if known is None or known.revision <= bar.revision:
            best[bar.symbol, bar.open_time] = bar
    return sorted(best.values(), key=lambda bar: (bar.symbol, bar.open_time))


async def everything(history: DurableHistory) -> list[Bar]:
    return [bar for symbol in await history.symbols() for bar in await history.bars(symbol, "1m")]


async def work(path: Path, files: Files, stored: list[Bar]) -> None:
    """Store what is not stored yet and do all that there is to do; ``stored`` says what was acknowledged."""
    async with open_history(path, exchange="x", settings=SETTINGS, files=files) as history:
        for batch in BATCHES:
            if not all(bar in stored for bar in batch):
                await history.store(events(batch, (history.epoch << 32) + len(stored)))
                stored += batch
            await history.publish()
            while await history.keep():
                pass


async def count_changes(path: Path) -> int:
    counting = StoppingFiles(None, KilledError)
    await work(path, counting, [])
    return counting.changes


def check_files(path: Path, stored: list[Bar]) -> None:
    with connect(path) as connection:
        rows = connection.execute(
            "SELECT symbol, epoch_us(open_time), revision FROM bars WHERE interval = '1m' ORDER BY 1, 2"
        ).fetchall()
    assert [(bar.symbol, bar.open_time, bar.revision) for bar in newest(stored)] == rows


async def killed_at(path: Path, change: int, *, after: bool) -> None:
    stored: list[Bar] = []
    files = StoppingFiles(change, KilledError, after=after)
    with pytest.raises(BaseException) as caught:
        await work(path, files, stored)
    assert caught.type is KilledError or caught.group_contains(KilledError)
    async with open_history(path, exchange="x", settings=SETTINGS) as history:
        found = await everything(history)
        # What was being stored when it ended may be in or not.
        assert [bar for bar in newest(stored) if bar not in found] == []
        assert len({(bar.symbol, bar.open_time) for bar in found}) == len(found)
    await work(path, Files(), stored)
    check_files(path, stored)
    leftovers = {
        name for _, _, names in os.walk(path) for name in names if name.endswith((".tmp", ".next", ".old"))
    }
    assert leftovers == set()
    assert "set-aside" not in os.listdir(path)  # noqa: PTH208


def spread(changes: int, count: int) -> list[int]:
    """``count`` of the changes, evenly spread."""
    return sorted({1 + number * changes // count for number in range(min(count, changes))})


async def kill_at_some(path: Path, count: int, offset: int) -> None:
    changes = await count_changes(path / "count")
    assert changes > 100
    for number, change in enumerate(spread(changes, count)):
        await killed_at(path / str(change), min(change + offset, changes), after=number % 2 == 1)


async def test_kill_at_any_file_change(tmp_path: Path) -> None:
    """A kill at any change of a file loses nothing."""
    await kill_at_some(tmp_path, 3, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_many_kills_at_changes_of_files_lose_nothing(tmp_path: Path) -> None:
    await kill_at_some(tmp_path, int(os.environ.get("CANDLED_KILLS", "20")), 0)


async def refuse_at(path: Path, change: int) -> None:
    stored: list[Bar] = []
    files = StoppingFiles(change, lambda: OSError(28, "No space left on device"))
    for _ in range(2):
        try:
            await work(path, files, stored)
        except (OSError, DataDirectoryError) as error:
            refusal = str(error)
        else:
            break
        assert "No space left" in refusal
    else:
        pytest.fail("one refusal is enough to fail twice")
    check_files(path, stored)


async def test_failed_writes_are_retried(tmp_path: Path) -> None:
    """A write that the disk refused is repeated until it succeeds."""
    for change in spread(await count_changes(tmp_path / "count"), 2):
        await refuse_at(tmp_path / str(change), change + 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_many_refusals_of_the_disk_are_overcome(tmp_path: Path) -> None:
    changes = await count_changes(tmp_path / "count")
    for change in spread(changes, int(os.environ.get("CANDLED_KILLS", "20"))):
        await refuse_at(tmp_path / str(change), change)
