"""``candled bars``: closed bars of one symbol, from the files or from a daemon."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import click

from candled.cli import parts
from candled.cli.address_option import Target, optional_target_option
from candled.cli.interval_option import interval_option
from candled.cli.output import write_rows
from candled.cli.settings_options import data_dir_option
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import end_line, run_trio
from candled.errors import UserError

COLUMNS: Final = (
    "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
    "complete", "revision",
)  # fmt: skip
"""Everything that a bar says, in the order in which every command says it."""

_TABLE_COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "complete", "revision",
)  # fmt: skip
_TABLE_LIMIT: Final = 50
_FETCH: Final = 10_000
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_SYMBOLS: Final = "SELECT DISTINCT symbol FROM bars WHERE interval = '1m' ORDER BY symbol"


@click.command("bars")
@click.argument("symbol")
@interval_option
@click.option("--from", "start", metavar="TIME", help="Earliest open time: 2026-05-08, 2026-05-08T14:30, -6h.")
@click.option("--to", "end", metavar="TIME", help="Exclusive end of open times.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Only the newest N of them. [default: {_TABLE_LIMIT} in a table without --from, else all]",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]), default="table", show_default=True
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write instead of standard output."
)
@optional_target_option
@tz_option
@data_dir_option
def command(
    symbol: str,
    interval: str,
    start: str | None,
    end: str | None,
    limit: int | None,
    form: str,
    output: Path | None,
    target: Target | None,
    zone: tzinfo,
    data_dir: Path,
) -> None:
    """Print closed bars of SYMBOL, oldest first, newest revision of each.

    Reads the files of the data directory, which works while a daemon writes them and when none runs.
    """
    since = parse_time(start, zone, option="--from") if start else None
    until = parse_time(end, zone, option="--to") if end else None
    if limit is None and form == "table" and since is None:
        limit = _TABLE_LIMIT
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise UserError("Parquet is no text for a terminal: give --output FILE, or pipe it.")
    rows = (
        _from_files(data_dir, symbol, interval, since, until, limit)
        if target is None
        else _from_daemon(target, symbol, interval, since, until, limit)
    )
    if form == "parquet":
        _write_parquet(rows, output)
        return
    columns = _TABLE_COLUMNS if form == "table" else COLUMNS
    chosen = [COLUMNS.index(column) for column in columns]
    selected = ([row[i] for i in chosen] for row in rows)
    if output is None:
        count = write_rows(columns, selected, form, zone=zone)
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            count = write_rows(columns, selected, form, zone=zone, out=file)
    if count == 0:
        end_line(f"candled: no closed {interval} bar of {symbol} in that time")


def _from_files(
    data_dir: Path, symbol: str, interval: str, since: datetime | None, until: datetime | None, limit: int | None
) -> Iterator[Sequence[Any]]:
    values = [interval, since or _FIRST, until or _LAST, symbol]
    query = f"SELECT {', '.join(COLUMNS)} FROM bars_between(?, ?, ?) WHERE symbol = ?"  # noqa: S608 (fixed words)
    if limit is not None:
        query = f"SELECT * FROM ({query} ORDER BY open_time DESC LIMIT {limit})"  # noqa: S608 (a checked number)
    with parts.connect_history(data_dir) as connection:
        result = connection.execute(f"{query} ORDER BY open_time", values)
        found = False
        while page := result.fetchmany(_FETCH):
            found = True
            yield from page
        if not found:
            known = [row[0] for row in connection.execute(_SYMBOLS).fetchall()]
            if symbol not in known:
                raise UserError(f"No bars of {symbol} in {data_dir}: it has {', '.join(known) or 'no bars yet'}.")


def _from_daemon(
    target: Target, symbol: str, interval: str, since: datetime | None, until: datetime | None, limit: int | None
) -> list[Sequence[Any]]:
    bars: list[Sequence[Any]] = []

    async def fetch() -> None:
        async with parts.open_client(target) as client:
            async for page in client.bar_pages(symbol, interval, since, until):
                bars.extend([getattr(bar, column) for column in COLUMNS] for bar in page)
                if limit is not None:
                    del bars[:-limit]

    run_trio(fetch)
    return bars


def _write_parquet(rows: Iterator[Sequence[Any]] | list[Sequence[Any]], output: Path | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(column: str) -> Any:
        if column in ("open", "high", "low", "close"):
            return pa.decimal128(18, 8)
        if column in ("volume", "taker_buy_volume"):
            return pa.decimal128(28, 8)
        if column in ("quote_volume", "taker_buy_quote_volume"):
            return pa.decimal128(38, 8)
        if column.endswith("_time"):
            return pa.timestamp("us", tz="UTC")
        if column in ("closed", "complete"):
            return pa.bool_()
        return pa.string() if column in ("symbol", "interval") else pa.int64()

    schema = pa.schema([(column, kind(column)) for column in COLUMNS])
    table = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], schema=schema)
    pq.write_table(table, output if output is not None else sys.stdout.buffer, compression="zstd")
