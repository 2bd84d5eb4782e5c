"""Turns to read the history: a few at once, addresses one after the other."""

import grpc
import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from candled.api import candles_pb2 as pb
from candled.domain.bar import Bar
from candled.stream.turns import BusyError, TurnLimits, Turns
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http
from tests.stream.grpc_client import dial, in_thread
from tests.stream.support import Stored, World, open_service


class Readers:
    """Requests that each hold their turn until they are ended."""

    def __init__(self, turns: Turns, nursery: trio.Nursery) -> None:
        self.turns = turns
        self.nursery = nursery
        self.reading: list[str] = []
        self.served: list[str] = []
        self.refused: list[tuple[str, bool]] = []
        self._end = trio.Semaphore(0)

    async def ask(self, name: str, *, is_stream: bool = False) -> None:
        """A request of the address that its name begins with."""
        self.nursery.start_soon(self._read, name, is_stream)
        await wait_all_tasks_blocked()

    async def _read(self, name: str, is_stream: bool) -> None:
        try:
            async with self.turns.turn(name[0], is_stream=is_stream):
                self.served.append(name)
                await self._end.acquire()
        except BusyError as error:
            self.refused.append((name, error.is_own_fault))

    async def end(self, count: int) -> None:
        for _ in range(count):
            self._end.release()
            await wait_all_tasks_blocked()


async def test_addresses_take_turns(nursery: trio.Nursery) -> None:
    """Who asks most is not served most: waiting addresses are served one after the other."""
    readers = Readers(Turns(TurnLimits(reading=1)), nursery)
    for name in ("a1", "a2", "a3", "a4", "b1", "c1"):
        await readers.ask(name)
    await readers.end(6)
    assert readers.served == ["a1", "a2", "b1", "c1", "a3", "a4"]


async def test_closing_waits_for_readers(nursery: trio.Nursery) -> None:
    """Nobody is granted a turn any more, waiting or new, and it is over when the last reader is."""
    turns = Turns(TurnLimits(reading=1))
    readers = Readers(turns, nursery)
    closed = trio.Event()

    async def close() -> None:
        await turns.close()
        closed.set()

    await readers.ask("a1")
    await readers.ask("a2")
    nursery.start_soon(close)
    await wait_all_tasks_blocked()
    await readers.ask("b1")
    assert (readers.refused, closed.is_set()) == ([("b1", False)], False)
    await readers.end(1)
    assert (readers.served, closed.is_set()) == (["a1"], True)
    nursery.cancel_scope.cancel()


async def test_closing_without_readers() -> None:
    """There is nothing to wait for."""
    turns = Turns()
    with trio.fail_after(1):
        await turns.close()
        await turns.close()


async def test_a_few_read_at_once(nursery: trio.Nursery) -> None:
    """As many read as the limit says, and the next begins when one ends."""
    readers = Readers(Turns(TurnLimits(reading=2)), nursery)
    for name in ("a1", "a2", "a3"):
        await readers.ask(name)
    assert readers.served == ["a1", "a2"]
    await readers.end(1)
    assert readers.served == ["a1", "a2", "a3"]
    await readers.end(2)
    assert repr(readers.turns) == "Turns(reading=0, waiting=0)"


async def test_address_limit_and_total_limit(nursery: trio.Nursery) -> None:
    """Beyond its limit an address is refused as its own fault; beyond that of all it is not."""
    readers = Readers(Turns(TurnLimits(reading=1, waiting=3, waiting_per_address=2)), nursery)
    for name in ("a1", "a2", "a3", "a4", "b1", "c1"):
        await readers.ask(name)
    assert readers.refused == [("a4", True), ("c1", False)]
    await readers.end(6)


async def test_streams_wait_without_limit(nursery: trio.Nursery, autojump_clock: object) -> None:
    """A replay is not refused for waiting, however many there are; a request is, after some time."""
    readers = Readers(Turns(TurnLimits(reading=1, waiting=1, seconds=5.0)), nursery)
    await readers.ask("a1")
    for name in ("b1", "b2", "b3"):
        await readers.ask(name, is_stream=True)
    await trio.sleep(60)
    assert readers.refused == []
    await readers.end(4)
    assert readers.served == ["a1", "b1", "b2", "b3"]


async def test_waiting_ends(nursery: trio.Nursery, autojump_clock: object) -> None:
    """A request that waited too long is refused and leaves nothing behind."""
    readers = Readers(Turns(TurnLimits(reading=1, seconds=5.0)), nursery)
    await readers.ask("a1")
    await readers.ask("b1")
    await trio.sleep(6)
    assert readers.refused == [("b1", False)]
    await readers.end(1)
    assert repr(readers.turns) == "Turns(reading=0, waiting=0)"


async def test_leaving_client_frees_its_place(nursery: trio.Nursery) -> None:
    """A request cancelled while it waits, or in the moment of its turn, takes nobody's turn away."""
    turns = Turns(TurnLimits(reading=1))
    readers = Readers(turns, nursery)
    await readers.ask("a1")
    with trio.move_on_after(0.01):
        async with turns.turn("b"):
            pytest.fail("it has no turn")
    scope = trio.CancelScope()

    async def leave_at_its_turn() -> None:
        with scope:
            async with turns.turn("c"):
                await trio.sleep_forever()

    nursery.start_soon(leave_at_its_turn)
    await wait_all_tasks_blocked()
    scope.cancel()
    await readers.end(1)
    await readers.ask("d1")
    assert readers.served == ["a1", "d1"]
    await readers.end(1)
    assert repr(turns) == "Turns(reading=0, waiting=0)"


class SlowStored(Stored):
    """A history whose reads last until a test ends them."""

    def __init__(self) -> None:
        super().__init__()
        self.go = trio.Event()

    async def bars(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> list[Bar]:
        await self.go.wait()
        return await super().bars(symbol, interval, start, end, limit)


async def until_waiting(turns: Turns, state: str) -> None:
    with trio.fail_after(10):
        while repr(turns) != state:
            await trio.sleep(0.005)


LIMITS = TurnLimits(reading=1, waiting_per_address=1)
FULL = "Turns(reading=1, waiting=1)"


async def test_grpc_refuses_with_a_time_to_retry() -> None:
    """A page asked for while too many of the client's wait is RESOURCE_EXHAUSTED, and says when to ask again."""
    world, turns = World(clock=trio.current_time), Turns(LIMITS)
    world.stored = stored = SlowStored()
    request = pb.GetBarsRequest(symbol="BTCUSDT")
    async with open_service(world, turns=turns) as server, trio.open_nursery() as nursery:
        with dial(server.address) as client:
            for _ in range(2):
                nursery.start_soon(in_thread, client.GetBars, request)
            await until_waiting(turns, FULL)
            with pytest.raises(grpc.RpcError) as caught:
                await in_thread(client.GetBars, request)
            stored.go.set()
            await until_waiting(turns, "Turns(reading=0, waiting=0)")
            await trio.sleep(0.1)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("retry-after", "1") in caught.value.trailing_metadata()


async def test_http_refuses_with_a_time_to_retry(nursery: trio.Nursery) -> None:
    """A page asked for while too many of the client's wait is 429 with Retry-After; others' requests are not."""
    world, turns = World(clock=trio.current_time), Turns(LIMITS)
    stored = SlowStored()
    source = ChartSource(world.hub, stored, world.status, turns)

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_http(
            "127.0.0.1:0", not_ready_reasons=lambda: (), chart=lambda: source, task_status=task_status
        )

    url = f"http://{await nursery.start(serve)}/api/bars?symbol=BTCUSDT"
    async with httpx.AsyncClient(timeout=10) as client:
        async with trio.open_nursery() as asking:
            for _ in range(2):
                asking.start_soon(client.get, url)
            await until_waiting(turns, FULL)
            refused = await client.get(url)
            stored.go.set()
        answered = await client.get(url)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert answered.status_code == 200
    nursery.cancel_scope.cancel()
