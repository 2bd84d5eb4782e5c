"""Two daemons share the symbols, and each sends clients of the other's there."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from candled.api import candles_pb2 as pb
from tests.ports import free_ports

SHARDS = "BTCUSDT,ETHUSDT;PEPEUSDT"


@contextmanager
def candled(*words: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "candled.cli.main", *words], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()


def get_bars(address: str, symbol: str) -> grpc.RpcError | None:
    """None if the daemon serves the symbol, else why it does not."""
    with grpc.insecure_channel(address) as channel:
        call: Callable[..., Any] = channel.unary_unary(
            "/candled.v1.CandleService/GetBars",
            request_serializer=pb.GetBarsRequest.SerializeToString,
            response_deserializer=pb.GetBarsResponse.FromString,
        )
        try:
            call(pb.GetBarsRequest(symbol=symbol, interval="1m"), timeout=5, wait_for_ready=True)
        except grpc.RpcError as error:
            return error
    return None


@pytest.mark.slow
def test_the_wrong_shard_names_the_right_one_which_serves_the_symbol(tmp_path: Path) -> None:
    port, base = free_ports(2)
    exchange, base = f"127.0.0.1:{port}", base // 10 * 10
    pattern = f"127.0.0.1:{base // 10}{{shard}}"
    with ExitStack() as running:
        running.enter_context(candled("exchange", "--address", exchange))
        for shard in (0, 1):
            running.enter_context(
                candled(
                    *("run", "--stream-urls", f"ws://{exchange}", "--rest-urls", f"http://{exchange}"),
                    *("--shards", SHARDS, "--shard", str(shard), "--shard-address", pattern),
                    *("--grpc-address", f"127.0.0.1:{base + shard}", "--http-address", "127.0.0.1:0"),
                    *("--data-dir", str(tmp_path / str(shard))),
                )
            )
        deadline = time.monotonic() + 40
        refusal = None
        while refusal is None or refusal.code() is not grpc.StatusCode.NOT_FOUND:
            refusal = get_bars(f"127.0.0.1:{base}", "PEPEUSDT")
            assert time.monotonic() < deadline, refusal
            time.sleep(0.2)

        watch = subprocess.run(
            [sys.executable, "-m", "candled.cli.main", "watch", "PEPEUSDT", "--address", f"127.0.0.1:{base}"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert watch.returncode == 1
        assert "PEPEUSDT is served by shard 1 at 127.0.0.1:" in watch.stderr

        redirect = re.search(r"PEPEUSDT is served by shard 1 at (\S+:\d+)\.", refusal.details())
        assert redirect, refusal.details()
        while get_bars(redirect[1], "PEPEUSDT") is not None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
