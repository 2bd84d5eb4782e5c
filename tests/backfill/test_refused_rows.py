"""The gate of archive files: rows with values that cannot be are left out and counted; the others are taken."""

from pathlib import Path

import pytest

from candled.backfill.binance_archive import parse_archive, read_minutes
from candled.domain.interval import MINUTE
from candled.errors import UserError
from tests.backfill.test_from_archive import import_all, pack, stored
from tests.history.bars import START

TRADE = ["{id}", "100.00000000", "2.00000000", "200.00000000", "{time}", "True", "True"]
BAD = [
    (1, "10000000000.00000000"),
    (1, "1" * 30),
    (1, "0.000000015"),
    (1, "1E-7"),
    (1, "1e5"),
    (1, "NaN"),
    (1, "-1.00000000"),
    (1, "+1.00000000"),
    (1, "0x10"),
    (1, "1_000"),
    (1, ""),
    (2, "1" * 30),
    (2, "2.123456789"),
    (2, "-2.00000000"),
    (3, "1" * 40),
    (3, "-1.00000000"),
    (4, "-1"),
    (4, "1"),
    (4, "999999999999999999"),
    (4, "noon"),
    (5, "maybe"),
    (0, "9223372036854775808"),
    (0, "-5"),
    (0, "9223372036854775807"),
    (0, "108.5"),
    (0, "109.0"),
    (4, "1767226935000.5"),
    (0, ""),
]


def trades(count: int, changes: dict[int, tuple[int, str]] | None = None) -> list[list[str]]:
    """Rows of trades, four a minute, some with another value in one column."""
    rows = []
    for number in range(count):
        time = (START + number * MINUTE // 4) // 1000
        row = [cell.format(id=number + 100, time=time) for cell in TRADE]
        if changes and number in changes:
            column, value = changes[number]
            row[column] = value
        rows.append(row)
    return rows


@pytest.mark.parametrize(("column", "value"), BAD)
async def test_a_row_that_cannot_be_is_left_out(column: int, value: str, tmp_path: Path) -> None:
    """Its minute is not complete, the others are, and the report counts it."""
    archive = pack(tmp_path, "BTCUSDT-trades-2026-01-01", trades(24, {9: (column, value)}))
    report = await import_all(tmp_path / "data", archive)
    assert report.rows_refused == 1
    bars = await stored(tmp_path / "data")
    assert [bar.trade_count for bar in bars] == [4, 4, 3, 4, 4, 4]
    assert [bar.complete for bar in bars] == [False, True, False, True, True, False]
    assert all(bar.high == bar.low == 100 * 10**8 for bar in bars)


@pytest.mark.parametrize(("column", "value"), BAD)
def test_a_file_of_bad_rows_is_another_file(column: int, value: str, tmp_path: Path) -> None:
    """It is refused with a sentence."""
    archive = pack(tmp_path, "BTCUSDT-trades-2026-01-01", trades(8, dict.fromkeys(range(8), (column, value))))
    with pytest.raises(UserError, match="does not match its name"):
        read_minutes(parse_archive(archive), tmp_path)


def test_zeros_past_the_eighth_decimal_are_none(tmp_path: Path) -> None:
    """What says the same in more digits is the same."""
    archive = pack(tmp_path, "BTCUSDT-trades-2026-01-01", trades(8, {3: (1, "100.000000000000")}))
    minutes = read_minutes(parse_archive(archive), tmp_path)
    assert minutes.refused == 0
    assert minutes.table.column("trade_count").to_pylist() == [4, 4]


@pytest.mark.parametrize("header", ["", "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"])
def test_a_byte_order_mark_swallows_no_row(header: str, tmp_path: Path) -> None:
    """With a header or without one, the first trade counts."""
    archive = pack(tmp_path, "BTCUSDT-trades-2026-01-01", trades(8), header=f"\ufeff{header}")
    minutes = read_minutes(parse_archive(archive), tmp_path)
    assert (minutes.refused, minutes.table.column("trade_count").to_pylist()) == (0, [4, 4])


@pytest.mark.parametrize(
    "changes",
    [
        {5: "9223372036854775808"},
        {4: "-1"},
        {3: "5", 4: "4"},
        {3: "0", 4: "5000000"},
        {2: "1" * 22},
        {1: "9999999999.00000000", 2: "999999999999.00000000"},
    ],
)
def test_an_aggregate_that_cannot_be_is_left_out(changes: dict[int, str], tmp_path: Path) -> None:
    """Its ids and its product are within limits, so that no sum overflows."""
    rows = []
    for number in range(6):
        first = 100 + 2 * number
        time = (START + number * MINUTE) // 1000
        rows.append([str(number), "100.0", "2.0", str(first), str(first + 1), str(time), "True", "True"])
    for column, value in changes.items():
        rows[2][column] = value
    minutes = read_minutes(parse_archive(pack(tmp_path, "BTCUSDT-aggTrades-2026-01-01", rows)), tmp_path)
    assert (minutes.refused, minutes.table.num_rows) == (1, 5)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (8, str(10**12)),
        (8, str(-(10**12))),
        (0, "1"),
        (7, "1" * 29),
        (7, "-" + "1" * 29),
        (5, "NaN"),
        (3, "-1.0"),
    ],
)
def test_a_kline_beyond_the_limits_is_left_out(column: int, value: str, tmp_path: Path) -> None:
    """No value of a kline that a column could not hold reaches the table."""
    rows = []
    for number in range(5):
        time = START // 1000 + number * 60_000
        row = [str(time), "2.0", "3.0", "1.0", "2.5", "10.0", str(time + 59_999), "20.0", "7", "5.0", "10.0", "0"]
        rows.append(row)
    rows[2][column] = value
    minutes = read_minutes(parse_archive(pack(tmp_path, "BTCUSDT-1m-2026-01-01", rows)), tmp_path)
    assert (minutes.refused, minutes.table.num_rows) == (1, 4)
