"""The address in front of a demo's edges: it leads to one that lives."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from candled.cli.demo_front import serve_front
from candled.errors import UserError


@asynccontextmanager
async def edge(name: bytes) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """An edge that says its name at each message; yields its address and what kills it."""

    async def answer(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(name)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(lambda task_status: _serve(answer, task_status))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}", nursery.cancel_scope.cancel
        nursery.cancel_scope.cancel()


async def _serve(
    answer: Callable[[trio.SocketStream], object], task_status: trio.TaskStatus[list[trio.SocketListener]]
) -> None:
    await trio.serve_tcp(answer, 0, host="127.0.0.1", task_status=task_status)  # type: ignore[arg-type]


async def ask(address: str) -> bytes:
    """Who answers at an address."""
    host, _, port = address.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"?")
        return await stream.receive_some(100)


async def test_another_edge_takes_over() -> None:
    """Connections go to the first edge; when it dies they end, and new ones go to the next."""
    with trio.fail_after(10):
        async with edge(b"one") as (one, kill), edge(b"two") as (two, _), trio.open_nursery() as nursery:
            front = await nursery.start(serve_front, "127.0.0.1:0", [one, two])
            host, _, port = front.rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as open_one:
                await open_one.send_all(b"?")
                assert await open_one.receive_some(100) == b"one"
                kill()
                assert await open_one.receive_some(100) == b""

            assert await ask(front) == b"two"
            nursery.cancel_scope.cancel()


async def test_a_client_that_goes_ends_its_connection() -> None:
    """The front serves others after it."""
    with trio.fail_after(10):
        async with edge(b"one") as (one, _), trio.open_nursery() as nursery:
            front = await nursery.start(serve_front, "127.0.0.1:0", [one])
            for _ in range(3):
                assert await ask(front) == b"one"
            nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_named() -> None:
    """The error says which address."""
    async with edge(b"one") as (one, _):
        with pytest.raises(UserError, match=one):
            await serve_front(one, [])
