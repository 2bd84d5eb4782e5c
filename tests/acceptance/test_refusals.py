"""Bad input and bad surroundings: one clear sentence, the right exit status, no traceback, nothing lost."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio

from candled.client import ClientError, open_trio_client
from tests.acceptance.processes import (
    CANDLED,
    ENVIRONMENT,
    RunningExchange,
    daemon_options,
    one_sentence,
    open_candled,
    open_daemon,
    open_exchange,
    run_candled,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    """One exchange for all tests that do not mind which."""
    with subprocess.Popen(
        [*CANDLED, "exchange", "--address=127.0.0.1:0", "--speed=60"],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stderr is not None
        found = re.search(r"streams at ws://(\S+),", process.stderr.readline())
        assert found is not None
        try:
            yield RunningExchange(None, found[1])
        finally:
            process.kill()


@pytest.fixture
def taken() -> Iterator[str]:
    """An address in use."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


async def test_unknown_symbol_names_the_nearest(exchange: RunningExchange, tmp_path: Path) -> None:
    """The error names the symbol and those that are spelled like it."""
    done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"), "--symbols=BTCUSDT,ETHUSD")
    assert done.returncode == 1
    sentence = one_sentence(done.stderr)
    assert "ETHUSD (did you mean ETHUSDT" in sentence
    assert not (tmp_path / "data").exists(), "nothing is made for a daemon that cannot run"


@pytest.mark.parametrize(
    ("option", "named"), [("--grpc-address", "--grpc-address"), ("--http-address", "--http-address")]
)
async def test_port_in_use_names_its_option(
    exchange: RunningExchange, tmp_path: Path, taken: str, option: str, named: str
) -> None:
    """The error says which option chooses another port."""
    done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"), f"{option}={taken}")
    assert done.returncode == 1
    sentence = one_sentence(done.stderr)
    assert taken in sentence
    assert named in sentence


async def test_exchange_on_a_port_in_use(taken: str) -> None:
    """The embedded exchange refuses a port in use with a sentence."""
    done = await run_candled("exchange", "--address", taken)
    assert done.returncode == 1
    assert taken in one_sentence(done.stderr)


async def test_data_directory_must_be_a_folder(exchange: RunningExchange, tmp_path: Path) -> None:
    """A file as data directory is refused with a sentence."""
    (tmp_path / "data").write_text("a file")
    done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"))
    assert done.returncode == 1
    assert "is a file, not a folder" in one_sentence(done.stderr)
    assert (tmp_path / "data").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_data_directory_needs_permission(exchange: RunningExchange, tmp_path: Path) -> None:
    """A directory that cannot be written is refused with a sentence."""
    (tmp_path / "data").mkdir(mode=0o500)
    done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"))
    assert done.returncode == 1
    assert "make it writable" in one_sentence(done.stderr)


async def test_data_directory_in_use_is_refused(exchange: RunningExchange, tmp_path: Path) -> None:
    """The second daemon names the first one, which continues undisturbed."""
    async with open_daemon(exchange, tmp_path / "data") as first:
        done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"))
        assert done.returncode == 1
        sentence = one_sentence(done.stderr)
        assert f"pid {first.running.process.pid}" in sentence
        async with open_trio_client(first.grpc) as client:
            assert (await client.status()).symbols
        assert await first.stop() == 0


async def test_data_directory_of_another_exchange(exchange: RunningExchange, tmp_path: Path) -> None:
    """Bars of two exchanges do not get into one directory."""
    async with open_daemon(exchange, tmp_path / "data") as daemon:
        assert await daemon.stop() == 0
    before = (tmp_path / "data" / "candled.json").read_text()
    async with open_exchange("--seed=2") as other:
        done = await run_candled("run", *daemon_options(other, tmp_path / "data"))
    assert done.returncode == 1
    assert "use another data directory" in one_sentence(done.stderr)
    assert (tmp_path / "data" / "candled.json").read_text() == before


async def test_newer_format_is_refused(exchange: RunningExchange, tmp_path: Path) -> None:
    """A directory that a newer candled wrote is left as it is."""
    (tmp_path / "data").mkdir()
    identity = json.dumps({"format": 99, "exchange": "binance", "epoch": 3})
    (tmp_path / "data" / "candled.json").write_text(identity)
    done = await run_candled("run", *daemon_options(exchange, tmp_path / "data"))
    asked = await run_candled("sql", "SELECT 1", "--data-dir", tmp_path / "data")
    assert (done.returncode, asked.returncode) == (1, 1)
    for sentence in (one_sentence(done.stderr), one_sentence(asked.stderr)):
        assert "has format 99" in sentence
        assert "use a newer candled" in sentence
    assert (tmp_path / "data" / "candled.json").read_text() == identity


async def test_silent_exchange_is_retried(tmp_path: Path) -> None:
    """The daemon says that it waits, and starts once the exchange answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    options = (
        f"--stream-urls=ws://{address}", f"--rest-urls=http://{address}", f"--data-dir={tmp_path / 'data'}",
        "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--log-format=json",
    )  # fmt: skip
    async with open_candled("run", *options) as daemon:
        said = json.loads((await daemon.said(r".*cannot reach the exchange.*"))[0])
        assert said["level"] == "warning"
        assert address in said["reason"]
        assert said["retry_in_seconds"] < 60
        async with open_exchange(address=address):
            http = (await daemon.said(r'"http": "([^"]+)"'))[1]
            await until_ready(http)
        assert await daemon.stop() == 0
    assert "Traceback" not in daemon.text


async def until_ready(http: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{http}") as client:
        with trio.fail_after(60):
            while (await client.get("/readyz")).status_code != 200:
                await trio.sleep(0.05)


async def test_malformed_frames_are_counted_skipped_and_repaired(tmp_path: Path) -> None:
    async with (
        open_exchange("--faults=malformed=0.3", "--speed=20") as exchange,
        open_daemon(exchange, tmp_path / "data", "--symbols=BTCUSDT") as daemon,
        open_trio_client(daemon.grpc) as client,
    ):
        said = json.loads((await daemon.running.said(r".*frames refused.*"))[0])
        assert said["reason"] == "not JSON"
        assert said["count"] >= 1
        began = trio.current_time()
        complete = 0
        with trio.fail_after(60):
            async with client.stream_bars(closed_only=True) as stream:
                async for message in stream:
                    complete += message.bar is not None and message.bar.complete
                    if complete == 2:
                        break
        (status,) = (await client.status()).symbols
        assert status.gaps_filled > 0
        lines = [line for line in daemon.running.lines if "frames refused" in line]
        assert len(lines) <= 2 + (trio.current_time() - began) / 5, "not a line for each"
        assert await daemon.stop() == 0


async def test_query_for_an_unknown_symbol(exchange: RunningExchange, tmp_path: Path) -> None:
    """``candled bars`` says in a sentence that there are no bars of a symbol."""
    async with open_daemon(exchange, tmp_path / "data") as daemon:
        async with open_trio_client(daemon.grpc) as client:
            with pytest.raises(ClientError, match="Not served here: DOGEUSDT") as refused:
                async for _ in client.bar_pages("DOGEUSDT", "1m", None, None):
                    pass
            assert refused.value.code == "NOT_FOUND"
        for command in (
            ("bars", "DOGEUSDT", "--address", daemon.grpc),
            ("watch", "DOGEUSDT", "--address", daemon.grpc),
        ):
            done = await run_candled(*command)
            assert done.returncode == 1
            sentence = one_sentence(done.stderr)
            assert "DOGEUSDT" in sentence
            assert "BTCUSDT" in sentence, "it says which there are"
        done = await run_candled("bars", "DOGEUSDT", "--data-dir", daemon.data_dir)
        assert done.returncode == 1
        assert "No bars of DOGEUSDT" in one_sentence(done.stderr)
        assert await daemon.stop() == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--stream=trades",), "must be one of trade, aggTrade"),
        (("--grpc-address=50051",), "must be host:port"),
        (("--close-grace=soon",), "close_grace"),
        (("--stream-urls=http://127.0.0.1:1",), "it does not begin with ws:// or wss://"),
        (("--config=/nowhere/candled.toml",), "/nowhere/candled.toml"),
    ],
)
async def test_invalid_setting_is_refused(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    """A value outside its range ends the start with a sentence."""
    done = await run_candled("run", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert complaint in done.stderr.splitlines()[-1]


async def test_command_without_a_daemon() -> None:
    """A command that needs a daemon names the address where none answers."""
    done = await run_candled("status", "--address", "127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in one_sentence(done.stderr)
