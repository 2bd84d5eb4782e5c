"""What the rows of an archive prove, and what they cannot."""

from decimal import Decimal
from pathlib import Path

import pytest

from candled.backfill.from_archive import ImportReport
from candled.domain.bar import Bar
from candled.domain.interval import MINUTE
from candled.domain.numbers import format_units, parse_units, quote_units
from candled.history.verify import FindingKind, verify
from tests.backfill.test_from_archive import DAY, import_all, pack, stored
from tests.history.bars import START

SECOND = 1_000_000


def fill(id_: int, price: str, quantity: str, time: int) -> list[object]:
    quote = format_units(quote_units(parse_units(price), parse_units(quantity)))
    return [id_, price, quantity, quote, START + time, False, True]


def aggregate(price: str, quantity: str, first_id: int, last_id: int, time: int) -> list[object]:
    return [first_id, price, quantity, first_id, last_id, START + time, False, True]


def kline(minute: int, close: str, count: int) -> list[object]:
    time, half = START + minute * MINUTE, str(Decimal(close) / 2)
    return [time, close, close, close, close, "1.0", time + MINUTE - 1, close, count, "0.5", half, 0]


async def imported(path: Path, name: str, rows: list[list[object]]) -> tuple[list[Bar], ImportReport]:
    report = await import_all(path / "data", pack(path, name, rows))
    return await stored(path / "data", name.partition("-")[0]), report


async def test_a_placeholder_inside_is_no_hole(tmp_path: Path) -> None:
    """A row of quantity 0 takes an id and adds nothing: its minute is complete, and verify has nothing to say."""
    rows = [
        fill(99, "10.0", "1.0", 1),
        fill(100, "10.0", "1.0", MINUTE + 1),
        fill(101, "10.0", "0.0", MINUTE + 2),
        fill(102, "11.0", "1.0", MINUTE + 3),
        fill(103, "11.0", "0.0", MINUTE + 4),
        fill(104, "11.0", "1.0", 2 * MINUTE + 3),
        fill(105, "11.0", "1.0", 3 * MINUTE + 3),
    ]
    bars, _ = await imported(tmp_path, "AAAUSDT-trades-2023-10-27", rows)
    assert [(bar.trade_count, bar.complete) for bar in bars] == [(1, False), (2, True), (1, True), (1, False)]
    assert {finding.kind for finding in verify(tmp_path / "data")} == {FindingKind.INCOMPLETE}


async def test_times_that_go_back_spoil_no_proof(tmp_path: Path) -> None:
    """Trades of two minutes whose ids interleave prove both, once the trade before them is known."""
    rows = [
        fill(98, "10.0", "1.0", -MINUTE),
        fill(99, "10.0", "1.0", 1),
        fill(100, "10.0", "1.0", MINUTE - 1),
        fill(101, "11.0", "1.0", MINUTE),
        fill(102, "12.0", "1.0", MINUTE - 1),
        fill(103, "13.0", "1.0", MINUTE + 1),
        fill(104, "13.0", "1.0", 2 * MINUTE),
    ]
    bars, _ = await imported(tmp_path, "AAAUSDT-trades-2023-10-27", rows)
    assert [(bar.trade_count, bar.complete) for bar in bars] == [(1, False), (3, True), (2, True), (1, False)]


async def test_coarse_aggregate_is_not_complete(tmp_path: Path) -> None:
    """0.001 at 0.03459 may be 0.0002 + 0.0008, which sums up to another quote volume."""
    rows = [aggregate("0.03459000", "1.00000000", id_, id_, (id_ - 99) * MINUTE) for id_ in (99, 102, 103)]
    rows.insert(1, aggregate("0.03459000", "0.00100000", 100, 101, MINUTE))
    rows[2:] = [aggregate("0.03459000", "1.00000000", id_, id_, (id_ - 100) * MINUTE) for id_ in (102, 103)]
    bars, _ = await imported(tmp_path, "ETHBTC-aggTrades-2023-10-27", rows)
    assert [bar.complete for bar in bars] == [False, False, True, False]
    assert bars[1].quote_volume == 3459, "one unit more than its fills would give"


@pytest.mark.parametrize(("finest", "complete"), [("0.123", True), ("0.1234", False)])
async def test_aggregates_are_judged_by_every_row(tmp_path: Path, finest: str, complete: bool) -> None:
    """One fine quantity anywhere in the file shows that a coarse aggregate may have had fine fills."""
    rows = [aggregate("0.03459", "0.123", id_, id_, id_) for id_ in range(1, 150)]
    rows.append(aggregate("0.03459", "0.001", 150, 151, MINUTE))
    rows.append(aggregate("0.03459", "1.0", 152, 152, 2 * MINUTE))
    rows.append(aggregate("0.03459", finest, 153, 153, 5 * MINUTE))
    bars, _ = await imported(tmp_path, "ETHBTC-aggTrades-2023-10-27", rows)
    assert [bar.complete for bar in bars] == [False, complete, True, False]


async def test_next_file_proves_no_inexact_sum(tmp_path: Path) -> None:
    """A bar that ends a file and lacks exactness, not a later trade, stays incomplete when the next file comes."""
    first = [aggregate("0.03459", "1.0", 99, 99, DAY - 2 * MINUTE)]
    first.append(aggregate("0.03459", "0.001", 100, 101, DAY - MINUTE))
    second = [aggregate("0.03459", "1.0", id_, id_, DAY + id_ * MINUTE) for id_ in (102, 103)]
    one = pack(tmp_path, "ETHBTC-aggTrades-2023-10-27", first)
    two = pack(tmp_path, "ETHBTC-aggTrades-2023-10-28", second)
    await import_all(tmp_path / "apart", one)
    await import_all(tmp_path / "apart", two)
    await import_all(tmp_path / "together", one, two)
    for folder in ("apart", "together"):
        assert [bar.complete for bar in await stored(tmp_path / folder, "ETHBTC")][:2] == [False, False]


async def test_placeholder_at_the_end_of_a_file(tmp_path: Path) -> None:
    """Files of one import prove each other's edges, though a row of quantity 0 lies between two real trades."""
    first = [fill(99, "10.0", "1.0", DAY - 2 * MINUTE), fill(100, "10.0", "1.0", DAY - MINUTE)]
    first += [fill(101, "10.0", "0.0", DAY - MINUTE + 1), fill(102, "10.0", "1.0", DAY - MINUTE + 2)]
    first += [fill(103, "10.0", "0.0", DAY - 1)]
    second = [fill(104, "10.0", "1.0", DAY + 1), fill(105, "10.0", "1.0", DAY + MINUTE)]
    archives = [pack(tmp_path, f"AAAUSDT-trades-2023-10-2{n}", rows) for n, rows in ((7, first), (8, second))]
    await import_all(tmp_path / "data", *archives)
    bars = await stored(tmp_path / "data", "AAAUSDT")
    assert [(bar.trade_count, bar.complete) for bar in bars] == [(1, False), (2, True), (1, True), (1, False)]


async def test_id_reset_between_files(tmp_path: Path) -> None:
    """Neither epoch proves or refutes a bar of the other; the first id of all has nothing before it."""
    first = [fill(5_000_000 + n, "0.0001", "1.0", n * MINUTE) for n in range(4)]
    second = [fill(n, "9.0", "1.0", DAY + n * MINUTE) for n in range(4)]
    await imported(tmp_path, "AAAUSDT-trades-2023-10-27", first)
    bars, _ = await imported(tmp_path, "AAAUSDT-trades-2023-10-28", second)
    assert [bar.complete for bar in bars] == [False, True, True, False, True, True, True, False]
    assert [bar.first_trade_id for bar in bars] == [*range(5_000_000, 5_000_004), *range(4)]
    kinds = [finding.kind for finding in verify(tmp_path / "data")]
    assert set(kinds) == {FindingKind.INCOMPLETE, FindingKind.HOLE}


async def test_contradicting_klines_are_refused(tmp_path: Path) -> None:
    """Neither a stub nor its whole twin is taken silently; the same row twice is one kline."""
    rows = [kline(0, "1.0", 3), kline(1, "2.0", 9), kline(1, "1.0", 1), kline(2, "2.0", 2), kline(2, "2.0", 2)]
    bars, report = await imported(tmp_path, "BTCUSDT-1m-2023-10-27", rows)
    assert [(bar.open_time - START) // MINUTE for bar in bars] == [0, 2]
    assert list(report.disputed.values()) == [(START + MINUTE,)]


@pytest.mark.parametrize("quote", ["10.00000001", "9.99999999", "0", "1000"])
async def test_a_row_that_contradicts_itself_is_refused(tmp_path: Path, quote: str) -> None:
    """Its quote volume is not price x quantity: its id counts as not seen, and its minute is named."""
    rows = [fill(id_, "10.0", "1.0", (id_ - 100) * MINUTE + 2) for id_ in range(98, 106)]
    rows[3][3] = quote
    bars, report = await imported(tmp_path, "AAAUSDT-trades-2023-10-27", rows)
    assert list(report.disputed.values()) == [(START + MINUTE,)]
    complete = {(bar.open_time - START) // MINUTE for bar in bars if bar.complete}
    assert complete == {-1, 3, 4}


@pytest.mark.parametrize(
    "other",
    [
        fill(101, "10.5", "1.0", MINUTE + 2),  # another price
        fill(101, "10.0", "2.0", MINUTE + 2),  # another quantity
        fill(101, "10.0", "1.0", 2 * MINUTE + 2),  # another time
    ],
)
async def test_contradicting_trades_are_refused(tmp_path: Path, other: list[object]) -> None:
    """An id with two truths counts as not seen: no minute that either row names is complete."""
    rows = [fill(id_, "10.0", "1.0", (id_ - 100) * MINUTE + 2) for id_ in range(98, 106)]
    rows.insert(5, other)
    bars, report = await imported(tmp_path, "AAAUSDT-trades-2023-10-27", rows)
    named = {MINUTE, other[4] // MINUTE * MINUTE - START}  # type: ignore[operator]
    assert {time - START for (times) in report.disputed.values() for time in times} == named
    complete = {(bar.open_time - START) // MINUTE for bar in bars if bar.complete}
    assert complete.isdisjoint({0, 1, 2})
    assert {-1, 3, 4} <= complete
