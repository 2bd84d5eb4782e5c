"""The history on a real S3 server: kills, lost volumes, two writers, and a store that fails in every way."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.restoring import list_files
from tests.acceptance import processes
from tests.acceptance.processes import (
    NINE,
    RunningDaemon,
    RunningExchange,
    official,
    one_sentence,
    open_daemon,
    open_exchange,
    run_candled,
)
from tests.acceptance.s3_server import KEYS, bucket_at, open_link, s3_server
from tests.history.objects.kills import STEPS, Round, read_minutes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPEED = 300
RATE = 0.2
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
            patch.setitem(processes.ENVIRONMENT, name, value)
        with s3_server(tmp_path_factory.mktemp("s3")) as address:
            yield address


@pytest.fixture(scope="module")
def stored(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a few bars, whose copy is below the prefix ``read``."""
    data_dir = tmp_path_factory.mktemp("stored") / "data"
    trio.run(one_good_life, data_dir, server, "read")
    return data_dir


def clock_options() -> tuple[str, ...]:
    """Options of an exchange whose clock runs fast."""
    return (f"--speed={SPEED}", f"--rate={RATE}", f"--symbols={','.join(SYMBOLS)}")


def store_options(address: str, prefix: str) -> tuple[str, ...]:
    """Options of a daemon that keeps bars of every kind on the move."""
    return (
        *(f"--history-url=s3://candled-test/{prefix}", f"--history-endpoint=http://{address}"),
        *("--publish-delay=0.1", "--superseded-grace=3", "--seal-delay=0", f"--symbols={','.join(SYMBOLS)}"),
    )


async def klines(exchange: RunningExchange, symbol: str, first: int, last: int) -> dict[int, dict[str, Any]]:
    """The exchange's own bars by open time in seconds."""
    found: dict[int, dict[str, Any]] = {}
    async with httpx.AsyncClient(base_url=exchange.rest, timeout=30) as http:
        start = first
        while start <= last:
            params: dict[str, str | int] = {
                "symbol": symbol,
                "interval": "1m",
                "startTime": start * 1000,
                "limit": 1000,
            }
            page = (await http.get("/api/v3/klines", params=params)).json()
            found |= {row[0] // 1000: official(row) for row in page if row[0] // 1000 <= last}
            start = page[-1][0] // 1000 + 60
    return found


async def check(exchange: RunningExchange, rows: dict[tuple[str, int], Any]) -> int:
    """Compare bars with the exchange's, all nine fields; none may be missing. Returns how many there were."""
    count = 0
    for symbol in SYMBOLS:
        mine = {open_time: row for (name, open_time), row in rows.items() if name == symbol}
        theirs = await klines(exchange, symbol, min(mine), max(mine))
        assert set(mine) == set(theirs)
        for open_time, row in mine.items():
            assert [Decimal(row[name]) for name in NINE] == [Decimal(theirs[open_time][name]) for name in NINE]
            count += 1
    return count


async def metric(daemon: RunningDaemon, name: str) -> float:
    async with httpx.AsyncClient(timeout=30) as http:
        text = (await http.get(f"http://{daemon.http}/metrics")).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


async def until_above(daemon: RunningDaemon, name: str, value: float) -> None:
    """Wait until a metric is above a value."""
    with trio.fail_after(300):
        while await metric(daemon, name) <= value:
            await trio.sleep(0.1)


async def until_caught_up(daemon: RunningDaemon) -> None:
    """Wait until something was put, and nothing waits."""
    with trio.fail_after(300):
        while await metric(daemon, "candled_upload_files_total") < 3 or await metric(
            daemon, "candled_upload_files_waiting"
        ):
            await trio.sleep(0.1)


async def one_good_life(data_dir: Path, address: str, prefix: str) -> None:
    """Store a few bars, and stop in order."""
    async with (
        open_exchange(*clock_options()) as exchange,
        open_daemon(exchange, data_dir, *store_options(address, prefix)) as daemon,
    ):
        await until_caught_up(daemon)
        assert await daemon.stop() == 0


async def test_kills_at_every_step_lose_nothing(server: str, tmp_path: Path) -> None:
    """kill -9 in storing, uploading, deleting and restoring, many of them with the volume.

    Every count: ``python -m benchmarks.object_kills``.
    """
    rounds = Round(server, tmp_path, "kills", random.Random(14))
    await rounds.run()
    assert sum(rounds.killed.values()) == len(STEPS)


async def test_a_daemon_continues_on_another_machine(server: str, tmp_path: Path) -> None:
    """Killed, and started on an empty directory each time: every bar is the exchange's kline, none is missing."""
    async with open_exchange(*clock_options()) as exchange:
        for life in range(3):
            async with open_daemon(exchange, tmp_path / f"{life}", *store_options(server, "moves")) as daemon:
                await until_caught_up(daemon)
                daemon.running.process.kill()
        async with open_daemon(exchange, tmp_path / "last", *store_options(server, "moves")) as daemon:
            assert "history restored" in daemon.running.text
            await until_caught_up(daemon)
            assert await daemon.stop() == 0
        rows = read_minutes("s3://candled-test/moves", server, tmp_path / "cache")
        assert rows == read_minutes(tmp_path / "last")
        assert await check(exchange, rows) > 10


async def test_a_second_writer_takes_over(server: str, tmp_path: Path) -> None:
    """The first one serves on, and puts nothing any more; nothing is doubled."""
    async with open_exchange(*clock_options()) as exchange:
        async with open_daemon(exchange, tmp_path / "a", *store_options(server, "two")) as first:
            await until_caught_up(first)
            async with open_daemon(exchange, tmp_path / "b", *store_options(server, "two")) as second:
                await first.running.said("upload stopped")
                assert await metric(first, "candled_upload_stopped") == 1
                await until_caught_up(second)
                assert await first.stop() == 0
                assert await second.stop() == 0
        rows = read_minutes("s3://candled-test/two", server, tmp_path / "cache")
        assert rows == read_minutes(tmp_path / "b")
        assert await check(exchange, rows) > 5


@pytest.mark.usefixtures("stored")
async def test_another_exchange_is_refused(server: str, tmp_path: Path) -> None:
    """A new directory is not filled with bars of another market."""
    before = list_files(bucket_at(server, "read"))
    async with open_exchange(*clock_options(), "--seed=2") as other:
        options = processes.daemon_options(other, tmp_path / "b")
        done = await run_candled("run", *options, *store_options(server, "read"))
    assert done.returncode == 1
    assert "use another prefix" in one_sentence(done.stderr)
    assert list_files(bucket_at(server, "read")) == before


async def test_commands_read_the_store(server: str, stored: Path, tmp_path: Path) -> None:
    """``sql``, ``verify`` and ``restore`` work with the ecosystem's keys, and say what is wrong without them."""
    url, endpoint = "s3://candled-test/read", f"--history-endpoint=http://{server}"
    where = (f"--history={url}", endpoint, f"--cache-dir={tmp_path}/cache")
    query = "SELECT count(*) AS bars FROM bars WHERE interval = '1m'"
    local = await run_candled("sql", query, "--format=json", f"--data-dir={stored}")
    remote = await run_candled("sql", query, "--format=json", *where)
    assert remote.stdout == local.stdout
    verified = await run_candled("verify", "--format=json", *where)
    assert '"damaged file"' not in verified.stdout
    restored = await run_candled("restore", f"--history-url={url}", endpoint, f"--data-dir={tmp_path}/restored")
    assert "files restored" in restored.stdout
    assert read_minutes(tmp_path / "restored") == read_minutes(stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(processes.ENVIRONMENT, "AWS_SECRET_ACCESS_KEY", "wrong")
        refused = await run_candled("sql", query, *where)
    assert "refuses access (SignatureDoesNotMatch): check its keys" in one_sentence(refused.stderr)


def test_one_of_many_creators_wins(server: str) -> None:
    """Put-if-absent is the server's own: what the others have is not there for a moment either."""
    bucket = bucket_at(server, "race")
    with ThreadPoolExecutor(8) as pool:
        for key in range(4):
            won = list(pool.map(lambda writer, key=key: bucket.put(f"{key}", bytes([writer])), range(8)))
            assert sum(won) == 1
            assert bucket.get(f"{key}") == bytes([won.index(True)])


@pytest.mark.parametrize(
    ("fault", "says"),
    [("away", ""), ("busy", "503"), ("cut", ""), ("full", "507"), ("quota", "QuotaExceeded")],
)
async def test_a_failing_store_is_an_error_and_heals(server: str, fault: str, says: str) -> None:
    """The text has what the store says, and no signature."""
    async with open_link(server) as link:
        link.fault = fault
        bucket = bucket_at(link.address, f"faults-{fault}")
        with pytest.raises(ObjectStoreError, match=says or None) as refused:
            await trio.to_thread.run_sync(bucket.put, "x", b"y" * 100_000)
        assert len(one_sentence(f"candled: {refused.value}\n")) < 300
        link.fault = ""
        await trio.to_thread.run_sync(bucket.put, "x", b"y" * 100_000)
        assert await trio.to_thread.run_sync(bucket.get, "x") == b"y" * 100_000


async def test_bars_close_while_the_store_fails(server: str, tmp_path: Path) -> None:
    """Fault after fault: each minute is stored, the age of the copy is shown, and then everything is there."""
    async with open_exchange(*clock_options()) as exchange, open_link(server) as link:
        options = store_options(link.address, "failing")
        async with open_daemon(exchange, tmp_path / "data", *options) as daemon:
            await until_caught_up(daemon)
            for fault in ("slow", "busy", "cut", "full", "quota", "hang", "away"):
                before, met = await metric(daemon, "candled_stored_rows_total"), link.hits
                link.fault = fault
                await until_above(daemon, "candled_stored_rows_total", before + 8)
                with trio.fail_after(300):
                    while link.hits == met:
                        await trio.sleep(0.05)
                if fault == "away":
                    await until_above(daemon, "candled_upload_behind_seconds", 1)
                link.fault = ""
                await until_caught_up(daemon)
            assert await daemon.stop() == 0
        rows = read_minutes("s3://candled-test/failing", server, tmp_path / "cache")
        assert rows == read_minutes(tmp_path / "data")
        assert await check(exchange, rows) > 50
