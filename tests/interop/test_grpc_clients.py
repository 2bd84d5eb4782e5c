"""Stock clients made from candles.proto alone, each a program of its own: every call, in clear and over TLS.

grpcio runs with the fast tests; those that need an installation of their own are slow.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from google.protobuf import descriptor_pb2
from grpclib.health.v1 import health_pb2
from grpclib.reflection.v1alpha import reflection_pb2

from candled.stream.grpc.security import SecurityFiles
from tests.interop.installation import HERE, node_script, python_of
from tests.stream.support import START, SYMBOLS, World, close, minute, open_service

PROTOS = HERE.parents[1] / "protos"
FIRST = START // 1_000_000
BARS = [
    ["BTCUSDT", FIRST, "96003.00000000", 3, 1000, True, True],
    ["BTCUSDT", FIRST + 60, "96000.00000000", 0, None, True, True],
    ["BTCUSDT", FIRST + 120, "96003.00000000", 3, 1020, True, True],
]


def generate(python: Path | str, target: Path, *options: str) -> Path:
    """Code for a client, from the .proto."""
    target.mkdir(parents=True)
    protoc = [str(python), "-m", "grpc_tools.protoc", f"-I{PROTOS}", *options, "candled/v1/candles.proto"]
    # The plug-ins of betterproto stand beside the interpreter.
    path = f"{Path(python).parent}:/usr/bin:/bin"
    subprocess.run(protoc, check=True, timeout=60, env={"PATH": path}, capture_output=True)
    for package in (".", "candled", "candled/v1"):
        (target / package / "__init__.py").touch()
    return target


def grpcio(flavour: str, folder: Path) -> list[str]:
    target = folder / "grpcio"
    if not target.exists():
        generate(sys.executable, target, f"--python_out={target}", f"--grpc_python_out={target}")
    return [sys.executable, str(HERE / "grpcio_peer.py"), str(target), flavour]


def betterproto2(folder: Path) -> list[str]:
    target = folder / "betterproto2" / "generated"  # its code wants a package around it
    if not target.exists():
        option = "--python_betterproto2_opt=client_generation=async"
        generate(sys.executable, target, f"--python_betterproto2_out={target}", option)
    return [sys.executable, str(HERE / "grpclib_peer.py"), str(target.parent), "generated.candled.v1"]


def betterproto(folder: Path) -> list[str]:
    python, target = python_of("betterproto"), folder / "betterproto"
    if not target.exists():
        generate(python, target, f"--python_betterproto_out={target}")
    return [str(python), str(HERE / "grpclib_peer.py"), str(target), "candled.v1"]


def grpc_js(folder: Path) -> list[str]:
    descriptors = folder / "standard.binpb"
    files = descriptor_pb2.FileDescriptorSet()
    for module in (health_pb2, reflection_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    descriptors.write_bytes(files.SerializeToString())
    return [*node_script("grpc_js", "peer.js"), str(PROTOS), str(descriptors)]


CLIENTS = {
    "grpcio": lambda folder: grpcio("sync", folder),
    "grpcio aio": lambda folder: grpcio("aio", folder),
    "betterproto2 and grpclib": betterproto2,
    "betterproto 2.0.0b7 and grpclib": betterproto,
    "grpc-js": grpc_js,
}
FAST = {("grpcio", "clear"), ("grpcio aio", "clear")}
CASES = [
    pytest.param(
        client,
        security,
        id=f"{client}, {security}",
        marks=() if (client, security) in FAST else (pytest.mark.slow, pytest.mark.timeout(300)),
    )
    for client in CLIENTS
    for security in ("clear", "TLS", "mutual TLS")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interop")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> dict[str, Path]:
    """An authority, and what it gave the server and one client."""
    authority = trustme.CA()
    paths = {"authority": folder / "authority.pem"}
    authority.cert_pem.write_to_path(paths["authority"])
    for who, issued in (
        ("server", authority.issue_cert("127.0.0.1", "localhost")),
        ("client", authority.issue_cert("client@example.org")),
    ):
        paths[f"{who} key"], paths[who] = folder / f"{who}-key.pem", folder / f"{who}.pem"
        issued.private_key_pem.write_to_path(paths[f"{who} key"])
        paths[who].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return paths


@pytest.mark.parametrize(("client", "security"), CASES)
async def test_every_call_answers(client: str, security: str, folder: Path, certificates: dict[str, Path]) -> None:
    command = await trio.to_thread.run_sync(CLIENTS[client], folder)
    world = World(clock=trio.current_time)
    for index in range(3):
        world.publish_and_store(close(minute(index, trades=0 if index == 1 else 3), index + 1))
    files, trusted = SecurityFiles(), []
    if security != "clear":
        mutual = security == "mutual TLS"
        files = SecurityFiles(
            certificate=certificates["server"],
            key=certificates["server key"],
            client_authority=certificates["authority"] if mutual else None,
        )
        trusted = [certificates["authority"]]
        if mutual:
            trusted += [certificates["client"], certificates["client key"]]
    async with open_service(world, files=files) as server:
        answers = await call(*command, server.address, *map(str, trusted))
    assert answers["stream"] == answers["bars"] == BARS
    assert answers["symbols"] == list(SYMBOLS)
    assert answers["version"] == "1.2.3"
    assert answers["health"] == 1
    assert {"candled.v1.CandleService", "grpc.health.v1.Health"} <= set(answers["services"])
    assert answers.get("methods", METHODS) == METHODS


METHODS = ["StreamBars", "GetBars", "ListSymbols", "GetStatus"]


async def call(*command: str) -> Any:
    """What the program prints."""
    with trio.fail_after(50):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)
