"""A stored file that is not what was written is never read: readers refuse it, the daemon does without it."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio
from structlog.testing import capture_logs

from candled.domain.event import BarEvent
from candled.domain.interval import DAY
from candled.history import HistorySettings, connect, open_history
from candled.history.lost import LostMinutes, read_lost
from candled.history.verify import FindingKind, set_damaged_aside, verify
from tests.history.bars import START, events, minute

SETTINGS = HistorySettings(grace=0.0, publish_delay=0.01)
SEALED = [minute(number) for number in range(0, 1440, 5)]
RECENT = [minute(number) for number in range(1440, 1440 + 120, 5)]
LOST = LostMinutes("BTCUSDT", START, START + DAY)


async def fill(path: Path) -> None:
    """A sealed file of one day, and a recent file of the next."""
    async with open_history(path, exchange="x", settings=SETTINGS) as history:
        await history.store(events(SEALED + RECENT, history.epoch << 32))
        await history.publish()
        while await history.keep():
            pass


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled")
    trio.run(fill, path)
    return path


@pytest.fixture
def directory(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def sealed_file(path: Path) -> Path:
    [found] = path.glob("bars/*/*/*.parquet")
    return found


def recent_file(path: Path) -> Path:
    [found] = path.glob("recent/*.parquet")
    return found


def places(file: Path) -> Iterator[int]:
    """Bytes of every kind that a Parquet file has: magic numbers, page headers, data, statistics, footer."""
    size = file.stat().st_size
    footer = pq.read_metadata(file)
    yield from (0, 3, size - 1, size - 4, size - 5, size - 8, size - 9)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            start = column.dictionary_page_offset or column.data_page_offset
            yield from (start, start + 5, start + column.total_compressed_size // 2)
    footer_start = size - 8 - int.from_bytes(file.read_bytes()[-8:-4], "little")
    rng = random.Random(1)
    yield from (rng.randrange(footer_start, size) for _ in range(20))
    yield from (rng.randrange(size) for _ in range(20))


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << place % 8
    file.write_bytes(content)


def total(path: Path) -> object:
    with connect(path) as connection:
        return connection.execute(
            "SELECT count(*), sum(volume), max(high), sum(trade_count) FROM minutes"
        ).fetchall()


@pytest.mark.parametrize("which", [sealed_file, recent_file])
def test_any_flipped_bit_is_refused(directory: Path, which: Callable[[Path], Path]) -> None:
    """A bit flipped at any kind of byte makes a reader's query fail with the file's name, never answer."""
    truth = total(directory)
    file = which(directory)
    whole = file.read_bytes()
    for place in places(file):
        flip(file, place)
        with pytest.raises(duckdb.InvalidInputException, match=f"{file.name} is damaged"):
            total(directory)
        file.write_bytes(whole)
    assert truth == total(directory)


def other_bars(file: Path) -> None:
    """Another whole Parquet file in its place, with page checksums that are right."""
    table = pq.ParquetFile(file).read()
    doubled = table.set_column(
        table.schema.get_field_index("trade_count"), "trade_count", pa.array([2] * len(table), pa.int64())
    )
    pq.write_table(doubled, file, write_page_checksum=True)


@pytest.mark.parametrize(
    "damage",
    [
        other_bars,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
    ],
    ids=["other bars", "empty", "cut off", "longer", "zeros"],
)
def test_other_content_is_refused(directory: Path, damage: Callable[[Path], None]) -> None:
    """Content that is whole Parquet or none, but not what was written, is refused as well."""
    file = sealed_file(directory)
    damage(file)
    with pytest.raises(duckdb.InvalidInputException, match=f"{file.name} is damaged"):
        total(directory)


def test_damage_after_the_first_query_is_refused(directory: Path) -> None:
    """A connection that has read a file notices when it changes afterwards."""
    with connect(directory) as connection:
        connection.execute("FROM bars").fetchall()
        flip(sealed_file(directory), 1000)
        with pytest.raises(duckdb.InvalidInputException, match="is damaged"):
            connection.execute("FROM bars").fetchall()


def test_chosen_symbols_do_without_the_others_files(directory: Path) -> None:
    """A connection for some symbols neither reads nor checks the sealed files of others."""
    flip(sealed_file(directory), 1000)
    with connect(directory, symbols=["ETHUSDT"]) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM minutes").fetchall()
    assert count == len(RECENT)


async def test_a_start_sets_damaged_files_aside(directory: Path) -> None:
    """A start serves what is whole, moves the damaged file away, and remembers its minutes over restarts."""
    file = sealed_file(directory)
    flip(file, file.stat().st_size // 2)
    with capture_logs() as logs:
        async with open_history(directory, exchange="x", settings=SETTINGS) as history:
            assert await history.bars("BTCUSDT", "1m") == RECENT
            assert history.lost == {LOST}
    assert str(file) in [entry.get("file") for entry in logs]
    assert not file.exists()
    assert read_lost(directory) == [LOST]
    async with open_history(directory, exchange="x", settings=SETTINGS) as history:
        assert history.lost == {LOST}
        await history.recovered(LOST)
    assert read_lost(directory) == []


@pytest.mark.parametrize("place", [1, 1000, -5, -100])
async def test_a_query_does_without_a_damaged_sealed_file(directory: Path, place: int) -> None:
    """A file that is damaged while it is open is never answered from; the rest is."""
    async with open_history(directory, exchange="x", settings=SETTINGS) as history:
        assert await history.bars("BTCUSDT", "1m") == SEALED + RECENT
        file = sealed_file(directory)
        flip(file, place % file.stat().st_size)
        assert await history.bars("BTCUSDT", "1m") == RECENT
        assert [bar for _, bar in await history.changed_since(0, limit=10_000)] == RECENT
        assert history.lost == {LOST}
        assert not file.exists()


async def test_a_gone_file_is_like_a_damaged_one(directory: Path) -> None:
    """A sealed file that somebody removed does not make queries fail."""
    async with open_history(directory, exchange="x", settings=SETTINGS) as history:
        sealed_file(directory).unlink()
        assert await history.bars("BTCUSDT", "1m") == RECENT
        assert history.lost == {LOST}


async def test_a_damaged_recent_file_is_made_again(tmp_path: Path) -> None:
    """The journal's rows stand in for a damaged recent file at once, and are published again."""
    async with open_history(tmp_path, exchange="x", settings=SETTINGS) as history:
        await history.store(events(RECENT, history.epoch << 32))
        await history.publish()
        flip(recent_file(tmp_path), 700)
        assert await history.bars("BTCUSDT", "1m") == RECENT
        await history.publish()
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM minutes").fetchall() == [(len(RECENT),)]


async def test_compaction_does_not_carry_damage_on(directory: Path) -> None:
    """Damage that the compactor meets is set aside; no file is made of it."""
    late = [minute(number, revision=1, salt=9) for number in range(0, 20, 5)]
    settings = HistorySettings(grace=0.0, refold_delay=0.0)
    async with open_history(directory, exchange="x", settings=settings) as history:
        await history.bars("BTCUSDT", "1m")
        flip(sealed_file(directory), 2000)
        await history.store(events(late, (history.epoch << 32) + 1))
        await history.publish()
        with trio.fail_after(30):
            while await history.keep():
                pass
        assert late + RECENT == await history.bars("BTCUSDT", "1m")
        assert history.lost == {LOST}


async def test_damage_is_found_without_a_query(directory: Path) -> None:
    """A history that serves reads every file through by itself."""
    async with open_history(directory, exchange="x", settings=SETTINGS) as history, trio.open_nursery() as nursery:
        flip(sealed_file(directory), 500)
        send, receive = trio.open_memory_channel[list[BarEvent]](1)
        await nursery.start(history.serve, receive)
        with trio.fail_after(30):
            await history.wait_lost()
        send.close()
    assert not list(directory.glob("bars/*/*/*.parquet"))


def test_repair_records_what_is_to_be_fetched(directory: Path) -> None:
    """`candled repair` sets a damaged file aside and leaves a record for the next start."""
    flip(sealed_file(directory), 900)
    assert FindingKind.DAMAGED_FILE in [finding.kind for finding in verify(directory)]
    [finding] = set_damaged_aside(directory)
    assert (finding.symbol, finding.start, finding.end) == ("BTCUSDT", START, START + DAY)
    assert read_lost(directory) == [LOST]


def to_format_1(path: Path) -> None:
    """Make the directory one of format 1, whose names have no checksums."""
    for file in [*path.glob("bars/**/*.parquet"), *path.glob("recent/*.parquet")]:
        file.rename(file.with_name(file.stem.rpartition("_")[0] + ".parquet"))
    identity = json.loads((path / "candled.json").read_text())
    (path / "candled.json").write_text(json.dumps({**identity, "format": 1}))


async def test_format_1_gets_checksums(directory: Path) -> None:
    """A directory of format 1 is taken up with all of its bars, and is protected from then on."""
    names = sorted(file.name for file in directory.rglob("*_*.parquet"))
    to_format_1(directory)
    async with open_history(directory, exchange="x", settings=SETTINGS) as history:
        assert await history.bars("BTCUSDT", "1m") == SEALED + RECENT
    assert names == sorted(file.name for file in directory.rglob("*_*.parquet"))


async def test_format_1_keeps_no_damage(directory: Path) -> None:
    """A file of format 1 whose pages are damaged is set aside instead of getting a checksum."""
    column = pq.read_metadata(sealed_file(directory)).row_group(0).column(2)
    flip(sealed_file(directory), column.data_page_offset + column.total_compressed_size - 3)
    to_format_1(directory)
    async with open_history(directory, exchange="x", settings=SETTINGS) as history:
        assert await history.bars("BTCUSDT", "1m") == RECENT
        assert history.lost == {LOST}
