"""``candled bars``: print closed bars, from the files or from a daemon."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import attrs
import click

from candled.cli import parts
from candled.cli.address_option import Target, optional_target_option
from candled.cli.interval_option import interval_option
from candled.cli.output import terminal_width
from candled.cli.result_output import ResultOutput, output_options
from candled.cli.settings_options import complete_symbols, data_dir_option
from candled.cli.stored_history_option import stored_history_options
from candled.cli.symbols import STORED_SYMBOLS, split_symbols
from candled.cli.times import parse_time, tz_option
from candled.cli.trio_runner import end_line, run_trio
from candled.domain.limits import TIME_MAX
from candled.errors import UserError

COLUMNS: Final = (
    "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
    "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed",
    "complete", "revision",
)  # fmt: skip
"""Columns of a bar, in the same order in every command."""

_TABLE_COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "complete", "revision",
)  # fmt: skip
_LEFT_OUT_FIRST: Final = ("quote_volume", "revision", "trade_count", "complete", "volume")
"""Columns of the table that a narrow terminal lacks."""
_TABLE_LIMIT: Final = 50
_LIMIT_MAX: Final = 10**9
_FETCH: Final = 10_000
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)

Rows = Iterator[Sequence[Any]]


@attrs.frozen
class _Wanted:
    """The bars to show of each symbol."""

    interval: str
    since: datetime | None
    until: datetime | None
    limit: int | None
    """The newest bars of each symbol; None: all."""


@click.command("bars")
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...", shell_complete=complete_symbols)
@interval_option
@click.option("--from", "start", metavar="TIME", help="First open time: 2026-05-08, 2026-05-08T14:30, -6h.")
@click.option("--to", "end", metavar="TIME", help="Exclusive end of open times.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=_LIMIT_MAX),
    help="Maximum number of bars of each symbol, the newest ones. "
    f"[default: {_TABLE_LIMIT} in a table on standard output without --from, else all]",
)
@output_options
@optional_target_option
@tz_option
@data_dir_option
@stored_history_options(selects=False)
def command(
    symbols: tuple[str, ...],
    interval: str,
    start: str | None,
    end: str | None,
    limit: int | None,
    result_output: ResultOutput,
    target: Target | None,
    zone: tzinfo,
    data_dir: Path,
    history: parts.StoredHistory | None,
) -> None:
    """Print closed bars of each SYMBOL, oldest first, newest revision of each.

    Reads the files of the data directory, whether or not a daemon is running, or with --history those of an object
    store. Several symbols come one after the
    other, in the order given; lower case is accepted. For example:

        candled bars BTCUSDT ETHUSDT --interval 1h --from -1d --output day.parquet
    """
    names = split_symbols(symbols)
    since = parse_time(start, zone, option="--from") if start else None
    until = parse_time(end, zone, option="--to") if end else None
    if since is not None and until is not None and until <= since:
        raise click.BadParameter("is not later than --from: give a later time", param_hint="--to")
    if limit is None and since is None and result_output.form == "table" and result_output.path is None:
        limit = _TABLE_LIMIT
    if history is not None and target is not None:
        raise click.UsageError("--history reads an object store and --address asks a daemon: give one of them.")
    wanted = _Wanted(interval, since, until, limit)
    read = _from_files(history or data_dir) if target is None else _from_daemon(target)
    rows = chain.from_iterable(read(name, wanted) for name in names)
    count = _write(rows, names, result_output, zone)
    if count == 0:
        end_line(f"candled: no closed {interval} bar of {', '.join(names)} in that time")
    else:
        result_output.report(count, "bar")


def _write(rows: Rows, names: Sequence[str], output: ResultOutput, zone: tzinfo) -> int:
    if output.form == "parquet":
        return _write_parquet(rows, output)
    columns: tuple[str, ...] = COLUMNS
    if output.form == "table":
        columns = ("symbol", *_TABLE_COLUMNS) if len(names) > 1 else _TABLE_COLUMNS
    chosen = [COLUMNS.index(column) for column in columns]
    selected = ([row[i] for i in chosen] for row in rows)
    return output.write(columns, selected, zone=zone, width=terminal_width(), spare=_LEFT_OUT_FIRST)


def _from_files(source: Path | parts.StoredHistory) -> Callable[[str, _Wanted], Rows]:
    def read(symbol: str, wanted: _Wanted) -> Rows:
        values = [wanted.interval, wanted.since or _FIRST, wanted.until or _LAST, symbol]
        query = f"SELECT {', '.join(COLUMNS)} FROM bars_between(?, ?, ?) WHERE symbol = ?"  # noqa: S608 (fixed words)
        if wanted.limit is not None:
            # A checked number.
            query = f"SELECT * FROM ({query} ORDER BY open_time DESC LIMIT {wanted.limit})"  # noqa: S608
        with parts.connect_history(_since(source, wanted), symbols=[symbol]) as connection:
            result = connection.execute(f"{query} ORDER BY open_time", values)
            found = False
            while page := result.fetchmany(_FETCH):
                found = True
                yield from page
        if not found:
            _check_symbol(source, symbol)

    return read


def _since(source: Path | parts.StoredHistory, wanted: _Wanted) -> Path | parts.StoredHistory:
    """Leave out files of an object store that end before the bars that are wanted."""
    if isinstance(source, Path) or wanted.since is None:
        return source
    return attrs.evolve(source, since=int(wanted.since.timestamp()) * 1_000_000)


def _check_symbol(source: Path | parts.StoredHistory, symbol: str) -> None:
    """Say so if there are no bars of a symbol at all.

    Raises:
        UserError: it has none.
    """
    where: object = source
    if isinstance(source, parts.StoredHistory):
        where, source = source.url, attrs.evolve(source, since=TIME_MAX)  # the last file of each symbol is enough
    with parts.connect_history(source, check=False) as connection:
        known = [row[0] for row in connection.execute(STORED_SYMBOLS).fetchall()]
    if symbol not in known:
        raise UserError(f"No bars of {symbol} in {where}: it has {', '.join(known) or 'no bars yet'}.")


def _from_daemon(target: Target) -> Callable[[str, _Wanted], Rows]:
    def read(symbol: str, wanted: _Wanted) -> Rows:
        bars: list[Sequence[Any]] = []

        async def fetch() -> None:
            async with parts.open_client(target) as client:
                found = await client.get_bars(
                    symbol, wanted.interval, wanted.since, wanted.until, limit=wanted.limit
                )
                bars.extend([getattr(bar, column) for column in COLUMNS] for bar in found)

        run_trio(fetch)
        return iter(bars)

    return read


def _write_parquet(rows: Rows, output: ResultOutput) -> int:
    import pyarrow as pa

    from candled.client.bars import arrow_schema

    schema = arrow_schema()
    assert tuple(schema.names) == COLUMNS
    first = list(islice(rows, 1))  # before the writer is open: an error in the first row writes nothing
    rows = chain(first, rows)
    count = 0
    with output.parquet_writer(schema) as writer:
        while page := list(islice(rows, _FETCH)):
            count += len(page)
            columns = [
                pa.array(values, field.type) for values, field in zip(zip(*page, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return count
