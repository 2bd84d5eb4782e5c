"""Channels of grpclib to one or several addresses: which one to use, and when to go to another."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from grpclib.client import Channel

from candled.client import calls
from candled.client.pulse import QUIET_SECONDS, Patience, Pulse

_PING: Final = b"\0" * 8


class Link:
    """A connected channel that can be asked for a sign of life; grpclib only does that on its own schedule."""

    def __init__(self, address: str, channel: Channel, protocol: Any) -> None:
        self.address = address
        self.channel = channel
        self._protocol = protocol
        self._made_at = _now()
        self._heard = asyncio.Event()
        self._called = asyncio.Event()
        protocol.connection.ping_ack_process = self._heard.set

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._protocol.handler.connection_lost or self._protocol.connection.is_closing())

    @property
    def is_busy(self) -> bool:
        """Whether a call is open."""
        return bool(self._protocol.processor.streams)

    @property
    def data_at(self) -> float:
        """When data came last, or the first call was made."""
        return max(self._made_at, self._protocol.connection.last_data_received or 0.0)

    def note_call(self) -> None:
        """Note that a call is made."""
        if not self.is_busy:
            self._made_at = _now()
        self._called.set()

    async def called(self) -> None:
        """Return once a call was made."""
        if not self.is_busy:
            self._called.clear()
            await self._called.wait()

    async def answers(self) -> None:
        """Ask for a sign of life; return once there is one."""
        self._heard.clear()
        self._protocol.connection._connection.ping(_PING)
        self._protocol.connection.flush()
        await self._heard.wait()

    def cut(self) -> None:
        """End the connection and every call on it."""
        self.channel.close()


class Channels:
    """The channels of one client."""

    def __init__(self, addresses: Sequence[tuple[str, tuple[str, int]]], context: ssl.SSLContext | None) -> None:
        self._channels = [(name, Channel(host, port, ssl=context)) for name, (host, port) in addresses]
        """By address; the one in use comes first."""
        self._links: dict[str, Link] = {}
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._patience = Patience()
        self._watching: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def address(self) -> str:
        """In use, or tried next."""
        return self._channels[0][0]

    def close(self) -> None:
        """Close all channels."""
        for task in self._watching:
            task.cancel()
        for _, channel in self._channels:
            channel.close()

    async def connected(self) -> Link:
        """Return the live connection, or a new one.

        Raises:
            OSError: no server answers.
        """
        async with self._connecting:
            if self._link is not None and self._link.is_lost:
                self.leave(self._link)
            if self._link is None:
                self._use(await self._first_to_answer(self._channels))
            assert self._link is not None
            return self._link

    def leave(self, link: Link | None) -> None:
        """Have the next call go to another address, if there are several and this is the connection in use."""
        if link is not None and link is self._link and (link.is_lost or len(self) > 1):
            self._link = None
            self._channels.append(self._channels.pop(0))

    def _use(self, link: Link) -> None:
        self._link = link
        while self.address != link.address:
            self._channels.append(self._channels.pop(0))
        if len(self) > 1:
            task = asyncio.get_running_loop().create_task(self._watch(link))
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def _connect(self, address: str, channel: Channel) -> Link:
        """Connect one channel; return once its server answers, if there are several.

        Raises:
            OSError: it does not.
        """
        async with asyncio.timeout(calls.CONNECT_SECONDS):
            protocol = await channel.__connect__()
            link = self._links.get(address)
            if link is None or link.is_lost:
                link = self._links[address] = Link(address, channel, protocol)
            if len(self) > 1:
                await link.answers()
            return link

    async def _first_to_answer(self, channels: Sequence[tuple[str, Channel]]) -> Link:
        """Connect to the first address, and to one more whenever those before have not answered soon.

        Raises:
            OSError: none answers; the last reason.
        """
        tries: set[asyncio.Task[Link]] = set()
        waiting = list(channels)
        error: OSError | None = None
        try:
            while waiting or tries:
                if waiting:
                    tries.add(asyncio.ensure_future(self._connect(*waiting.pop(0))))
                seconds = self._patience.seconds(_now()) if waiting else None
                done, tries = await asyncio.wait(tries, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        return task.result()
                    except OSError as failure:
                        error = failure
        finally:
            for task in tries:
                task.cancel()
        assert error is not None
        raise error

    async def _watch(self, link: Link) -> None:
        """Move to another address once this one does not answer, and the other one does."""
        pulse = Pulse()
        while link is self._link and not link.is_lost:
            await link.called()
            data_at = link.data_at
            await asyncio.sleep(data_at + pulse.seconds - _now())
            if link.data_at > data_at or not link.is_busy:
                pulse.flowed()
                continue
            if link.is_lost:
                return
            answer = asyncio.ensure_future(link.answers())
            try:
                await asyncio.wait({answer}, timeout=self._patience.seconds(_now()))
                other = None if answer.done() else await self._other_to_answer(link, answer)
            finally:
                answer.cancel()
            if other is None:
                pulse.answered()
            elif link is self._link:
                self._patience.moved(_now())
                self._use(other)
                link.cut()

    async def _other_to_answer(self, link: Link, answer: "asyncio.Future[None]") -> Link | None:
        """Return a connection to another address, unless the one in use answers before."""
        others = [(address, channel) for address, channel in self._channels if address != link.address]
        while not answer.done():
            other = asyncio.ensure_future(self._first_to_answer(others))
            try:
                both: set[asyncio.Future[Any]] = {answer, other}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if other.done():
                    with suppress(OSError):
                        return other.result()
                    await asyncio.sleep(QUIET_SECONDS)
            finally:
                other.cancel()
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
