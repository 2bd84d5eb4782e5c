"""Real processes in surroundings that are not kind: another locale, few file descriptors."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import trio
import trio.lowlevel

from tests.acceptance.processes import open_candled, open_exchange, run_candled

pytestmark = pytest.mark.slow

NAME = "币安人生USDT"
POSIX = ("env", "LC_ALL=POSIX", "LANG=")
FEW_FILES = ("sh", "-c", 'ulimit -n 320; exec "$@"', "sh")
SERVES = r'"grpc": "(?P<grpc>[^"]+)", "http": "(?P<http>[^"]+)"'
PORTS = ("--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--log-format=json")


async def test_symbols_of_any_script_under_posix(tmp_path: Path) -> None:
    """Streams, REST, files, metrics, logs, chart and command line work with a symbol that is not ASCII."""
    data_dir = tmp_path / "data"
    async with open_exchange("--symbols", f"{NAME},BTCUSDT", before=POSIX) as exchange:
        options = (*exchange.options, f"--symbols={NAME}", f"--data-dir={data_dir}", "--backfill-hours=0.2")
        async with open_candled("run", *options, *PORTS, before=POSIX) as running:
            found = await running.said(SERVES)
            async with httpx.AsyncClient(base_url=f"http://{found['http']}") as client:
                with trio.fail_after(60):
                    while (await client.get("/readyz")).status_code != 200:
                        await trio.sleep(0.1)
                assert f'candled_trades_total{{symbol="{NAME}"}}' in (await client.get("/metrics")).text
                bars = (await client.get("/api/bars", params={"symbol": NAME})).json()["bars"]
                assert {bar["symbol"] for bar in bars} == {NAME}
            status = await run_candled("status", "--address", found["grpc"], "--format", "json", before=POSIX)
            assert NAME in json.dumps(json.loads(status.stdout), ensure_ascii=False)
            assert await running.stop() == 0
        assert NAME in json.loads(next(line for line in running.lines if '"starting"' in line))["symbols"]
        assert "Traceback" not in running.text
    for command in (("bars", NAME), ("sql", "SELECT DISTINCT symbol FROM bars"), ("verify",)):
        done = await run_candled(*command, "--data-dir", data_dir, before=POSIX)
        assert done.returncode == 0, done.stderr
    sql = await run_candled("sql", "SELECT DISTINCT symbol FROM bars", "--data-dir", data_dir, before=POSIX)
    assert NAME in sql.stdout


async def test_few_descriptors(tmp_path: Path) -> None:
    """Clients that take every descriptor keep neither the history from storing nor health from being answered."""
    data_dir = tmp_path / "data"
    async with open_exchange("--speed=20") as exchange:
        options = (*exchange.options, "--symbols=BTCUSDT", f"--data-dir={data_dir}")
        async with open_candled("run", *options, *PORTS, before=FEW_FILES) as running:
            found = await running.said(SERVES)
            with ExitStack() as taken:
                for address in (found["grpc"], found["http"]):
                    host, _, port = address.rpartition(":")
                    for _ in range(300):
                        taken.enter_context(socket.create_connection((host, int(port))))
                await trio.lowlevel.checkpoint()
                assert await running.said('"event": "connection refused"')
                before = await minutes(data_dir)
                with trio.fail_after(60):
                    while await minutes(data_dir) < before + 2:
                        await trio.sleep(0.5)
                async with httpx.AsyncClient(base_url=f"http://{found['http']}") as client:
                    assert (await client.get("/healthz")).status_code == 200
            assert await running.stop() == 0
        assert "Too many open files" not in running.text
        assert "Traceback" not in running.text


async def minutes(data_dir: Path) -> int:
    """Number of stored minutes, as another process reads them."""
    done = await run_candled(
        "sql", "SELECT count(*) AS n FROM bars WHERE interval = '1m'", "--format=json", "--data-dir", data_dir
    )
    return int(json.loads(done.stdout)[0]["n"]) if done.returncode == 0 else 0
