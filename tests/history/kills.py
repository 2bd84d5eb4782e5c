"""kill -9 of a real process, again and again, with a reader at work: at random instants, or at system calls."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import duckdb
import trio

from candled.domain.interval import MINUTE
from candled.history import connect, open_history
from tests.history.bars import START
from tests.history.writing_process import SETTINGS, STEP, SYMBOLS

CALLS: Final = {
    "write": "write,pwrite64,writev,pwritev",
    "fsync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat",
}
"""System calls that change or sync files, by kind."""
STRACE: Final = shutil.which("strace")
"""Kills a process at a system call: before it is carried out."""
PATIENCE: Final = 120.0


@attrs.frozen
class Kill:
    """When to kill: some seconds and numbers after it serves, or at the nth call of a kind, before it."""

    seconds: float = 0.0
    numbers: int = 0
    kind: str = ""
    nth: int = 0


@attrs.define
class Tally:
    """What was done and seen."""

    kills: int = 0
    at_calls: Counter[str] = attrs.Factory(Counter)
    """Kills at system calls, by call and kind of file."""
    acknowledged: int = -1
    """The last number that was."""
    queries: int = 0
    queries_outlasted: int = 0
    """Those that took longer than replaced files stay, and so found one gone: they were asked again."""


def kills_at_random(count: int, rng: random.Random, longest_seconds: float) -> Iterator[Kill]:
    """``count`` kills, each some time after the process serves."""
    for _ in range(count):
        yield Kill(seconds=rng.uniform(0.0, longest_seconds))


def kills_at_calls(count: int) -> Iterator[Kill]:
    """``count`` kills, a fourth of them at each kind of call: at the first one, the second one, and so on.

    Writes, of which there are many, by fives.
    """
    for number in range(count):
        kind, nth = list(CALLS)[number % len(CALLS)], number // len(CALLS)
        yield Kill(kind=kind, nth=1 + (5 * nth if kind == "write" else nth))


async def kill_again_and_again(path: Path, kills: Sequence[Kill], tally: Tally) -> None:
    """Let one process after another write to ``path`` and kill it, while a reader queries without a pause.

    Raises:
        AssertionError: an acknowledged bar is lost, or one is doubled, or a query was answered wrong.
    """
    await _live_and_die(path, Kill(seconds=1.0), tally)
    assert tally.acknowledged >= 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_Reader(path, tally).run)
        for kill in kills:
            queries = tally.queries
            await _live_and_die(path, kill, tally)
            tally.kills += 1
            while tally.queries == queries:  # on a busy machine: no life without a query
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    async with open_history(path, exchange="x") as history:
        await history.publish()
    await trio.to_thread.run_sync(_check, path, tally.acknowledged)


async def _live_and_die(path: Path, kill: Kill, tally: Tally) -> None:
    """Start the writing process, and kill it as said; what it found at its start is all that was acknowledged."""
    command = [sys.executable, "-m", "tests.history.writing_process", str(path)]
    trace = path.with_name(path.name + ".strace")
    if kill.kind:
        assert STRACE is not None
        inject = f"inject={CALLS[kill.kind]}:signal=KILL:when={kill.nth}"
        options = ["-f", "-qq", "-y", "-o", str(trace), "-e", f"trace={CALLS[kill.kind]}"]
        command = [STRACE, *options, "-e", inject, *command]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    output = b""
    serving = trio.Event()

    async def read() -> None:
        nonlocal output
        assert process.stdout is not None
        async for chunk in process.stdout:
            output += chunk
            if output.count(b"\n") > kill.numbers:
                serving.set()
        serving.set()

    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                if not kill.kind:
                    await serving.wait()
                    await trio.sleep(kill.seconds)
                    process.send_signal(signal.SIGKILL)
                await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what strace traces lives on without it
    if kill.kind:
        tally.at_calls[_call_in(trace)] += 1
    assert process.returncode == -signal.SIGKILL, f"it ended by itself, with {process.returncode}"
    said = [int(line) for line in output.split(b"\n")[:-1]]
    if said:  # else it was killed before it served
        assert said[0] >= tally.acknowledged, (
            f"{tally.acknowledged} was acknowledged, and the next start has {said[0]}"
        )
        tally.acknowledged = said[-1]


def _call_in(trace: Path) -> str:
    """Which call the killed one was about to make, and on what: the one that strace could not see the end of."""
    unfinished = [
        line for line in trace.read_text("utf-8", "replace").splitlines() if line.rstrip().endswith("= ?")
    ]
    match = re.search(r"\d+ +(\w+)\((.*)", unfinished[-1] if unfinished else "")
    if match is None:
        return "a call that was not seen"
    places = ("candled.duckdb", "recent/", "bars/", "empty/", "candled.json", "candled.lock", "pipe:", "socket:")
    return f"{match[1]} {next((place for place in places if place in match[2]), 'another file')}"


class _Reader:
    """Queries all the time from this process, which the killed one knows nothing of."""

    def __init__(self, path: Path, tally: Tally) -> None:
        self._connection = connect(path)
        self._tally = tally
        self._seen = 0

    async def run(self) -> None:
        while True:
            await trio.to_thread.run_sync(self._query)

    def _query(self) -> None:
        begun = time.monotonic()
        try:
            rows = self._connection.execute(
                "SELECT symbol, count(*), count(DISTINCT open_time), epoch_us(max(open_time)), sum(trade_count) "
                "FROM bars WHERE interval = '1m' GROUP BY symbol"
            ).fetchall()
        except duckdb.IOException:
            if time.monotonic() - begun < SETTINGS.grace:
                raise
            self._tally.queries_outlasted += 1
            return
        for symbol, count, distinct, last, trades in rows:
            assert count == distinct, f"a bar of {symbol} is doubled"
            assert count == (last - START) // MINUTE // STEP + 1, f"a bar of {symbol} is missing"
            assert trades == 3 * count
        bars = sum(row[1] for row in rows)
        assert bars >= self._seen, "bars have vanished"
        self._seen = bars
        self._tally.queries += 1


def _check(path: Path, acknowledged: int) -> None:
    with connect(path) as connection:
        rows = connection.execute(
            "SELECT symbol, count(*), count(DISTINCT open_time), epoch_us(max(open_time)), sum(revision) "
            "FROM bars WHERE interval = '1m' GROUP BY symbol"
        ).fetchall()
    assert {row[0] for row in rows} == set(SYMBOLS)
    for symbol, count, distinct, last, revisions in rows:
        number = (last - START) // MINUTE
        assert number >= acknowledged
        assert count == distinct == number // STEP + 1
        # Every seventh number revised the bar thirty before it.
        revised = sum(1 for late in range(0, number - 30 * STEP + 1, STEP) if (late + 30 * STEP) % 7 == 0)
        assert revisions == (revised if symbol == "BTCUSDT" else 0)
