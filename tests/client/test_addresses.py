"""Clients that know several addresses: they use the first that answers, and move when it falls silent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from candled.client import AsyncioClient, TrioClient, pulse
from candled.client.calls import SILENCE_SECONDS
from candled.client.model import Message
from candled.client.pulse import PATIENCE_MAX, QUIET_SECONDS, SETTLED_SECONDS, Patience, Pulse
from tests.bus.relay import Relay, open_relay
from tests.client.conftest import Use
from tests.ports import free_ports
from tests.stream.support import World, close, minute, open_service, update


@attrs.define
class Place:
    """A server behind a relay that can be cut, as if the process were stopped."""

    world: World
    relay: Relay

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.relay.port}"

    @property
    def streams(self) -> int:
        return self.world.hub.statistics().subscribers


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    world = World(clock=trio.current_time)
    async with (
        open_service(world) as server,
        open_relay(int(server.address.rpartition(":")[2])) as relay,
    ):
        yield Place(world, relay)


async def used(*places: Place) -> Place:
    """The place where a stream is open, once there is one: on a busy machine any may answer first."""
    while not any(place.streams for place in places):
        await trio.sleep(0.005)
    return next(place for place in places if place.streams)


async def arrived(messages: list[Message], count: int) -> None:
    while len(messages) < count:
        await trio.sleep(0.005)


def collect(into: list[Message], count: int) -> Use:
    async def use(client: TrioClient | AsyncioClient) -> None:
        async with client.stream_bars() as messages:
            async for message in messages:
                into.append(message)
                if len(into) == count:
                    return

    return use


async def test_a_silent_server_is_left(run: Any) -> None:
    """A stream continues at the other address soon, long before it counts as dead itself."""
    got: list[Message] = []
    with trio.fail_after(40):
        async with open_place() as one, open_place() as two, trio.open_nursery() as nursery:
            nursery.start_soon(run, [one.address, two.address], collect(got, 2))
            first = await used(one, two)
            other = two if first is one else one
            first.world.publish_and_store(close(minute(0), 1))
            await arrived(got, 1)
            other.world.stored.store([close(minute(0), 1)])
            first.relay.cut()
            begun = trio.current_time()
            await used(other)
            took = trio.current_time() - begun
            other.world.publish(close(minute(1), 2))
            await arrived(got, 2)

    assert QUIET_SECONDS < took < SILENCE_SECONDS / 2  # 0.7 s on a machine with nothing else to do
    assert [message.bar.open_time.minute for message in got] == [0, 1]


async def test_a_quiet_server_is_kept(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has nothing to say, but answers, keeps its streams."""
    monkeypatch.setattr(pulse, "ANSWER_SECONDS", 20.0)  # a busy machine answers late, too
    got: list[Message] = []
    with trio.fail_after(40):
        async with open_place() as one, open_place() as other, trio.open_nursery() as nursery:
            nursery.start_soon(run, [one.address, other.address], collect(got, 1))
            await used(one)
            await trio.sleep(3 * QUIET_SECONDS)
            one.world.publish(update(minute(0)))
            await arrived(got, 1)
            assert other.streams == 0


async def test_a_stopped_server_takes_no_call(run: Any) -> None:
    """Connections to a stopped process are made, and nobody answers on them: the next address is used."""
    with trio.fail_after(40):
        async with open_place() as one, open_place() as other:
            one.relay.cut()
            symbols = await run([one.address, other.address], lambda client: client.symbols())
    assert len(symbols) == 3


async def test_a_dead_server_is_passed_over(run: Any) -> None:
    """Calls go to the next address where nobody listens."""
    with trio.fail_after(40):
        async with open_place() as place:
            dead = f"127.0.0.1:{free_ports(1)[0]}"
            symbols = await run([dead, place.address], lambda client: client.symbols())
    assert len(symbols) == 3


async def test_silence_without_an_alternative_is_endured(run: Any) -> None:
    """While no other address answers, the stream stays where it is, and continues there."""
    got: list[Message] = []
    with trio.fail_after(40):
        async with open_place() as place, trio.open_nursery() as nursery:
            nursery.start_soon(run, [place.address, f"127.0.0.1:{free_ports(1)[0]}"], collect(got, 2))
            await used(place)
            place.relay.cut()
            await trio.sleep(QUIET_SECONDS + 3 * pulse.ANSWER_SECONDS)
            place.relay.heal()
            place.world.publish(update(minute(0)))
            await arrived(got, 1)
            assert place.streams == 1
            place.world.publish(update(minute(0, trades=4)))
            await arrived(got, 2)


def test_a_quiet_stream_is_asked_less_often() -> None:
    """Each answer without data doubles the wait, data in time shortens it again, down to the usual one."""
    stream = Pulse()
    for _ in range(3):
        stream.answered()
    assert stream.seconds == 8 * QUIET_SECONDS
    stream.flowed()
    assert QUIET_SECONDS < stream.seconds < 8 * QUIET_SECONDS
    for _ in range(100):
        stream.flowed()
    assert stream.seconds == QUIET_SECONDS


def test_who_moved_waits_longer() -> None:
    """Each move doubles the time for an answer up to a limit; after a while it is the usual one again."""
    patience = Patience()
    now = 1_000.0
    for _ in range(10):
        patience.moved(now)
    assert patience.seconds(now + 1) == PATIENCE_MAX * pulse.ANSWER_SECONDS
    assert patience.seconds(now + 1 + SETTLED_SECONDS) == pulse.ANSWER_SECONDS
