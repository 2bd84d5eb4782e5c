"""Archive files become bars, exactly, whatever state their rows are in."""

import hashlib
import json
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from candled.backfill.from_archive import ImportReport, import_archives
from candled.domain.bar import Bar
from candled.domain.interval import MINUTE
from candled.domain.numbers import format_units, quote_units
from candled.errors import UserError
from candled.history import DataDirectoryError, connect, open_history
from tests.history.bars import START
from tests.history.disk import fill_up
from tests.recordings import recordings

DAY = 1440 * MINUTE


def pack(
    folder: Path, name: str, rows: Sequence[Sequence[object]], *, header: str = "", checksum: bool = True
) -> Path:
    """An archive file of these rows."""
    path = folder / f"{name}.zip"
    text = header + "".join(",".join(map(str, row)) + "\n" for row in rows)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{name}.csv", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


Tick = tuple[int, int, int, int, bool]
"""Id, price and quantity in units, time in microseconds, buyer is maker."""


def ticks(start: int, first_id: int, count: int, seed: int = 1, apart: int = 7_000_000) -> list[Tick]:
    rng = random.Random(seed)
    return [
        (
            first_id + number,
            rng.randrange(1, 10**13),
            rng.randrange(1, 10**20),
            start + number * apart + rng.randrange(apart // 1000) * 1000,
            rng.random() < 0.5,
        )
        for number in range(count)
    ]


def row(tick: Tick, *, milliseconds: bool) -> list[object]:
    number, price, quantity, time, maker = tick
    return [
        number,
        format_units(price),
        format_units(quantity),
        format_units(quote_units(price, quantity)),
        time // 1000 if milliseconds else time,
        maker,
        True,
    ]


def oracle(chosen: Sequence[Tick]) -> dict[int, tuple[int, ...]]:
    """Plain per-trade sums: o h l c v q n V Q first last by open time."""
    minutes: dict[int, list[Tick]] = {}
    for tick in sorted(chosen):
        minutes.setdefault(tick[3] // MINUTE * MINUTE, []).append(tick)
    return {
        open_time: (
            rows[0][1],
            max(t[1] for t in rows),
            min(t[1] for t in rows),
            rows[-1][1],
            sum(t[2] for t in rows),
            sum(quote_units(t[1], t[2]) for t in rows),
            len(rows),
            sum(t[2] for t in rows if not t[4]),
            sum(quote_units(t[1], t[2]) for t in rows if not t[4]),
            rows[0][0],
            rows[-1][0],
        )
        for open_time, rows in minutes.items()
    }


def fields(bar: Bar) -> tuple[int, ...]:
    return (
        *(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trade_count),
        *(bar.taker_buy_volume, bar.taker_buy_quote_volume, bar.first_trade_id, bar.last_trade_id),
    )


async def stored(path: Path, symbol: str = "BTCUSDT") -> list[Bar]:
    async with open_history(path, exchange="") as history:
        return await history.bars(symbol, "1m", limit=10**7)


async def import_all(path: Path, *archives: Path) -> ImportReport:
    return await import_archives(path, archives, exchange="binance")


@pytest.mark.parametrize("milliseconds", [True, False])
async def test_import_equals_bars_built_trade_by_trade(tmp_path: Path, milliseconds: bool) -> None:
    chosen = ticks(START, 1000, 2000)
    rows = [row(tick, milliseconds=milliseconds) for tick in chosen]
    report = await import_all(tmp_path / "data", pack(tmp_path, "BTCUSDT-trades-2026-01-01", rows))
    bars = await stored(tmp_path / "data")
    assert oracle(chosen) == {bar.open_time: fields(bar) for bar in bars}
    assert report.bars_added == len(bars)
    # Nothing is known before the first and after the last.
    assert [bar.complete for bar in bars] == [False] + [True] * (len(bars) - 2) + [False]


async def test_row_order_duplicates_and_header_change_nothing(tmp_path: Path) -> None:
    chosen = ticks(START, 1000, 500)
    rows = [row(tick, milliseconds=number % 2 == 0) for number, tick in enumerate(chosen)]
    rows += rows[100:200]
    random.Random(3).shuffle(rows)
    header = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"
    await import_all(tmp_path / "data", pack(tmp_path, "BTCUSDT-trades-2026-01-01", rows, header=header))
    assert oracle(chosen) == {bar.open_time: fields(bar) for bar in await stored(tmp_path / "data")}


async def test_next_day_proves_the_last_bar(tmp_path: Path) -> None:
    first = ticks(START + DAY - 600_000_000, 1000, 80)
    second = ticks(START + DAY, 1080, 80, seed=2)
    name = "BTCUSDT-trades-2026-01-0"
    one = pack(tmp_path, name + "1", [row(tick, milliseconds=False) for tick in first])
    two = pack(tmp_path, name + "2", [row(tick, milliseconds=False) for tick in second])
    await import_all(tmp_path / "data", one)
    report = await import_all(tmp_path / "data", two)
    assert report.bars_revised == 1
    bars = await stored(tmp_path / "data")
    assert [bar.complete for bar in bars] == [False] + [True] * (len(bars) - 2) + [False]
    assert await import_all(tmp_path / "together", two, one)
    assert [(fields(bar), bar.complete) for bar in await stored(tmp_path / "together")] == [
        (fields(bar), bar.complete) for bar in bars
    ]


async def test_a_missing_trade_makes_its_minute_incomplete(tmp_path: Path) -> None:
    chosen = ticks(START, 1000, 500)
    lost = chosen.pop(250)
    await import_all(
        tmp_path / "data",
        pack(tmp_path, "BTCUSDT-trades-2026-01-01", [row(tick, milliseconds=False) for tick in chosen]),
    )
    incomplete = [bar.open_time for bar in (await stored(tmp_path / "data"))[1:-1] if not bar.complete]
    assert incomplete == [lost[3] // MINUTE * MINUTE]


async def test_incomplete_file_replaces_no_fuller_bar(tmp_path: Path) -> None:
    """An unproven bar stays if a later file lacks some of its trades."""
    chosen = ticks(START, 1000, 3)  # one minute: nothing before or after proves it
    whole, holed = (tmp_path / name for name in ("whole", "holed"))
    for folder, those in ((whole, chosen), (holed, chosen[:1] + chosen[2:])):
        folder.mkdir()
        pack(folder, "BTCUSDT-trades-2026-01-01", [row(tick, milliseconds=False) for tick in those])
    for folder in (whole, holed, whole):
        await import_all(tmp_path / "data", folder / "BTCUSDT-trades-2026-01-01.zip")
        assert oracle(chosen) == {bar.open_time: fields(bar) for bar in await stored(tmp_path / "data")}


async def test_progress_rises_to_the_size_of_all_files(tmp_path: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    archives = [
        pack(
            tmp_path,
            f"BTCUSDT-trades-2026-01-0{day}",
            [row(tick, milliseconds=False) for tick in ticks(start, 1, 9)],
        )
        for day, start in ((1, START), (2, START + DAY))
    ]
    await import_archives(
        tmp_path / "data", archives, exchange="binance", progress=lambda *words: reported.append(words)
    )
    sizes = [archive.stat().st_size for archive in archives]
    done = [part for part, _, _ in reported]
    assert done == sorted(done)
    assert {total for _, total, _ in reported} == {sum(sizes)}
    assert (sizes[0], sum(sizes), f"{archives[0].name}: adding up") in reported
    assert reported[-1] == (sum(sizes), sum(sizes), "done")


async def test_importing_again_changes_nothing(tmp_path: Path) -> None:
    archive = pack(
        tmp_path, "BTCUSDT-trades-2026-01-01", [row(tick, milliseconds=False) for tick in ticks(START, 1, 900)]
    )
    await import_all(tmp_path / "data", archive)
    before = await stored(tmp_path / "data")
    report = await import_all(tmp_path / "data", archive)
    assert (report.bars_added, report.bars_revised, report.bars_known) == (0, 0, len(before))
    assert before == await stored(tmp_path / "data")


async def test_klines_are_imported_unchanged(tmp_path: Path) -> None:
    archive = recordings() / "BTCUSDT-1m-2020-01-02.zip"
    report = await import_all(tmp_path / "data", archive)
    assert report.bars_added == 1440
    assert report.files_without_checksum == [archive]
    with zipfile.ZipFile(archive) as packed:
        lines = packed.read(packed.namelist()[0]).decode().split()
    with connect(tmp_path / "data") as connection:
        rows = connection.execute(
            "SELECT epoch_ms(open_time), open, high, low, close, volume, epoch_ms(close_time) - 1, quote_volume, "
            "trade_count, taker_buy_volume, taker_buy_quote_volume FROM bars WHERE interval = '1m' ORDER BY 1"
        ).fetchall()
    assert [line.split(",")[:11] for line in lines] == [[str(value) for value in found] for found in rows]


async def test_real_aggregate_trades_equal_the_exchanges_klines(tmp_path: Path) -> None:
    trades = json.loads((recordings() / "spot_BTCUSDT_aggTrades_20200102T151023-151839.json").read_text())
    rows = [[t["a"], t["p"], t["q"], t["f"], t["l"], t["T"], t["m"], t["M"]] for t in trades]
    klines = recordings() / "BTCUSDT-1m-2020-01-02.zip"
    await import_all(tmp_path / "klines", klines)
    await import_all(tmp_path / "trades", pack(tmp_path, "BTCUSDT-aggTrades-2020-01-02", rows))
    official = {bar.open_time: fields(bar)[:9] for bar in await stored(tmp_path / "klines")}
    bars = (await stored(tmp_path / "trades"))[1:-1]
    assert len(bars) == 7
    assert all(bar.complete and official[bar.open_time] == fields(bar)[:9] for bar in bars)


async def test_klines_between_known_trades_are_counted_and_proven(tmp_path: Path) -> None:
    chosen = ticks(START, 1000, 2000)
    bars = oracle(chosen)
    cut = START + 100 * MINUTE
    early = [row(t, milliseconds=False) for t in chosen if t[3] < cut]
    late = [row(t, milliseconds=False) for t in chosen if t[3] >= cut + 20 * MINUTE]
    klines = [
        [
            *(open_time, *map(format_units, b[:5]), open_time + MINUTE - 1, format_units(b[5]), b[6]),
            *(format_units(b[7]), format_units(b[8]), 0),
        ]
        for open_time, b in bars.items()
        if cut - MINUTE <= open_time < cut + 20 * MINUTE
    ]
    await import_all(tmp_path / "data", pack(tmp_path, "BTCUSDT-trades-2026-01-01", early + late))
    await import_all(tmp_path / "data", pack(tmp_path, "BTCUSDT-1m-2026-01-01", klines))
    found = await stored(tmp_path / "data")
    assert bars == {bar.open_time: fields(bar) for bar in found}


async def test_wrong_checksum_imports_nothing(tmp_path: Path) -> None:
    archive = pack(tmp_path, "BTCUSDT-trades-2026-01-01", [row(ticks(START, 1, 1)[0], milliseconds=False)])
    archive.with_name(archive.name + ".CHECKSUM").write_text("0" * 64 + "  x\n")
    with pytest.raises(UserError, match="differs from its checksum: download it again"):
        await import_all(tmp_path / "data", archive)
    assert not (tmp_path / "data").exists()


async def test_import_resumes_after_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """A full disk is named in the error, and the import continues when it is called again."""
    chosen = ticks(START, 1000, 2000)
    archive = pack(
        tmp_path, "BTCUSDT-trades-2026-01-01", [row(tick, milliseconds=False) for tick in chosen + chosen[:500]]
    )
    async with open_history(small_disk / "data", exchange="binance"):
        fill_up(small_disk / "ballast", left=100_000)
    with pytest.raises(DataDirectoryError, match=r"Cannot write to .*No space left .* try again"):
        await import_all(small_disk / "data", archive)
    (small_disk / "ballast").unlink()
    await import_all(small_disk / "data", archive)
    assert oracle(chosen) == {bar.open_time: fields(bar) for bar in await stored(small_disk / "data")}


async def test_leftovers_of_a_killed_import_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "data" / "import-1.tmp"
    leftover.mkdir(parents=True)
    (leftover / "archive.csv").write_text("1,2,3")
    (tmp_path / "data" / "candled.lock").touch()
    assert await stored(tmp_path / "data") == []
    assert not leftover.exists()


async def test_files_that_are_no_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not named as the archive's files are"):
        await import_all(tmp_path / "data", tmp_path / "notes.zip")
    broken = tmp_path / "BTCUSDT-trades-2026-01-01.zip"
    broken.write_bytes(b"PK nonsense")
    with pytest.raises(UserError, match="not a complete archive file"):
        await import_all(tmp_path / "data", broken)
    wrong = pack(tmp_path, "BTCUSDT-1m-2026-01-01", [["1", "many", "words"]])
    with pytest.raises(UserError, match="does not match its name"):
        await import_all(tmp_path / "data", wrong)
