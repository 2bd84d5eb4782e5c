"""Validate archive files: bytes become checked values, or refusals that name the file and the reason.

A file that does not match its name, or is of another market than spot, is refused completely. A bar whose values
contradict each other is refused alone, and counted. What ids prove about valid bars is not decided here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from candled.domain.bar import Bar
from candled.domain.exactness import quote_volumes_fit
from candled.domain.interval import MINUTE
from candled.errors import UserError

BOM: Final = b"\xef\xbb\xbf"
"""Byte order mark at the start of some files."""

_OF_FUTURES: Final = re.compile(r".+_(?:PERP|\d{6})")
"""Symbols of futures: perpetual ones, and those that end on a date."""
_SHA256: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_COLUMN_NAME: Final = re.compile(rb'"?[A-Za-z_]')
_GIVE_SPOT: Final = "give files of the spot market"
_LINE_BYTES: Final = 1000
_SCALE: Final = 10**8
_MARKET_FACTOR: Final = 10
"""Quote volume over volume lies between lowest and highest price; beyond this factor the unit is another."""


@attrs.frozen
class Refusal:
    """Bars of one file that were left out for one reason."""

    path: Path
    reason: str
    count: int
    first_open_time: int
    """Of the earliest of them, microseconds since the epoch."""


def check_symbol(path: Path, symbol: str) -> None:
    """Refuse the symbols of other markets.

    Raises:
        UserError: the symbol is of another market.
    """
    if _OF_FUTURES.fullmatch(symbol):
        raise UserError(
            f"Archive file {path} is of the futures market, whose volumes count contracts: {_GIVE_SPOT}."
        )


def expected_checksum(path: Path, text: str) -> str:
    """Return the SHA-256 in a ``.CHECKSUM`` file, in any layout.

    Raises:
        UserError: it has none.
    """
    found = _SHA256.search(text.lower())
    if found is None:
        raise UserError(f"Archive file {path} holds no SHA-256: download it again, or remove it.")
    return found[0]


def choose_member(path: Path, names: Sequence[str]) -> str:
    """Return the name of the one table in a zip file; folders and files that systems add are ignored.

    Raises:
        UserError: there is none or more than one, or its name is that of another file.
    """
    tables = [name for name in names if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")]
    if len(tables) != 1:
        raise UserError(
            f"Archive file {path} holds {len(tables)} CSV files where one should be: download it again."
        )
    stem = tables[0].rpartition("/")[2][: -len(".csv")]
    looks_official = re.fullmatch(r".+-(?:trades|aggTrades|1m)-\d{4}-\d\d(?:-\d\d)?", stem)
    if looks_official and stem != path.stem:
        raise UserError(f"Archive file {path} holds {tables[0]}: name the file as what it holds.")
    return tables[0]


def names_columns(line: bytes) -> bool:
    """Return whether the first line of a table names its columns: anything else in its place is a row."""
    return _COLUMN_NAME.match(line) is not None


def has_header(path: Path, csv: Path, columns: int) -> bool:
    """Return whether the first line names the columns.

    Args:
        path: The archive, for the error.
        csv: Its text, without a byte order mark.
        columns: Number of columns of a spot file of its kind.

    Raises:
        UserError: rows have one column less, as those of the futures market do.
    """
    with csv.open("rb") as file:
        first = file.readline(_LINE_BYTES)
        header = names_columns(first)
        row = file.readline(_LINE_BYTES) if header else first
    if row.strip() and row.count(b",") + 1 == columns - 1:
        raise UserError(
            f"Archive file {path} has {columns - 1} columns, as files of the futures market do, where spot "
            f"has {columns}: {_GIVE_SPOT}."
        )
    return header


def check_bars(path: Path, found: Sequence[tuple[Bar, bool]]) -> tuple[list[tuple[Bar, bool]], list[Refusal]]:
    """Return the bars of a file whose values are possible, and the refusals.

    Raises:
        UserError: no bar's quote volume fits its prices: the volumes are those of another market.
    """
    traded = [bar for bar, _ in found if bar.volume > 0]
    if traded and not any(_is_of_spot(bar) for bar in traded):
        raise UserError(
            f"Archive file {path} is of another market, since its quote volumes are not price times volume: "
            f"{_GIVE_SPOT}."
        )
    passed: list[tuple[Bar, bool]] = []
    refused: dict[str, list[int]] = {}
    for bar, exact in found:
        reason = _refusal(bar)
        if reason is None:
            passed.append((bar, exact))
        else:
            refused.setdefault(reason, []).append(bar.open_time)
    return passed, [Refusal(path, reason, len(times), min(times)) for reason, times in refused.items()]


def _is_of_spot(bar: Bar) -> bool:
    quote = bar.quote_volume * _SCALE
    # Quote volume is truncated for each trade: at most that amount is missing.
    missing = bar.trade_count * _SCALE
    return (
        bar.low * bar.volume <= (quote + missing) * _MARKET_FACTOR
        and quote <= bar.high * bar.volume * _MARKET_FACTOR
    )


def _refusal(bar: Bar) -> str | None:
    if bar.open_time % MINUTE:
        return "its open time is not on the minute"
    if (
        bar.low <= 0
        or bar.low > min(bar.open, bar.close)
        or bar.high < max(bar.open, bar.close)
        or not 0 <= bar.taker_buy_volume <= bar.volume
        or not 0 <= bar.taker_buy_quote_volume <= bar.quote_volume
        or (bar.trade_count == 0) != (bar.volume == 0)
        or bar.trade_count < 0
        or not quote_volumes_fit(bar)
    ):
        return "its numbers contradict each other"
    return None
