"""`verify` names what is wrong and nothing else; `set_damaged_aside` makes a directory readable again."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from candled.domain.bar import Bar
from candled.domain.interval import MINUTE
from candled.history import DataDirectoryError, HistorySettings, connect, open_history
from candled.history.unfillable import Unfillable
from candled.history.verify import PRICES_AND_VOLUME, FindingKind, set_damaged_aside, verify
from tests.history.bars import START, events, minute

DAY = 1440


def chained(numbers: Sequence[int], symbol: str = "BTCUSDT") -> list[Bar]:
    """Minutes whose trade ids follow each other."""
    bars = []
    next_id = 1000
    for number in numbers:
        bar = minute(number, symbol, trades=number % 3)
        last_id = next_id + bar.trade_count - 1
        ids = {"first_trade_id": next_id, "last_trade_id": last_id} if bar.trade_count else {}
        bars.append(changed(bar, previous_trade_id=next_id - 1, **ids))
        next_id += bar.trade_count
    return bars


def changed(bar: Bar, **changes: object) -> Bar:
    fields = {name: getattr(bar, name) for name in bar.__struct_fields__}
    return Bar(**{**fields, **changes})


def write(path: Path, bars: Sequence[Bar]) -> None:
    async def main() -> None:
        async with open_history(path, exchange="x", settings=HistorySettings(grace=0.0)) as history:
            await history.store(events(bars, history.epoch << 32))
            await history.publish()
            while await history.keep():
                pass

    trio.run(main)


def found(path: Path, klines: Sequence[Bar] = ()) -> list[tuple[FindingKind, str, int | None, int | None]]:
    return [
        (
            finding.kind,
            finding.symbol,
            None if finding.start is None else (finding.start - START) // MINUTE,
            None if finding.end is None else (finding.end - START) // MINUTE,
        )
        for finding in verify(path, klines=klines)
    ]


def test_intact_history_has_no_finding(tmp_path: Path) -> None:
    """A history without damage and holes has no finding."""
    bars = chained(range(DAY + 100))
    write(tmp_path, bars)
    assert found(tmp_path, bars) == []


def test_missing_minutes_and_trades_are_named(tmp_path: Path) -> None:
    bars = chained(range(200))
    write(tmp_path, bars[:50] + bars[60:])
    [hole, ids] = verify(tmp_path)
    assert (hole.kind, hole.start, hole.end) == (
        FindingKind.HOLE,
        START + 50 * MINUTE,
        START + 60 * MINUTE,
    )
    assert ids.kind is FindingKind.TRADE_IDS
    assert (ids.first_id, ids.last_id) == (bars[50].first_trade_id, bars[59].last_trade_id)


def test_incomplete_bars_are_named_by_their_runs(tmp_path: Path) -> None:
    bars = [changed(bar, complete=number not in (3, 4, 5, 9)) for number, bar in enumerate(chained(range(20)))]
    write(tmp_path, bars)
    assert found(tmp_path) == [
        (FindingKind.INCOMPLETE, "BTCUSDT", 3, 6),
        (FindingKind.INCOMPLETE, "BTCUSDT", 9, 10),
    ]


def test_bars_are_compared_with_the_exchanges_klines(tmp_path: Path) -> None:
    bars = chained(range(10), "ETHUSDT")
    write(tmp_path, bars)
    klines = [*bars[:4], changed(bars[4], high=bars[4].high + 1), *chained(range(11), "ETHUSDT")[10:]]
    assert found(tmp_path, klines) == [
        (FindingKind.DIFFERENT, "ETHUSDT", 4, 5),
        (FindingKind.NOT_STORED, "ETHUSDT", 10, 11),
    ]
    assert "another high" in verify(tmp_path, klines=klines)[0].text
    assert verify(tmp_path, klines=[changed(klines[0], quote_volume=1)], compared=PRICES_AND_VOLUME) == []


def test_numbers_that_cannot_be_are_named(tmp_path: Path) -> None:
    bars = chained(range(3))
    bars[1] = changed(bars[1], low=bars[1].high + 1)
    write(tmp_path, bars)
    assert found(tmp_path) == [(FindingKind.CONTRADICTION, "BTCUSDT", 1, 2)]


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_damaged_bytes_are_detected_named_and_set_aside(tmp_path: Path, place: float) -> None:
    write(tmp_path, chained(range(2 * DAY + 100)))
    [first, _second] = sorted(tmp_path.glob("bars/*/*/*.parquet"))
    content = bytearray(first.read_bytes())
    content[int(len(content) * place)] ^= 0xFF
    first.write_bytes(content)
    [damaged] = [finding for finding in verify(tmp_path) if finding.kind is FindingKind.DAMAGED_FILE]
    assert damaged.path == first
    assert str(first) in damaged.text
    assert [first] == [finding.path for finding in set_damaged_aside(tmp_path)]
    assert found(tmp_path) == []
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM bars WHERE interval = '1m'").fetchone() == (DAY + 100,)


def test_a_damaged_journal_is_named_and_set_aside(tmp_path: Path) -> None:
    bars = chained(range(100))
    write(tmp_path, bars)
    journal = tmp_path / "candled.duckdb"
    journal.write_bytes(b"not a database" * 1000)
    [damaged] = verify(tmp_path)
    assert (damaged.kind, damaged.path) == (FindingKind.DAMAGED_FILE, journal)
    assert journal.read_bytes() == b"not a database" * 1000
    assert [journal] == [finding.path for finding in set_damaged_aside(tmp_path)]
    assert not journal.exists()
    assert found(tmp_path) == []


async def test_journal_in_use_is_left_alone(tmp_path: Path) -> None:
    """``verify`` finds nothing wrong beside a process that writes its journal."""
    async with open_history(tmp_path, exchange="x") as history:
        await history.store(events(chained(range(100)), history.epoch << 32))
        await history.publish()
        assert found(tmp_path) == []


def test_a_folder_without_bars_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="is not a candled data directory"):
        verify(tmp_path)


def test_no_repair_without_bars(tmp_path: Path) -> None:
    """Setting files aside in a folder without bars creates nothing there."""
    with pytest.raises(DataDirectoryError, match="is not a candled data directory"):
        set_damaged_aside(tmp_path / "data")
    assert not (tmp_path / "data").exists()


async def test_unfinished_directory_is_named(tmp_path: Path) -> None:
    """A directory that is just being made is named as such."""
    async with open_history(tmp_path, exchange="x"):
        pass
    shutil.rmtree(tmp_path / "empty")
    for read in (verify, connect):
        with pytest.raises(DataDirectoryError, match="lacks files that every data directory has"):
            read(tmp_path)


async def test_unfillable_trades_say_why(tmp_path: Path) -> None:
    """Bars that lack trades the exchange does not have are listed with that reason."""
    bars = chained(range(10))
    first, last = bars[4].first_trade_id, bars[4].last_trade_id
    bars[4] = changed(bars[4], complete=False)
    lost = Unfillable("BTCUSDT", first, first, "the exchange passed over these ids in 4 answers")
    elsewhere = [attrs.evolve(lost, symbol="ETHUSDT"), attrs.evolve(lost, first_id=last + 5, last_id=last + 6)]
    async with open_history(tmp_path, exchange="x") as history:
        await history.store(events(bars, history.epoch << 32))
        await history.record_unfillable([lost])
        await history.publish()
    async with open_history(tmp_path, exchange="x") as history:  # what was recorded before stays
        await history.record_unfillable(elsewhere)
    texts = [finding.text for finding in verify(tmp_path)]
    why = f"The exchange does not have trades {first} to {first}: the exchange passed over these ids in 4 answers."
    assert [f"1 bar is not proven complete. {why}"] == texts
