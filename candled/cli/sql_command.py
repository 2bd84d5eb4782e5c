"""``candled sql``: query the stored bars, whether or not a daemon is running."""

import sys
from datetime import tzinfo
from pathlib import Path

import click

from candled.cli import parts
from candled.cli.output import write_rows
from candled.cli.result_output import ResultOutput, output_options
from candled.cli.settings_options import data_dir_option
from candled.cli.sql_session import SqlSession, Statement
from candled.cli.stored_history_option import stored_history_options
from candled.cli.times import tz_option
from candled.errors import UserError


@click.command("sql")
@click.argument("query", required=False)
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of statements; may be repeated.",
)
@output_options
@tz_option
@data_dir_option
@stored_history_options(selects=True)
def command(
    query: str | None,
    files: tuple[Path, ...],
    result_output: ResultOutput,
    zone: tzinfo,
    data_dir: Path,
    history: parts.StoredHistory | None,
) -> None:
    """Run QUERY, in DuckDB's SQL, over the view `bars`; without one, open a shell.

    The view has one row for each closed bar of every interval, newest revision, in no order: end with ORDER BY.
    Prices and volumes are exact DECIMALs; in JSON they are strings. Several statements are separated by `;`; they
    can also come from --file or from standard input (QUERY is `-`, or missing in a pipe). Nothing is changed: only
    temporary views and tables can be created. For example:

        candled sql "SELECT symbol, max(high) FROM bars WHERE interval = '1h' GROUP BY symbol ORDER BY symbol"
    """
    text = _text(query, files)
    with parts.connect_history(history or data_dir) as connection:
        if text is None:
            from candled.cli.sql_shell import run_shell

            run_shell(connection, zone)
            return
        session = SqlSession(connection)
        statements = session.parse(text)
        if not statements:
            raise UserError('There is no statement to run: give one, such as "SELECT * FROM bars LIMIT 5".')
        if result_output.path is not None or result_output.form == "parquet":
            _write_one(session, statements, result_output, zone)
        else:
            _print_all(session, statements, result_output.form, zone)


def _text(query: str | None, files: tuple[Path, ...]) -> str | None:
    """Return the statements to run; None to ask for them in a shell."""
    texts = [_read(file) for file in files]
    if query == "-" or (query is None and not files and not sys.stdin.isatty()):
        texts.append(sys.stdin.read())
    elif query is not None:
        texts.append(query)
    return ";\n".join(texts) if texts else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"File {file} cannot be read: {reason}; name another with --file.") from error


def _print_all(session: SqlSession, statements: list[Statement], form: str, zone: tzinfo) -> None:
    printed = False
    for statement in statements:
        result = session.run(statement)
        if result is None:
            continue
        if printed:
            click.echo()
        write_rows(result.columns, result.rows, form, zone=zone)
        printed = True


def _write_one(session: SqlSession, statements: list[Statement], output: ResultOutput, zone: tzinfo) -> None:
    """Write the one result of the statements to a file, or as Parquet."""
    giving = [statement for statement in statements if statement.gives_rows]
    if len(giving) != 1:
        raise UserError(f"The statements have {len(giving)} results, and a file holds one: give one query.")
    for statement in statements:
        if statement.gives_rows:
            count = _write(session, statement, output, zone)
        else:
            session.run(statement)
    output.report(count, "row")


def _write(session: SqlSession, statement: Statement, output: ResultOutput, zone: tzinfo) -> int:
    if output.form == "parquet":
        return _write_parquet(session, statement, output)
    result = session.run(statement)
    assert result is not None
    return output.write(result.columns, result.rows, zone=zone)


def _write_parquet(session: SqlSession, statement: Statement, output: ResultOutput) -> int:
    result = session.run_arrow(statement)
    count = 0
    with output.parquet_writer(result.schema) as writer:
        for batch in result.batches:
            count += batch.num_rows
            writer.write_batch(batch)
    return count
