"""Connections of the HTTP port: limits, deadlines, HTTP/1.1 alone, and health whatever others do."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import h2.config
import h2.connection
import pytest
import trio
import trio.lowlevel

from candled.stream.admission import ConnectionLimits
from candled.stream.web.application import HttpCounts
from candled.stream.web.connection import HttpTimes
from candled.stream.web.server import serve_http


@attrs.frozen
class Port:
    """A served port, and what it counts."""

    host: str
    port: int
    counts: HttpCounts

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.host, self.port)

    async def ask(self, text: bytes) -> bytes:
        """Everything that comes back of one connection."""
        async with await self.connect() as stream:
            await stream.send_all(text)
            return await read_to_the_end(stream)


async def read_to_the_end(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(10):
        try:
            while part := await stream.receive_some():
                data += part
        except trio.BrokenResourceError:
            pass
    return data


@asynccontextmanager
async def open_port(limits: ConnectionLimits | None = None, times: HttpTimes | None = None) -> AsyncIterator[Port]:
    counts = HttpCounts()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_http(
            "127.0.0.1:0",
            not_ready_reasons=lambda: (),
            counts=counts,
            limits=limits,
            times=times or HttpTimes(),
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        host, _, port = (await nursery.start(serve)).rpartition(":")
        yield Port(host, int(port), counts)
        nursery.cancel_scope.cancel()


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_health_is_answered_in_a_flood() -> None:
    """With every connection taken, health is answered, all else refused with 503 and when to try again."""
    async with open_port(ConnectionLimits(per_address=5)) as port:
        taken = [await port.connect() for _ in range(5)]
        assert b"200" in (await port.ask(get("/healthz", "Connection: close"))).split(b"\r\n")[0]
        answer = await port.ask(get("/metrics"))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in answer.lower()
        assert port.counts.admission.statistics().refused["per_address"] == 2
        for stream in taken:
            await stream.aclose()


async def test_health_answers_with_a_full_overflow() -> None:
    """Silent connections beyond the limit make room for one that asks."""
    async with open_port(ConnectionLimits(per_address=1)) as port:
        silent = [await port.connect() for _ in range(100)]
        assert b"200" in (await port.ask(get("/healthz", "Connection: close"))).split(b"\r\n")[0]
        for stream in silent:
            await trio.aclose_forcefully(stream)


async def test_a_slow_request_is_cut() -> None:
    """A request whose headers do not arrive in time ends the connection, and is counted."""
    async with open_port(times=HttpTimes(request=0.3)) as port, await port.connect() as stream:
        began = trio.current_time()
        for letter in b"GET / HTTP/1.1\r\nX: ":
            try:
                await stream.send_all(bytes([letter]))
            except trio.BrokenResourceError:
                break
            await trio.sleep(0.05)
        assert await read_to_the_end(stream) == b""
        assert trio.current_time() - began < 5
        assert port.counts.cuts["slow request"] == 1


async def test_an_idle_connection_ends() -> None:
    """A connection without another request is closed after its idle time, which is no fault."""
    async with open_port(times=HttpTimes(idle=0.2)) as port:
        assert b"alive" in await port.ask(get("/healthz"))
        assert port.counts.cuts.total() == 0


async def test_two_requests_of_one_connection() -> None:
    """A connection answers one request after the other."""
    async with open_port() as port:
        answer = await port.ask(get("/healthz") + get("/readyz", "Connection: close"))
        assert (answer.count(b"HTTP/1.1 200"), b"alive" in answer, b"ready" in answer) == (2, True, True)


async def test_clients_that_leave_early(caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves in the middle of its answer is no error."""
    async with open_port() as port:
        for _ in range(50):
            async with await port.connect() as stream:
                await stream.send_all(get("/metrics") * 20)
                await stream.receive_some(1)
        with trio.fail_after(10):
            while port.counts.admission.statistics().open:
                await trio.sleep(0.01)
    assert caplog.records == []


async def test_http2_in_clear_is_refused() -> None:
    """A client that speaks HTTP/2 is cut at its first words, however many resets are to follow."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    for _ in range(500):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
        client.reset_stream(stream)
    async with open_port() as port:
        assert b"HTTP/1.1 200" not in await port.ask(client.data_to_send())
        assert port.counts.requests.total() == 0


async def test_an_upgrade_to_http2_is_ignored() -> None:
    """A wish to upgrade to HTTP/2 is answered in HTTP/1.1."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    async with open_port(times=HttpTimes(idle=0.2)) as port:
        assert (await port.ask(get("/healthz", *upgrade))).startswith(b"HTTP/1.1 200")


async def test_an_unread_answer_is_cut() -> None:
    """A client that asks and does not read is cut after a while, and counted."""
    async with open_port(times=HttpTimes(unread=0.3)) as port:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((port.host, port.port))
            sock.setblocking(False)
            with trio.fail_after(20):
                while not port.counts.cuts["answer unread"]:
                    try:
                        sock.send(get("/metrics") * 50)
                    except BlockingIOError:
                        await trio.sleep(0.05)
                    except OSError:
                        break
                    await trio.lowlevel.checkpoint()
            assert port.counts.cuts["answer unread"] == 1
