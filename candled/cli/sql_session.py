"""Run SQL statements that only read, one after the other, with DuckDB's own explanation of what is wrong."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from candled.cli import parts
from candled.errors import UserError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_READING: Final = frozenset({"SELECT", "EXPLAIN", "PRAGMA", "SET", "VARIABLE_SET", "MULTI"})
"""Types of statements that change nothing. MULTI is a PIVOT."""
_GIVING_ROWS: Final = frozenset({"SELECT", "EXPLAIN", "PRAGMA", "MULTI"})
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?:\([^)]*\)\s*)?", re.IGNORECASE)
_TEMPORARY: Final = re.compile(r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP|TEMPORARY)\s", re.IGNORECASE)
_FETCH: Final = 10_000


class QueryError(UserError):
    """A statement cannot be run; the text has DuckDB's candidates and caret, on lines of their own."""


@attrs.frozen
class Statement:
    """One statement that may be run."""

    text: str
    gives_rows: bool


@attrs.frozen
class Result:
    """The columns of a statement's result, and its rows as they are read."""

    columns: list[str]
    rows: Iterator[Sequence[Any]]


@attrs.frozen
class ArrowResult:
    """The types of a statement's result, and its rows in batches as they are read."""

    schema: "pa.Schema"
    batches: "Iterator[pa.RecordBatch]"


class SqlSession:
    """Statements on one connection. Views and tables of the user's own are temporary; nothing else is created."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection

    def parse(self, text: str) -> list[Statement]:
        """Split text into statements.

        Raises:
            QueryError: it is not SQL, or one of them would change something.
        """
        statements = []
        for found in self._extract(text):
            kind = found.type.name
            if not self._only_reads(kind, found.query):
                raise QueryError(
                    f"{kind.replace('_', ' ')} is refused: candled sql only reads. --output FILE writes a result; "
                    "CREATE TEMP VIEW and CREATE TEMP TABLE last as long as the command."
                )
            statements.append(Statement(found.query, kind in _GIVING_ROWS))
        return statements

    def run(self, statement: Statement) -> Result | None:
        """Run a statement; None if it gives no rows.

        Raises:
            QueryError: it fails, at once or while its rows are read.
        """
        with _explaining():
            result = self._connection.execute(statement.text)
        if not statement.gives_rows or result.description is None:
            return None
        return Result([column[0] for column in result.description], self._rows(result))

    def run_arrow(self, statement: Statement) -> ArrowResult:
        """Run a statement that gives rows.

        Raises:
            QueryError: it fails, at once or while its batches are read.
        """
        with _explaining():
            reader = self._connection.sql(statement.text).to_arrow_reader(_FETCH)
        return ArrowResult(reader.schema, self._batches(reader))

    def _rows(self, result: "duckdb.DuckDBPyConnection") -> Iterator[Sequence[Any]]:
        while True:
            with _explaining():
                page = result.fetchmany(_FETCH)
            if not page:
                return
            yield from page

    def _batches(self, reader: "pa.RecordBatchReader") -> "Iterator[pa.RecordBatch]":
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except OSError as error:  # Arrow's class for what the source of a stream reports
                raise _explained(error) from error
            yield batch

    def _extract(self, text: str) -> "list[duckdb.Statement]":
        with _explaining():
            return self._connection.extract_statements(text)

    def _only_reads(self, kind: str, query: str) -> bool:
        if kind == "EXPLAIN":  # EXPLAIN ANALYZE runs what it explains
            explained = self._extract(query[match.end() :] if (match := _EXPLAIN.match(query)) else "")
            return bool(explained) and all(each.type.name == "SELECT" for each in explained)
        return kind in _READING or (kind == "CREATE" and _TEMPORARY.match(query) is not None)


@contextmanager
def _explaining() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if parts.is_interrupt(error):
            raise
        raise _explained(error) from error


def _explained(error: Exception) -> UserError:
    return parts.damaged_file(error) or QueryError(f"The query failed: {str(error).strip()}")
