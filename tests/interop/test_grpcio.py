"""A stock grpcio client made from the .proto alone, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.stream.support import SYMBOLS, World, close, minute, open_service

PEER = Path(__file__).with_name("grpcio_peer.py")
PROTOS = Path(__file__).parents[2] / "protos"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", "candled/v1/candles.proto"], check=True, timeout=30)
    for package in ("candled", "candled/v1"):
        (folder / package / "__init__.py").touch()
    return folder


async def call(generated: Path, address: str, *more: str) -> Any:
    with trio.fail_after(40):
        answer = await trio.run_process(
            [sys.executable, str(PEER), str(generated), address, *more], capture_stdout=True
        )
    return json.loads(answer.stdout)


async def test_every_call_answers_grpcio_sync_and_aio(generated: Path) -> None:
    world = World(clock=trio.current_time)
    for index in range(3):
        world.publish_and_store(close(minute(index, trades=0 if index == 1 else 3), index + 1))
    async with open_service(world) as server:
        answers = await call(generated, server.address)
    answered = answers["sync"]
    assert [bar["high"] for bar in answered["bars"]] == [
        "96003.00000000",
        "96000.00000000",
        "96003.00000000",
    ]
    assert ["firstTradeId" in bar for bar in answered["bars"]] == [True, False, True]
    assert answered["page"] == answered["bars"] == answers["aio"]["bars"] == answers["aio"]["page"]
    assert answered["symbols"] == list(SYMBOLS)
    assert answered["version"] == "1.2.3"
    assert answered["health"] == 1
    assert {"candled.v1.CandleService", "grpc.health.v1.Health"} <= set(answered["services"])
    assert answered["methods"] == ["StreamBars", "GetBars", "ListSymbols", "GetStatus"]
    assert answered["messages"] == ["candled/v1/candles.proto"] * 2
