"""Damaged and lost files, a full disk: the history starts by itself, says what it did, and keeps what it can."""

import os
import random
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from candled.domain.bar import Bar
from candled.domain.event import BarEvent
from candled.history import DataDirectoryError, HistorySettings, connect, open_history
from candled.history.durable_io import Files
from tests.history.bars import START, events, minute
from tests.history.disk import fill_up

SETTINGS = HistorySettings(grace=0.0, publish_delay=0.05, retry_delay_max=0.05)
DAY = 1440
SEALED = [minute(number) for number in range(0, DAY, 10)]
RECENT = [minute(number) for number in range(DAY, DAY + 120, 10)]
JOURNALED = [minute(DAY + 120)]


async def fill(path: Path) -> None:
    """Bars in a sealed file, in a recent file and in the journal, and some in the journal alone."""
    async with open_history(path, exchange="x", settings=SETTINGS) as history:
        await history.store(events(SEALED + RECENT, history.epoch << 32))
        await history.publish()
        while await history.keep():
            pass
        await history.store(events(JOURNALED, (history.epoch << 32) + 1000))


async def reopened(path: Path) -> list[Bar]:
    async with open_history(path, exchange="x", settings=SETTINGS) as history:
        bars = await history.bars("BTCUSDT", "1m")
        assert await history.newest_bars() == {"BTCUSDT": bars[-1]}
        await history.store(events([minute(5 * DAY)], (history.epoch << 32) + 5000))
        return bars


def only(path: Path, pattern: str) -> Path:
    [found] = path.glob(pattern)
    return found


def set_aside(path: Path) -> list[str]:
    return sorted(file.name.split("-", 1)[1] for file in (path / "set-aside").iterdir())


async def test_unreadable_journal_is_set_aside(tmp_path: Path) -> None:
    """Published bars stay when an unreadable journal is set aside."""
    await fill(tmp_path)
    (tmp_path / "candled.duckdb").write_bytes(b"not a database" * 1000)
    with capture_logs() as logs:
        assert await reopened(tmp_path) == SEALED + RECENT
    assert set_aside(tmp_path) == ["candled.duckdb", "candled.duckdb.wal"]
    assert {"file set aside"} == {entry["event"] for entry in logs}
    assert "the journal is damaged" in logs[0]["reason"]


async def test_torn_log_loses_its_end_alone(tmp_path: Path) -> None:
    """A torn write-ahead log opens; only its torn end is lost."""
    await fill(tmp_path)
    log = tmp_path / "candled.duckdb.wal"
    log.write_bytes(log.read_bytes()[:-7])
    assert await reopened(tmp_path) == SEALED + RECENT


async def test_a_lost_journal_is_made_again(tmp_path: Path) -> None:
    await fill(tmp_path)
    for file in tmp_path.glob("candled.duckdb*"):
        file.unlink()
    assert await reopened(tmp_path) == SEALED + RECENT


@pytest.mark.parametrize("seed", range(6))
async def test_random_journal_damage(tmp_path: Path, seed: int) -> None:
    """The history starts whatever bytes of the journal are damaged."""
    await fill(tmp_path)
    rng = random.Random(seed)
    file = tmp_path / rng.choice(["candled.duckdb", "candled.duckdb.wal"])
    content = bytearray(file.read_bytes())
    for _ in range(3):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    file.write_bytes(content)
    bars = await reopened(tmp_path)
    assert bars[: len(SEALED + RECENT)] == SEALED + RECENT


async def test_damaged_recent_file_is_rewritten(tmp_path: Path) -> None:
    """A damaged recent file is made again from the journal."""
    await fill(tmp_path)
    file = only(tmp_path, "recent/*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert await reopened(tmp_path) == SEALED + RECENT + JOURNALED
    assert set_aside(tmp_path) == [file.name]


async def test_lost_recent_files_are_rewritten(tmp_path: Path) -> None:
    """Recent files that are gone are made again from the journal."""
    await fill(tmp_path)
    only(tmp_path, "recent/*.parquet").unlink()
    assert await reopened(tmp_path) == SEALED + RECENT + JOURNALED


async def test_damaged_sealed_file_is_set_aside(tmp_path: Path) -> None:
    """The other files are read when a damaged one is set aside."""
    await fill(tmp_path)
    file = only(tmp_path, "bars/*/*/*.parquet")
    file.write_bytes(b"PAR1" + b"\0" * 100)
    assert await reopened(tmp_path) == RECENT + JOURNALED
    assert set_aside(tmp_path) == [file.name]


async def test_lost_identity_keeps_positions_rising(tmp_path: Path) -> None:
    """Positions do not start again when ``candled.json`` is lost."""
    for _ in range(3):
        await fill(tmp_path)
    (tmp_path / "candled.json").unlink()
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        assert history.epoch == 4


async def test_a_full_disk_delays_bars_and_loses_none(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    data = small_disk / "data"
    bars = [minute(number) for number in range(400)]
    with trio.fail_after(50):
        async with open_history(data, exchange="x", settings=SETTINGS) as history, trio.open_nursery() as nursery:
            send, receive = trio.open_memory_channel[list[BarEvent]](1000)
            await nursery.start(history.serve, receive)

            async def close_bars(chosen: list[Bar]) -> None:
                for number, bar in enumerate(chosen):
                    position = (history.epoch << 32) + (bar.open_time - START) // 60_000_000 * 2 + number % 2
                    await send.send(events([bar], position))

            await close_bars(bars[:100])
            while history.statistics().rows_stored < 100:
                await trio.sleep(0.01)
            fill_up(ballast)
            await close_bars(bars[100:])
            while history.not_ready_reason() is None:
                await trio.sleep(0.01)
            reason = history.not_ready_reason() or ""
            assert "the history cannot" in reason
            stored_while_full = history.statistics().rows_stored
            assert stored_while_full < 400
            assert bars[:100] == await history.bars("BTCUSDT", "1m", limit=100)
            ballast.unlink()
            while history.statistics().rows_stored < 400 or history.statistics().rows_unpublished:
                await trio.sleep(0.01)
            assert history.not_ready_reason() is None
            assert bars == await history.bars("BTCUSDT", "1m")
            send.close()
    async with open_history(data, exchange="x", settings=SETTINGS) as history:
        assert bars == await history.bars("BTCUSDT", "1m")


class ForbiddenFiles(Files):
    """A data directory whose permissions were lost: no file can be made in it, until they are back."""

    def __init__(self) -> None:
        self.forbidden = False

    def publish(self, path: Path, content: bytes | memoryview) -> None:
        if self.forbidden:
            raise PermissionError(13, "Permission denied")
        super().publish(path, content)


async def test_lost_permissions_are_reported(tmp_path: Path) -> None:
    """By a stand-in for the system's answer: root, as tests in a container run, may write anywhere."""
    files = ForbiddenFiles()
    bars = [minute(number) for number in range(20)]
    with trio.fail_after(50):
        async with (
            open_history(tmp_path, exchange="x", settings=SETTINGS, files=files) as history,
            trio.open_nursery() as nursery,
        ):
            send, receive = trio.open_memory_channel[list[BarEvent]](100)
            await nursery.start(history.serve, receive)
            files.forbidden = True
            await send.send(events(bars, history.epoch << 32))
            while history.not_ready_reason() is None:
                await trio.sleep(0.01)
            assert history.not_ready_reason() == "the history cannot publish bars: [Errno 13] Permission denied"
            assert bars == await history.bars("BTCUSDT", "1m")
            files.forbidden = False
            while history.statistics().rows_unpublished:
                await trio.sleep(0.01)
            assert history.not_ready_reason() is None
            send.close()
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM minutes").fetchone() == (len(bars),)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it")
async def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    """The error names the directory that cannot be written."""
    await fill(tmp_path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataDirectoryError, match=r"Cannot write to .*make it writable"):
            await reopened(tmp_path)
    finally:
        tmp_path.chmod(0o700)


async def test_a_disk_without_room_at_start_is_named(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    fill_up(small_disk / "ballast")
    with pytest.raises(DataDirectoryError, match=r"No space left .*: make room"):
        await open_history(small_disk / "data", exchange="x").__aenter__()
