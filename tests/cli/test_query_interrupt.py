"""Ctrl-C during a long query: the command ends at once, whatever DuckDB is doing."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
import trio

from candled.cli.query_interrupt import ending_on_ctrl_c
from candled.history import HistorySettings, open_history
from tests.history.bars import events, minute

SECONDS_MAX = 15.0
"""From Ctrl-C to the end of the process, on a busy machine. Without an interrupt these queries take hours."""

_COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from candled.__main__ import main
main()
"""
"""The command; where the tests run in a shell's background, Ctrl-C would be ignored otherwise."""
_NUMBERS = "CREATE TEMP TABLE n AS SELECT range::DOUBLE AS x FROM range(500)"
_LONG = "SELECT sum(p.x * q.x) AS total FROM bars, n p, n q, n r, n s WHERE p.x * q.x > r.x * s.x"
"""A join in which DuckDB does not look for signals by itself."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with two bars in Parquet."""
    path = tmp_path / "bars"

    async def store() -> None:
        async with open_history(path, exchange="x", settings=HistorySettings()) as history:
            await history.store(events([minute(0), minute(1)], history.epoch << 32))
            await history.publish()

    trio.run(store)
    return path


@contextmanager
def command(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], after_seconds: float) -> str:
    """Press Ctrl-C: what the command still prints, once it has ended in time and in silence."""
    time.sleep(after_seconds)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, errors) == (130, "")
    return output


def test_ctrl_c_ends_a_long_query(directory: Path) -> None:
    """A query that gives one row after hours ends with status 130 and without a traceback."""
    words = ("sql", f"{_NUMBERS}; SELECT 7 AS begun; {_LONG}", "--format", "csv", "--data-dir", str(directory))
    with command(_COMMAND, *words) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["begun\n", "7\n"]
        assert end(process, after_seconds=0.5).strip() == ""


def test_ctrl_c_leaves_no_file(directory: Path, tmp_path: Path) -> None:
    """What a long query was to be written to is not there, nor a part of it."""
    file = tmp_path / "total.parquet"
    words = ("sql", f"{_NUMBERS}; {_LONG}", "--output", str(file), "--data-dir", str(directory))
    with command(_COMMAND, *words) as process:
        end(process, after_seconds=3.0)  # into the query: nothing says when it begins
    assert [path.name for path in tmp_path.iterdir()] == ["bars"]


_SLOW_CHECK = f"""
import importlib, time
def slow(*_):
    print("checking", flush=True)
    for _ in range(600):  # a signal just before a sleep waits for its end
        time.sleep(0.1)
importlib.import_module("candled.history.query.connect")._check_files = slow
{_COMMAND}
"""


@pytest.mark.parametrize("words", [("sql", "SELECT count(*) FROM bars"), ("bars", "BTCUSDT")])
def test_ctrl_c_ends_the_check_of_files(directory: Path, words: tuple[str, ...]) -> None:
    """The files of a long history are checked before they are read: Ctrl-C ends that, too."""
    with command(_SLOW_CHECK, *words, "--data-dir", str(directory)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "checking\n"
        assert end(process, after_seconds=0.0) == ""


_LONG_CHECK = f"""
from candled.history import verify
def long(checks):
    checks._connection.execute("{_NUMBERS}")
    print("checking", flush=True)
    return checks._rows("SELECT 1 FROM n p, n q, n r, n s WHERE sin(p.x * q.x) + sin(r.x * s.x) > 3")
verify._Checks._holes = long
{_COMMAND}
"""
_SLOW_READING = f"""
import time
from candled.history import verify
def slow(*_):
    print("checking", flush=True)
    for _ in range(600):
        time.sleep(0.1)
verify.find_damaged = slow
{_COMMAND}
"""


@pytest.mark.parametrize(("code", "after_seconds"), [(_LONG_CHECK, 0.5), (_SLOW_READING, 0.0)])
def test_ctrl_c_ends_verify(directory: Path, code: str, after_seconds: float) -> None:
    """Between two files, and in the middle of a query that finds nothing: status 130 and no output."""
    with command(code, "verify", "--data-dir", str(directory)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "checking\n"
        assert end(process, after_seconds) == ""


def test_interrupts_end_with_the_context() -> None:
    """Afterwards signals go where they went before, and no thread is left."""
    with duckdb.connect() as connection:
        threads = threading.active_count()
        with ending_on_ctrl_c(connection):
            pass
        assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_other_threads_query_without_interrupts() -> None:
    """Only the main thread handles signals: elsewhere the context does nothing."""
    found: list[object] = []

    def query() -> None:
        with duckdb.connect() as connection, ending_on_ctrl_c(connection):
            found.append(connection.execute("SELECT 1").fetchone())

    thread = threading.Thread(target=query)
    thread.start()
    thread.join()
    assert found == [(1,)]
