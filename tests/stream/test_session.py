"""One session for every output: subscribe, replay, live, end. Shown on an output that only tests have."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from candled.stream.hub import TooManyStreamsError
from candled.stream.message import Message
from candled.stream.session import open_session
from candled.stream.subscription import Selection
from candled.stream.unstored import HistoryBehindError, UnstoredTail
from tests.stream.memory_output import MemoryOutlet, open_memory_output
from tests.stream.support import START, Stored, World, close, minute, summaries, update


@pytest.fixture
def world(autojump_clock: object) -> World:
    return World(clock=trio.current_time, backlog_max=5)


async def take(channel: trio.MemoryReceiveChannel[Message], count: int) -> list[Message]:
    return [await channel.receive() for _ in range(count)]


async def test_replay_passes_into_live(world: World) -> None:
    """Stored bars, then unstored ones, then the forming bar, then everything as it happens: each once."""
    for index in range(3):
        world.publish_and_store(close(minute(index), index + 1))
    world.publish(close(minute(3), 4), update(minute(4)))
    async with open_memory_output(world.hub, world.stored, Selection(), begin=START) as channel:
        first = await take(channel, 5)
        await wait_all_tasks_blocked()
        world.publish(close(minute(4), 5))
        assert summaries([*first, await channel.receive()]) == [
            *(("CLOSE", index) for index in range(4)),
            ("SNAPSHOT", 4),
            ("CLOSE", 4),
        ]


async def test_resuming_misses_nothing(world: World) -> None:
    """A session that begins at the point of another's last message gets exactly what came after it."""
    async with open_memory_output(world.hub, world.stored, Selection(closed_only=True)) as channel:
        await wait_all_tasks_blocked()
        world.publish_and_store(close(minute(0), 1), close(minute(1), 2))
        (last, _) = await take(channel, 2)
    world.publish(close(minute(2), 3))
    point = world.hub.here.after(1)
    assert last.resume_token
    selection = Selection(closed_only=True)
    async with open_memory_output(world.hub, world.stored, selection, begin=point) as channel:
        assert summaries(await take(channel, 2)) == [("CLOSE", 1), ("CLOSE", 2)]


async def test_a_slow_reader_gets_every_close(world: World) -> None:
    """A reader behind a full channel gets conflated updates and every closed bar."""
    async with open_memory_output(world.hub, world.stored, Selection(), buffer=1) as channel:
        await wait_all_tasks_blocked()
        for trades in (1, 2, 3):
            world.publish(update(minute(0, trades=trades)))
            await wait_all_tasks_blocked()
        world.publish(close(minute(0), 1), close(minute(1), 2))
        kinds = [message.kind.name for message in await take(channel, 4)]
    assert (kinds[0], kinds[-2:]) == ("UPDATE", ["CLOSE", "CLOSE"])


async def test_end_comes_after_waiting_messages(world: World) -> None:
    """When the daemon stops, a session yields the closed bars that wait, then ends."""
    async with open_memory_output(world.hub, world.stored, Selection(closed_only=True), buffer=0) as channel:
        await wait_all_tasks_blocked()
        world.publish(close(minute(0), 1), close(minute(1), 2))
        world.hub.close()
        assert summaries([message async for message in channel]) == [("CLOSE", 0), ("CLOSE", 1)]
    assert world.hub.statistics().subscribers == 0


async def test_an_end_during_replay_comes_at_once(world: World) -> None:
    """What waits behind a replay that is cut short is not sent: its tokens would claim the rest of the replay."""
    for index in range(200):
        world.publish_and_store(close(minute(index), index + 1))
    async with open_memory_output(world.hub, world.stored, Selection(), begin=START, buffer=0) as channel:
        first = await channel.receive()
        world.publish(close(minute(200), 201))
        world.hub.close()
        rest = [message async for message in channel]
    assert summaries([first, *rest])[-1] == ("CLOSE", len(rest))
    assert len(rest) < 199


async def test_falling_behind_ends_the_session(world: World) -> None:
    """Past the limit of closed bars that wait the session ends, though its reader takes nothing."""
    async with open_memory_output(world.hub, world.stored, Selection(), buffer=0):
        await wait_all_tasks_blocked()
        for index in range(8):
            world.publish(close(minute(index), index + 1))
        assert world.hub.statistics().fell_behind == 1


async def test_idle_session_gets_heartbeats(world: World) -> None:
    """With nothing to send a session yields a heartbeat every 15 seconds."""
    async with open_memory_output(world.hub, world.stored, Selection()) as channel:
        began = trio.current_time()
        assert summaries(await take(channel, 2)) == [("HEARTBEAT", None)] * 2
        assert trio.current_time() - began == pytest.approx(30, abs=1)


def test_a_refused_session_leaves_nothing() -> None:
    """A session that cannot be opened is not among the streams."""
    stored = Stored()
    world = World(unstored=UnstoredTail(stored, bars_max=1), streams_max=1)
    for index in range(3):
        world.publish(close(minute(index), index + 1))
    outlet = MemoryOutlet(trio.open_memory_channel[Message](1)[0])
    selection, clock = Selection(), lambda: 0.0
    with (
        pytest.raises(HistoryBehindError),
        open_session(world.hub, stored, selection, outlet, begin=START, clock=clock),
    ):
        pass
    assert world.hub.statistics().subscribers == 0
    with (
        open_session(world.hub, stored, selection, outlet, clock=clock),
        pytest.raises(TooManyStreamsError),
        open_session(world.hub, stored, selection, outlet, clock=clock),
    ):
        pass
