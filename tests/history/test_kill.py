"""kill -9 of a real process, again and again, with a reader at work: nothing acknowledged is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from candled.domain.interval import MINUTE
from candled.history import connect, open_history
from tests.history.bars import START
from tests.history.writing_process import STEP, SYMBOLS


async def live_and_die(path: Path, seconds: float) -> int | None:
    """Start the writing process, kill it some time later, and return the last number that it acknowledged."""
    command = [sys.executable, "-m", "tests.history.writing_process", str(path)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = b""
    serving = trio.Event()

    async def read() -> None:
        nonlocal output
        assert process.stdout is not None
        async for chunk in process.stdout:
            output += chunk
            serving.set()
        serving.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.fail_after(60):
            await serving.wait()
        assert output.startswith(b"serving"), f"it does not start (exit status {await process.wait()})"
        await trio.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    complete = [line for line in output.split(b"\n")[1:-1] if line]
    return int(complete[-1]) if complete else None


class Reader:
    """Queries all the time from this process, which the killed one knows nothing of."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self.queries = 0
        self._seen = 0

    async def run(self) -> None:
        while True:
            await trio.to_thread.run_sync(self._query)

    def _query(self) -> None:
        rows = self._connection.execute(
            "SELECT symbol, count(*), count(DISTINCT open_time), epoch_us(max(open_time)), sum(trade_count) "
            "FROM bars WHERE interval = '1m' GROUP BY symbol"
        ).fetchall()
        for symbol, count, distinct, last, trades in rows:
            assert count == distinct, f"a bar of {symbol} is doubled"
            assert count == (last - START) // MINUTE // STEP + 1, f"a bar of {symbol} is missing"
            assert trades == 3 * count
        bars = sum(row[1] for row in rows)
        assert bars >= self._seen, "bars have vanished"
        self._seen = bars
        self.queries += 1


def check(path: Path, acknowledged: int) -> None:
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


async def kill_again_and_again(path: Path, kills: int, seed: int, longest_seconds: float) -> None:
    rng = random.Random(seed)
    acknowledged = await live_and_die(path, 1.0)
    assert acknowledged is not None
    async with trio.open_nursery() as nursery:
        reader = Reader(path)
        nursery.start_soon(reader.run)
        for _ in range(kills):
            last = await live_and_die(path, rng.uniform(0.3, longest_seconds))
            acknowledged = acknowledged if last is None else last
        nursery.cancel_scope.cancel()
    assert reader.queries > kills
    async with open_history(path, exchange="x") as history:
        await history.publish()
    await trio.to_thread.run_sync(check, path, acknowledged)


async def test_a_killed_process_loses_nothing_and_its_reader_sees_nothing_wrong(tmp_path: Path) -> None:
    with trio.fail_after(55):
        await kill_again_and_again(tmp_path, 1, 1, 3.0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    kills = int(os.environ.get("CANDLED_KILLS", "20"))
    seed = int(os.environ.get("CANDLED_SEED", "0")) or random.randrange(1, 10**6)
    print(f"CANDLED_SEED={seed}")
    await kill_again_and_again(tmp_path, kills, seed, 6.0)
