"""The bridge makes asyncio's libraries work inside Trio."""

import asyncio

import grpclib.utils
import pytest

from candled.stream.grpc.internals.bridge import open_asyncio, run_asyncio


async def test_import_order_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """grpclib finds its task although it was imported before trio-asyncio, also from Python 3.12 on."""

    def in_c() -> None:
        raise RuntimeError("no running event loop")

    monkeypatch.setattr(grpclib.utils, "_current_task", in_c)

    async def call() -> bool:
        with grpclib.utils.Wrapper():
            return asyncio.current_task() is not None

    async with open_asyncio():
        assert await run_asyncio(call)
