"""Connections in memory: weather at any byte, and runs that repeat."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from tests.embedded_exchange.worlds import open_world, synthetic


async def until_broken(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        return received
    raise AssertionError("it was closed in good order")


async def test_cut_in_a_message(autojump_clock: MockClock) -> None:
    """A connection can break in the middle of a message."""
    async with open_world(synthetic()) as world:
        world.memory.weather.cut_per_byte = 0.0005
        stream = await world.memory.connect()
        await stream.send_all(b"GET /api/v3/trades?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\n\r\n")
        received = await until_broken(stream)
        assert b"\r\n\r\n[" in received
        assert not received.endswith(b"]")


async def test_everything_can_be_cut_at_once(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        clients = [await world.subscribe("/ws/btcusdt@trade") for _ in range(3)]
        await clients[0].next()
        world.memory.cut_all()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await client.take(100)
        await trio.testing.wait_all_tasks_blocked()
        assert world.memory.connections == 0
        assert world.exchange.sessions == 0


async def test_a_network_that_is_down_refuses(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        world.memory.weather.is_down = True
        with pytest.raises(ConnectionRefusedError):
            await world.memory.connect()


async def test_delays_pass_on_the_mock_clock(autojump_clock: MockClock) -> None:
    async with open_world(synthetic()) as world:
        world.memory.weather.longest_delay_s = 10.0
        began = trio.current_time()
        await world.get("time")
        assert 0 < trio.current_time() - began <= 30


async def test_pool_notices_a_closed_connection(autojump_clock: MockClock) -> None:
    """httpcore's pool notices that an idle connection was closed."""
    async with open_world(synthetic()) as world:
        await world.get("time")
        await trio.sleep(3600)
        await world.get("time")


def test_a_seed_repeats_the_weather() -> None:
    def run() -> list[int]:
        taken: list[int] = []

        async def main() -> None:
            async with open_world(synthetic()) as world:
                world.memory.weather.cut_per_byte = 0.0002
                for _ in range(5):
                    stream = await world.memory.connect()
                    await stream.send_all(b"GET /api/v3/trades?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\n\r\n")
                    taken.append(len(await until_broken(stream)))

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        return taken

    assert run() == run()
