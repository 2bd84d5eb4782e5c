"""The interactive shell of ``candled sql``: history, completion, several lines per statement."""

import os
import re
from collections.abc import Callable
from datetime import tzinfo
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from candled.cli import parts
from candled.cli.output import terminal_width, write_rows
from candled.cli.sql_session import QueryError, SqlSession
from candled.cli.symbols import STORED_SYMBOLS

if TYPE_CHECKING:
    import duckdb

_PROMPT: Final = "candled> "
_MORE: Final = "    ...> "
_ROWS_MAX: Final = 200
"""Rows shown of one result; the rest is for a file."""
_HISTORY_MAX: Final = 2000
_DELIMITERS: Final = " \t\n,()=<>+-*/;"
_FORMATS: Final = ("table", "csv", "json")
_HELP: Final = """\
Statements end with ; and may have several lines. The view bars has every interval: DESCRIBE bars; lists columns.
Tab completes names, the arrow keys recall earlier statements, Ctrl-C drops the present one.
.format table|csv|json   how results are shown
.help                    this text
.quit                    leave, as Ctrl-D does"""
_WORDS: Final = """
SELECT DISTINCT keyword_name FROM duckdb_keywords()
UNION SELECT column_name FROM information_schema.columns WHERE table_name IN ('bars', 'minutes')
UNION SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name SIMILAR TO '[a-z_0-9]+'
UNION VALUES ('bars'), ('minutes'), ('bars_between')"""


def run_shell(connection: "duckdb.DuckDBPyConnection", zone: tzinfo) -> None:
    """Read statements from the terminal and show their results, until Ctrl-D or ``.quit``."""
    _edit_lines(completer(connection))
    session = SqlSession(connection)
    form = "table"
    click.echo("SQL over the view bars, read only. .help for help, Ctrl-D to leave.")
    while (text := _read()) is not None:
        if text.startswith("."):
            match text.rstrip(";").split():
                case [".quit" | ".exit"]:
                    return
                case [".format", name] if name in _FORMATS:
                    form = name
                case _:
                    click.echo(_HELP)
            continue
        try:
            _show(session, text, form, zone)
        except QueryError as error:
            click.echo(str(error), err=True)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)


def completer(connection: "duckdb.DuckDBPyConnection") -> Callable[[str], list[str]]:
    """Return a function that completes a word: names, functions and keywords; after a quote, symbols."""
    words: list[str] = []
    symbols: list[str] = []

    def complete(word: str) -> list[str]:
        if not words:
            cursor = connection.cursor()
            words.extend(sorted(row[0] for row in cursor.execute(_WORDS).fetchall()))
            symbols.extend(row[0] for row in cursor.execute(STORED_SYMBOLS).fetchall())
        if word.startswith("'"):
            return [f"'{symbol}'" for symbol in symbols if symbol.startswith(word[1:].upper())]
        upper = word[:1].isupper()
        found = [name for name in words if name.startswith(word.lower())]
        return [name.upper() if upper else name for name in found]

    return complete


def is_complete(text: str) -> bool:
    """Return whether typed lines are a complete statement: they end with a semicolon that is in no string."""
    outside = re.sub(r"'[^']*'|--[^\n]*", "", text)
    return "'" not in outside and outside.rstrip().endswith(";")


def history_file() -> Path:
    """Return where statements are remembered."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "candled" / "sql_history"


def _show(session: SqlSession, text: str, form: str, zone: tzinfo) -> None:
    for statement in session.parse(text):
        with parts.interruptible():
            result = session.run(statement)
            if result is None:
                continue
            rows = islice(result.rows, _ROWS_MAX)
            count = write_rows(result.columns, rows, form, zone=zone, width=terminal_width())
        if count == _ROWS_MAX and next(result.rows, None) is not None:
            click.echo(f"only {_ROWS_MAX} rows are shown: add LIMIT, or write a file with `candled sql --output`")


def _read() -> str | None:
    """Return the next statement or dot command; None at the end of input."""
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT)
        except EOFError:
            click.echo()
            return None
        except KeyboardInterrupt:
            click.echo()
            lines = []
            continue
        if not lines and not line.strip():
            continue
        lines.append(line)
        text = "\n".join(lines)
        if text.startswith(".") or is_complete(text):
            return text


def _edit_lines(complete: Callable[[str], list[str]]) -> None:
    """Set up history and completion, where Python has a line editor."""
    try:
        import readline
    except ImportError:
        return
    found: list[str] = []

    def candidate(word: str, number: int) -> str | None:
        if number == 0:
            found[:] = complete(word)
        return found[number] if number < len(found) else None

    readline.set_completer(candidate)
    readline.set_completer_delims(_DELIMITERS)
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    _remember(readline)


def _remember(readline: Any) -> None:
    import atexit

    file = history_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            readline.read_history_file(file)
    except OSError:
        return  # statements are then not remembered; the shell works
    readline.set_history_length(_HISTORY_MAX)
    atexit.register(readline.write_history_file, file)
