"""Clients of the edges that keep everything they were sent, and check the order as it comes."""

import asyncio
import base64
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from typing import Final

import attrs
import trio

from candled.client import Bar, Kind, Message, open_asyncio_client, open_trio_client
from candled.stream.resume import LivePoint, ResumeTokens

INTERVALS: Final = ("1m", "3m", "5m", "15m", "1h")

Key = tuple[str, str, datetime]
"""Symbol, interval and open time of a bar."""


@attrs.define(eq=False)
class Subscriber:
    """One subscriber; ``run`` follows the stream with the client's own reconnects."""

    edges: Sequence[str]
    closed: dict[Key, Bar] = attrs.Factory(dict)
    """Newest revision of each bar."""
    revisions: dict[tuple[Key, int], tuple[Bar, str]] = attrs.Factory(dict)
    """Every revision of each bar, with its resume token; none if it was replayed, as that repeats an older one."""
    faults: list[str] = attrs.Factory(list)
    times: list[float] = attrs.Factory(list)
    """Monotonic seconds at which a message came."""
    _last_token: str = ""
    _forming: dict[tuple[str, str], tuple[datetime, int]] = attrs.Factory(dict)

    async def run(self) -> None:
        """Take messages until cancelled."""
        async with (
            open_trio_client(self.edges) as client,
            client.stream_bars(intervals=INTERVALS) as stream,
        ):
            async for message in stream:
                self.take(message)

    def take(self, message: Message) -> None:
        """Take one message."""
        self.times.append(time.monotonic())
        bar = message.bar
        if message.kind in (Kind.UPDATE, Kind.SNAPSHOT):
            self._take_forming(message.kind, bar)
            return
        key = (bar.symbol, bar.interval, bar.open_time)
        known = self.closed.get(key)
        if known is not None and bar.revision <= known.revision:
            self.faults.append(f"{key}: revision {bar.revision} after {known.revision}")
        self.closed[key] = bar
        is_live = message.resume_token != self._last_token and _names(message.resume_token, bar)
        self.revisions[key, bar.revision] = (bar, message.resume_token if is_live else "")
        self._last_token = message.resume_token

    def _take_forming(self, kind: Kind, bar: Bar) -> None:
        key = (bar.symbol, bar.interval)
        known = self._forming.get(key)
        found = (bar.open_time, bar.trade_count)
        # A snapshot of the edge moved to may say again what the last update said, and a longer bar also changes
        # when a minute without trades begins.
        is_repeated = kind is Kind.UPDATE and bar.interval == "1m" and found == known
        if known is not None and (found < known or is_repeated):
            self.faults.append(f"{key}: the forming bar went back from {known} to {found} ({kind.name})")
        self._forming[key] = found

    def longest_silence(self, start: float, end: float) -> float:
        """Seconds of the longest silence between two times, monotonic seconds."""
        times = self.times[bisect_right(self.times, start) : bisect_left(self.times, end)]
        return max(after - before for before, after in pairwise([start, *times, end]))


def _names(token: str, bar: Bar) -> bool:
    """Return whether a token is the point right after a bar; that of a replay is where it began."""
    history = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[2:10]
    point = ResumeTokens(history.hex()).decode(token)
    open_time = round(bar.open_time.timestamp() * 1_000_000)
    return isinstance(point, LivePoint) and point == LivePoint.at(point.position, bar.interval, open_time)


@attrs.define(eq=False)
class AsyncioSubscriber(Subscriber):
    """The same with the client for asyncio, in a thread of its own."""

    async def run(self) -> None:
        """Take messages until cancelled."""
        loop = asyncio.SelectorEventLoop()  # not asyncio.run, which the bridge of a server in this process changes
        task = loop.create_task(self._follow())
        try:
            await trio.to_thread.run_sync(self._run, loop, task, abandon_on_cancel=True)
        finally:
            with suppress(RuntimeError):  # it ended by itself, and its loop is closed
                loop.call_soon_threadsafe(task.cancel)

    def _run(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    async def _follow(self) -> None:
        async with (
            open_asyncio_client(self.edges) as client,
            client.stream_bars(intervals=INTERVALS) as stream,
        ):
            async for message in stream:
                self.take(message)
