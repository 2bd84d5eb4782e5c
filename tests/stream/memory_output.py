"""A third output of bars, into a memory channel: what a new transport has to write, and no more."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.session import Begin, open_session
from candled.stream.subscription import Selection
from tests.stream.support import Stored


class MemoryOutlet:
    """The way to one reader, who is slow when the channel is full."""

    has_own = False

    def __init__(self, channel: trio.MemorySendChannel[Message]) -> None:
        self._channel = channel
        self._news = trio.Event()

    def send_now(self, messages: Sequence[Message]) -> bool:
        statistics = self._channel.statistics()
        if statistics.current_buffer_used + len(messages) > statistics.max_buffer_size:
            return False
        for message in messages:
            self._channel.send_nowait(message)
        return True

    def wake(self) -> None:
        self._news.set()

    async def wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._news.wait()
        self._news = trio.Event()


@asynccontextmanager
async def open_memory_output(
    hub: Hub, stored: Stored, selection: Selection, begin: Begin = None, buffer: int = 100
) -> AsyncIterator[trio.MemoryReceiveChannel[Message]]:
    """Stream bars into a channel while inside; it ends when the service ends the stream."""
    send, receive = trio.open_memory_channel[Message](buffer)
    outlet = MemoryOutlet(send)

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with send, open_session(hub, stored, selection, outlet, begin=begin, clock=trio.current_time) as session:
            task_status.started()
            async for messages in session:
                for message in messages:
                    await send.send(message)

    async with receive, trio.open_nursery() as nursery:
        await nursery.start(run)
        yield receive
        nursery.cancel_scope.cancel()
