"""``candled sql``: a query over the history, while a daemon writes it or when none runs."""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

import click

from candled.cli import parts
from candled.cli.output import write_rows
from candled.cli.settings_options import data_dir_option
from candled.cli.times import tz_option
from candled.errors import UserError

_FETCH: Final = 10_000


@click.command("sql")
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@tz_option
@data_dir_option
def command(query: str, form: str, zone: tzinfo, data_dir: Path) -> None:
    """Answer QUERY, DuckDB's SQL over the view `bars`.

    One row for each closed bar of every interval, newest revision. Prices and volumes are exact DECIMALs; in JSON
    they are strings. For example:

        candled sql "SELECT symbol, max(high) FROM bars WHERE interval = '1h' GROUP BY symbol"
    """
    import duckdb

    with parts.connect_history(data_dir) as connection:
        try:
            result = connection.execute(query)
        except duckdb.Error as error:
            raise UserError(f"The query failed: {_first_line(error)}") from error
        if result is None or result.description is None:
            return
        write_rows([column[0] for column in result.description], _rows(result), form, zone=zone)


def _rows(result: Any) -> Iterator[Sequence[Any]]:
    while page := result.fetchmany(_FETCH):
        yield from page


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
