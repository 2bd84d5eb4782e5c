"""A server, and each client in turn: the Trio one in the test's process, the asyncio one in a thread."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio

from candled.client import AsyncioClient, TrioClient, open_asyncio_client, open_trio_client
from candled.stream.grpc.server import GrpcServer
from tests.stream.support import World, open_service

Use = Callable[[TrioClient | AsyncioClient], Awaitable[Any]]
Run = Callable[[str | Sequence[str], Use], Awaitable[Any]]
"""Opens a client of an address or several, and lets a function use it."""


async def with_trio(address: str | Sequence[str], use: Use) -> Any:
    async with open_trio_client(address) as client:
        return await use(client)


async def with_asyncio(address: str | Sequence[str], use: Use) -> Any:
    async def main() -> Any:
        async with open_asyncio_client(address) as client:
            return await use(client)

    def run() -> Any:
        # Not asyncio.run: the test process carries the server's bridge, which changes what that does.
        loop = asyncio.SelectorEventLoop()
        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()

    return await trio.to_thread.run_sync(run, abandon_on_cancel=True)


@pytest.fixture(params=[with_trio, with_asyncio], ids=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


@pytest.fixture
async def world() -> World:
    return World(clock=trio.current_time)


@pytest.fixture
async def server(world: World) -> AsyncIterator[GrpcServer]:
    async with open_service(world) as server:
        yield server
