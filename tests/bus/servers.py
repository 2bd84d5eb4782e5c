"""nats-servers of a test, as processes."""

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio

from candled.bus.nats.connection import Nats, NatsOptions, open_nats
from tests.bus.real_cluster import NATS_SERVER
from tests.ports import free_ports


@attrs.define(eq=False)
class Server:
    """One nats-server with JetStream."""

    directory: Path
    port: int
    more: str = ""
    """Further lines of its configuration."""
    jetstream: str = ""
    """Further settings of JetStream."""
    scheme: str = "nats"
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.directory / f"{self.port}.conf"
        store = f'jetstream {{ store_dir: "{self.directory}/{self.port}", {self.jetstream} }}'
        config.write_text(f'listen: "127.0.0.1:{self.port}"\n{store}\n{self.more}\n')
        with (self.directory / "nats.log").open("ab") as out:
            self.process = subprocess.Popen([NATS_SERVER, "-c", str(config)], stdout=out, stderr=out)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@asynccontextmanager
async def open_server(directory: Path, **options: Any) -> AsyncIterator[Server]:
    """A nats-server while inside, which accepts connections."""
    server = Server(directory, free_ports(1)[0], **options)
    server.start()
    try:
        with trio.fail_after(20):
            while not await _listens(server.port):
                await trio.sleep(0.01)
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def connected(*servers: Server, **options: Any) -> AsyncIterator[Nats]:
    """A connection to one of some servers while inside."""
    urls: Sequence[str] = [server.url for server in servers]
    async with open_nats(NatsOptions(urls=urls, name="test", **options), Random(len(urls))) as nats:
        with trio.fail_after(20):
            await nats.wait_connected()
        yield nats


async def _listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True
