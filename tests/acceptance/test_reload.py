"""SIGHUP: a real daemon reads its settings file again and goes on."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from candled.client import ClientError, TrioClient, open_trio_client
from tests.acceptance.processes import Running, RunningExchange, open_candled, open_exchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


def write_settings(path: Path, *symbols: str, more: str = "") -> None:
    path.write_text(f"symbols = {json.dumps(symbols)}\n{more}")


@asynccontextmanager
async def open_client(config: Path, exchange: RunningExchange) -> AsyncIterator[tuple[Running, TrioClient]]:
    options = (
        f"--config={config}", *exchange.options, f"--data-dir={config.parent / 'data'}", "--log-format=json",
        "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
    )  # fmt: skip
    async with open_candled("run", *options) as daemon:
        grpc = (await daemon.said(r'"grpc": "([^"]+)"'))[1]
        async with open_trio_client(grpc) as client:
            yield daemon, client
        assert await daemon.stop() == 0
        assert "Traceback" not in daemon.text


async def test_symbols_are_added_and_removed_while_running(tmp_path: Path) -> None:
    config = tmp_path / "candled.toml"
    write_settings(config, "BTCUSDT", "ETHUSDT")
    async with open_exchange("--speed=30") as exchange, open_client(config, exchange) as (daemon, client):
        endings: list[ClientError] = []

        async def watch(symbol: str) -> None:
            try:
                async with client.stream_bars(symbols=[symbol]) as stream:
                    async for _ in stream:
                        pass
            except ClientError as error:
                endings.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, "BTCUSDT")
            nursery.start_soon(watch, "ETHUSDT")
            with trio.fail_after(60):
                while (await client.status()).subscribers < 2:
                    await trio.sleep(0.05)
            write_settings(config, "BTCUSDT", "PEPEUSDT")
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.said(r'"added": \["PEPEUSDT"\], "removed": \["ETHUSDT"\]')
            with trio.fail_after(60):
                while not endings:
                    await trio.sleep(0.05)
            assert [error.code for error in endings] == ["NOT_FOUND"]
            assert "ETHUSDT is not served any more" in endings[0].text
            assert [each.symbol for each in await client.symbols()] == ["BTCUSDT", "PEPEUSDT"]
            with pytest.raises(ClientError, match="Not served here: ETHUSDT"):
                async with client.stream_bars(symbols=["ETHUSDT"]) as stream:
                    await anext(stream)
            with trio.fail_after(60):
                first = None
                while first is None or not first.complete:  # proven by a later trade
                    await trio.sleep(0.1)
                    pages = client.bar_pages("PEPEUSDT", "1m", None, None)
                    first = next(iter([bar async for page in pages for bar in page]), None)
            nursery.cancel_scope.cancel()


async def test_bad_file_is_rejected(tmp_path: Path) -> None:
    """A reload of a bad file is logged with its reason, and the current settings stay."""
    config = tmp_path / "candled.toml"
    write_settings(config, "BTCUSDT")
    async with open_exchange() as exchange, open_client(config, exchange) as (daemon, client):
        for mistake, complaint in (
            ("symbols = [", "is not valid TOML"),
            ('symbols = ["BTCUSDTT"]', "does not have the symbol BTCUSDTT (did you mean BTCUSDT"),
            ('symbols = ["BTCUSDT"]\nsymbol = 1', "Unknown setting 'symbol'"),
        ):
            config.write_text(mistake)
            said = len(daemon.lines)
            daemon.process.send_signal(signal.SIGHUP)
            line = json.loads((await daemon.said(r".*reload rejected.*", after=said))[0])
            assert complaint in line["reason"]
        write_settings(config, "BTCUSDT", more="close_grace = 3\n")
        daemon.process.send_signal(signal.SIGHUP)
        line = json.loads((await daemon.said(r".*take effect at the next start.*"))[0])
        assert line["settings"] == ["close_grace"]
        assert [each.symbol for each in await client.symbols()] == ["BTCUSDT"]
