"""Commands of the guides in docs/ are run as a reader would paste them, on ports and folders of the test."""

import json
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import duckdb
import httpx
import pytest
import trio

from tests.acceptance.processes import PATIENCE, Running, open_candled, run_candled
from tests.cli.demo import demo, until
from tests.docs.snippets import blocks
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

EXCHANGE: Final = "127.0.0.1:9443"
"""Where the guides have the embedded exchange."""


def lines(document: str) -> list[str]:
    """The lines of a document's shell blocks that are commands, in order."""
    found = "".join(blocks("sh", f"docs/{document}")).replace("\\\n", " ").splitlines()
    return [line for line in found if line.strip()]


def pasted(line: str, **replaced: str) -> list[str]:
    """Words of a command after its name; ``&`` and the comment left out."""
    for old, new in replaced.items():
        line = line.replace({"exchange": EXCHANGE, "bucket": "s3://my-bucket"}[old], new)
    return [word for word in shlex.split(line, comments=True)[1:] if word != "&"]


def in_background(document: str) -> list[tuple[str, str]]:
    """Each ``candled exchange ... &`` of a document, with the command after it."""
    commands = lines(document)
    return [(line, after) for line, after in pairwise(commands) if line.endswith("&")]


async def until_ready(daemon: Running, http: str) -> None:
    """Ask the daemon until it is ready."""
    async with httpx.AsyncClient(base_url=f"http://{http}") as client:
        with trio.fail_after(PATIENCE):
            while True:
                assert daemon.process.returncode is None, daemon.text
                try:
                    if (await client.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await trio.sleep(0.1)


@asynccontextmanager
async def ready_daemon(words: Iterable[str], cwd: Path) -> AsyncIterator[None]:
    """``candled run``, ready; at the end it gets Ctrl-C and ends with status 0."""
    http = f"127.0.0.1:{free_ports(1)[0]}"
    ports = ("--grpc-address", "127.0.0.1:0", "--http-address", http)
    async with open_candled(*words, *ports, cwd=cwd) as running:
        await until_ready(running, http)
        yield
        assert await running.stop(signal.SIGINT) == 0, running.text
    assert "Traceback" not in running.text


@asynccontextmanager
async def exchange_of(words: Iterable[str], address: str) -> AsyncIterator[Running]:
    """``candled exchange`` on an address of the test's."""
    async with open_candled(*words, "--address", address) as running:
        await running.said("streams at")
        yield running


def at(address: str) -> tuple[str, ...]:
    """Options that the guides give for the embedded exchange."""
    return ("--stream-urls", f"ws://{address}", "--rest-urls", f"http://{address}")


def symbols_in(history: Path) -> set[str]:
    """Symbols whose bars the recent objects of a history in a folder hold."""
    files = [str(each) for each in history.glob("recent/*.parquet")]
    if not files:
        return set()
    with duckdb.connect() as db:
        rows = db.execute("SELECT DISTINCT symbol FROM read_parquet(?)", [files]).fetchall()
    return {symbol for (symbol,) in rows}


def new_address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_guide_of_exchange_has_pairs() -> None:
    """The next test runs both forms."""
    pairs = [pair for pair in in_background("exchange.md") if pair[1].startswith("candled run")]
    assert ["--form coinbase" in first for first, _ in pairs] == [False, True]


@pytest.mark.parametrize("place", [0, 1], ids=["binance", "coinbase"])
async def test_exchange_and_daemon_pair(tmp_path: Path, place: int) -> None:
    """Pasted one after the other, the exchange and the daemon on it are ready; Ctrl-C ends both."""
    first, second = in_background("exchange.md")[place]
    address = new_address()
    async with open_candled(*pasted(first), "--address", address, cwd=tmp_path) as exchange:
        async with ready_daemon(pasted(second, exchange=address), tmp_path):
            pass
        assert (tmp_path / "trial" / "candled.json").exists()
        assert await exchange.stop(signal.SIGINT) in (0, 130)
        assert "Traceback" not in exchange.text


async def test_fault_requests(tmp_path: Path) -> None:
    """Each request of faults is accepted, and the fault is on; in the market that lies from its start, too."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: the requests of faults are not tried")
    requests = [line for line in lines("exchange.md") if line.startswith("curl ")]
    assert len(requests) >= 10
    (liar,) = [line for line, _ in in_background("exchange.md") if "--faults" in line]
    address = new_address()
    async with exchange_of(pasted(liar), address):
        for request in requests:
            words = pasted(request, exchange=address)
            with trio.fail_after(PATIENCE):
                done = await trio.run_process(["curl", "--silent", "--fail", *words], capture_stdout=True)
            state = json.loads(done.stdout)
            asked = words[-1].split("=")[0] if "-d" in words else ""
            expected = "" if asked in ("cut", "clear") else asked
            assert expected in state["faults"], request
            assert asked != "clear" or state["faults"] == "", request


async def test_exchanges_commands(tmp_path: Path) -> None:
    """Coinbase's daemon, then its backfill and the comparison with candles, in the same directory."""
    run, backfill, verify = [line for line in lines("exchanges.md") if line.startswith("candled ")]
    address = new_address()
    options = ("--form", "coinbase", "--rate", "0.05")  # trades a second: a day's are few
    async with exchange_of(("exchange", *options), address):
        async with ready_daemon((*pasted(run), *at(address)), tmp_path):
            pass
        rest = at(address)[2:]
        filled = await run_candled(*pasted(backfill), *rest, cwd=tmp_path)
        assert filled.returncode == 0, filled.stderr
        assert filled.stdout.startswith("BTC-USD: ")
        checked = await run_candled(*pasted(verify), *rest, cwd=tmp_path)
        assert "compared with the exchange's klines" in checked.stdout, checked.stdout + checked.stderr
        assert checked.returncode == 0


async def test_object_storage_commands(tmp_path: Path) -> None:
    """The daemon with a copy in a folder, and each command that reads, checks, repairs or restores it."""
    bucket = f"file://{tmp_path}/my-bucket"
    run, *queries = [line for line in lines("object-storage.md") if line.startswith("candled ")]
    assert len(queries) == 2
    address = new_address()
    async with exchange_of(("exchange", "--speed", "60", "--rate", "1"), address):
        words = [*pasted(run, bucket=bucket), *at(address), "--publish-delay", "0.1"]
        async with ready_daemon(words, tmp_path):
            with trio.fail_after(PATIENCE):
                while not symbols_in(tmp_path / "my-bucket" / "candled") >= {"BTCUSDT", "ETHUSDT"}:
                    await trio.sleep(0.2)
    cache = ("--cache-dir", str(tmp_path / "cache"))
    newest, daily = [await run_candled(*pasted(query, bucket=bucket), *cache, cwd=tmp_path) for query in queries]
    assert (newest.returncode, newest.stderr) == (0, "")
    assert "BTCUSDT" in newest.stdout
    assert (daily.returncode, daily.stderr) == (0, "")
    url = f"{bucket}/candled"
    for command in (("bars", "BTCUSDT", *cache), ("repair",)):
        done = await run_candled(*command, "--history", url, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    checked = await run_candled("verify", "--history", url, *cache, "--format", "json", cwd=tmp_path)
    findings = json.loads(checked.stdout)
    # The daemon may have ended before the bars around its start were proven.
    assert [each for each in findings if each["kind"] != "incomplete"] == [], checked.stderr
    assert checked.returncode == bool(findings)
    restored = await run_candled("restore", "--history-url", url, "--data-dir", "another", cwd=tmp_path)
    assert restored.returncode == 0, restored.stderr
    bars = await run_candled("bars", "BTCUSDT", "ETHUSDT", "--data-dir", "another", cwd=tmp_path)
    assert "BTCUSDT" in bars.stdout


def test_operations_commands(tmp_path: Path) -> None:
    """What is run in the pod of one process: here beside a demo, whose directory and address take their place."""
    prefix = "kubectl exec candled-0 -- candled "
    commands = [line.removeprefix(prefix) for line in lines("operations.md") if line.startswith(prefix)]
    plain = [line for line in commands if "--address" not in line]
    assert {line.split()[0] for line in plain} == {"verify", "sql", "status"}
    with demo(tmp_path) as running:
        for line in plain:
            name, *words = shlex.split(line)
            where = ("--address", running.grpc) if name == "status" else ("--data-dir", "candled-demo-data")

            def succeeds(name: str = name, rest: tuple[str, ...] = (*words, *where)) -> bool:
                done = running.run(name, *rest)  # a bar that is being repaired is a finding, for a moment
                return (done.returncode, done.stderr) == (0, "") and bool(done.stdout.strip())

            assert until(succeeds), line
        running.process.send_signal(signal.SIGINT)
        running.process.wait(60)
