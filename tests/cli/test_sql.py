"""``candled sql``: statements from everywhere, results in every form, and nothing changed."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from candled.cli import parts
from candled.cli.main import main
from candled.cli.sql_session import QueryError, SqlSession
from candled.cli.sql_shell import completer, is_complete
from tests.cli import fakes
from tests.cli.demo import CANDLED, demo
from tests.cli.fakes import Invoke
from tests.cli.test_watch_terminal import terminal


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)
    bars = fakes.minutes(3) + fakes.minutes(2, "ETHUSDT")
    monkeypatch.setattr(parts, "connect_history", lambda _data_dir, **_options: fakes.history(bars))
    return lambda *arguments, input=None: CliRunner().invoke(  # noqa: A006 (click's own name)
        main, ["sql", *arguments], input=input, prog_name="candled", catch_exceptions=False
    )


@pytest.fixture
def session() -> SqlSession:
    return SqlSession(fakes.history(fakes.minutes(2)))


def test_an_error_keeps_the_candidates_and_the_caret(invoke: Invoke) -> None:
    """DuckDB's hint, the line and the caret beneath it reach the user unharmed."""
    result = invoke("SELECT hih FROM bars")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("candled: The query failed: Binder Error")
    assert any("high" in line for line in lines[1:])
    line, caret = lines[-2:]
    assert line == "LINE 1: SELECT hih FROM bars"
    assert caret.index("^") == line.index("hih")
    assert set(caret.strip()) == {"^"}


def test_several_statements_each_show_their_result(invoke: Invoke) -> None:
    """A semicolon separates statements; a temporary view lasts until the end."""
    query = (
        "CREATE TEMP VIEW eth AS FROM bars WHERE symbol = 'ETHUSDT'; SELECT count(*) AS n FROM eth; SELECT 7 AS x;"
    )
    assert invoke(query).stdout.split() == ["n", "2", "x", "7"]


def test_statements_come_from_a_pipe_or_from_files(invoke: Invoke) -> None:
    """Standard input and --file are as good as an argument."""
    assert invoke(input="SELECT count(*) AS n FROM bars").stdout.split() == ["n", "5"]
    assert invoke("-", input="SELECT count(*) AS n FROM bars").stdout.split() == ["n", "5"]
    Path("view.sql").write_text("CREATE TEMP VIEW eth AS FROM bars WHERE symbol = 'ETHUSDT'")
    Path("count.sql").write_text("SELECT count(*) AS n FROM eth; -- the end")
    assert invoke("-f", "view.sql", "--file", "count.sql").stdout.split() == ["n", "2"]
    assert "No such file" in invoke("-f", "none.sql").stderr
    assert "no statement" in invoke(input="").stderr


def test_parquet_keeps_the_types_of_the_query(invoke: Invoke) -> None:
    """Decimals stay decimals in a file named .parquet."""
    result = invoke("SELECT open_time, volume FROM bars ORDER BY symbol, open_time", "--output", "x.parquet")
    assert result.stderr == "candled: 5 rows written to x.parquet\n"
    assert str(pq.read_schema("x.parquet").field("volume").type) == "decimal128(38, 8)"


def test_a_late_error_in_parquet(invoke: Invoke) -> None:
    """An error while batches are read is the query's, not the file's, and leaves no file."""
    query = "SELECT CASE WHEN range = 50000 THEN error('late') ELSE 1 END FROM range(600000)"
    for arguments in (["--output", "x.parquet"], ["--format", "parquet"]):
        result = invoke(query, *arguments)
        assert result.exit_code == 1
        assert result.stderr == "candled: The query failed: Invalid Input Error: late.\n"
    assert list(Path().iterdir()) == []


def test_json_in_a_file(invoke: Invoke) -> None:
    """The ending of the name is the format."""
    invoke("SELECT 1 AS a", "--output", "x.json")
    assert json.loads(Path("x.json").read_text()) == [{"a": 1}]


def test_a_file_holds_one_result(invoke: Invoke) -> None:
    """Two results in one file are refused before it is made."""
    assert "have 2 results" in invoke("SELECT 1; SELECT 2", "--output", "x.csv").stderr
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP VIEW bars", "CREATE TABLE t AS SELECT 1", "INSERT INTO bars SELECT * FROM bars", "DELETE FROM bars",
        "COPY bars TO 'out.csv'", "ATTACH 'other.db'", "EXPORT DATABASE 'out'", "INSTALL httpfs",
        "EXPLAIN ANALYZE DELETE FROM bars", "EXPLAIN (ANALYZE) DELETE FROM bars",
        "SELECT 1; UPDATE bars SET open = 0",
    ],
)  # fmt: skip
def test_what_changes_something_is_refused(session: SqlSession, statement: str, tmp_path: Path) -> None:
    """No statement of a text runs if one of them would write."""
    with pytest.raises(QueryError, match="only reads"):
        session.parse(statement)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "FROM bars", "WITH b AS (FROM bars) FROM b", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT 1",
        "DESCRIBE bars", "SHOW TABLES", "SUMMARIZE bars",
        "PIVOT bars ON symbol USING max(high) GROUP BY open_time", "SET threads = 1",
        "CREATE OR REPLACE TEMP TABLE t AS FROM bars",
    ],
)  # fmt: skip
def test_what_reads_runs(session: SqlSession, statement: str) -> None:
    """Reading in every form that DuckDB has is allowed."""
    for each in session.parse(statement):
        if result := session.run(each):
            assert list(result.rows)


def test_an_error_amid_the_rows_is_explained(session: SqlSession) -> None:
    """A statement that fails while its rows are read is a sentence, too."""
    query = "SELECT CASE WHEN range = 50000 THEN error('late') ELSE 1 END FROM range(60000)"
    [statement] = session.parse(query)
    result = session.run(statement)
    assert result is not None
    with pytest.raises(QueryError, match="late"):
        list(result.rows)


def test_names_and_symbols_are_completed() -> None:
    """Columns, views, keywords in the case begun; symbols after a quote."""
    complete = completer(fakes.history(fakes.minutes(1) + fakes.minutes(1, "ETHUSDT")))
    assert "taker_buy_volume" in complete("taker")
    assert "bars_between" in complete("bars")
    assert "SELECT" in complete("SEL")
    assert complete("'eth") == ["'ETHUSDT'"]


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT ';';", True),
        ("SELECT 1; -- x", True),
    ],
)
def test_a_statement_ends_with_its_semicolon(text: str, complete: bool) -> None:
    """A semicolon in a string or before a comment is not the end of a statement."""
    assert is_complete(text) is complete


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no terminal: tmux is not installed")
def test_the_shell_in_a_terminal(tmp_path: Path) -> None:
    """Statements over several lines, completion, recall in a second shell; an error does not end it."""
    with demo(tmp_path):
        data = str(tmp_path / "candled-demo-data")
        command = ("env", f"XDG_STATE_HOME={tmp_path}", *CANDLED, "sql", "--data-dir", data)
        for name in ("first", "second"):
            with terminal(f"candled-sql-{name}", *command) as window:
                window.shows("candled>")
                if name == "first":
                    window.tmux("send-keys", "SELECT nothing_like_it\\;", "Enter")
                    window.shows("Binder Error", "^^^")
                    window.tmux("send-keys", "SELECT count(*) > 1 AS answer, taker_buy_v", "Tab", "Enter")
                    window.shows("taker_buy_volume", "...>")
                    window.tmux("send-keys", "FROM bars GROUP BY 2 ORDER BY 2 LIMIT 1\\;", "Enter")
                    window.shows("answer  taker_buy_volume")
                else:
                    window.tmux("send-keys", "Up", "Up")
                    window.shows("LIMIT 1;")
                window.tmux("send-keys", "C-u", ".quit", "Enter")
                window.gone()
