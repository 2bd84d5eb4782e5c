"""The live screen: redrawn on a message, a key, a resize of the terminal, and once a second."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live

from candled.cli import parts
from candled.cli.address_option import Target
from candled.cli.watch.chart import PITCH
from candled.cli.watch.control import Effect, obey, obey_click
from candled.cli.watch.day import DAY_INTERVAL, WINDOW
from candled.cli.watch.frame import draw, symbol_at, to_ascii
from candled.cli.watch.keys import Click, Mouse, key_mode, read_keys
from candled.cli.watch.model import BARS_MAX, View, Watch
from candled.client import Heartbeat, Kind, Message, TrioClient
from candled.domain.interval import DAY, INTERVALS
from candled.errors import UserError

_REDRAW_SECONDS_MIN: Final = 0.08
_REDRAW_SECONDS_MAX: Final = 1.0
"""Between redraws without a change, so that the age of stale data is right."""

_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0)
_STATUS_SECONDS: Final = 5.0
_MONTH: Final = 31 * DAY
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UPDATES_PER_SECOND: Final = 10.0
"""For each symbol: more is not visible."""
_LIST_UPDATES_PER_SECOND: Final = 4.0


class Screen:
    """One run of the live screen."""

    def __init__(self, watch: Watch, target: Target, zone: tzinfo) -> None:
        self._watch = watch
        self._target = target
        self._zone = zone
        # Some shells export the size of the terminal, which would hide a later resize.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._console = Console(_environ=environment)
        self._changed = trio.Event()
        self._streaming = trio.CancelScope()
        self._listed = trio.Event()

    async def run(self) -> None:
        """Show until ``q`` is pressed."""
        descriptor = sys.stdin.fileno()
        mouse = Mouse(sys.stdout)
        with (
            key_mode(descriptor),
            mouse.taken(),
            Live(console=self._console, screen=True, auto_refresh=False, transient=True) as live,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_streaming)
                nursery.start_soon(self._keep_day)
                nursery.start_soon(self._follow_status)
                nursery.start_soon(self._follow_size)
                nursery.start_soon(self._redraw, live)
                await self._obey_keys(descriptor, mouse)
                nursery.cancel_scope.cancel()

    def _news(self) -> None:
        self._changed.set()
        if self._watch.view is View.LIST:
            self._listed.set()

    async def _redraw(self, live: Live) -> None:
        while True:
            width, height = self._console.size
            lines = draw(self._watch, width, height, now=trio.current_time(), zone=self._zone)
            if not self._console.encoding.lower().startswith("utf"):
                to_ascii(lines)
            live.update(Group(*lines), refresh=True)
            await trio.sleep(_REDRAW_SECONDS_MIN)
            with trio.move_on_after(_REDRAW_SECONDS_MAX):
                await self._changed.wait()
            self._changed = trio.Event()

    async def _follow_size(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as resizes:
            async for _ in resizes:
                self._news()

    async def _obey_keys(self, descriptor: int, mouse: Mouse) -> None:
        async for key in read_keys(descriptor):
            if isinstance(key, Click):
                obey_click(self._watch, symbol_at(self._watch, self._console.size.height, key.line))
            else:
                match obey(self._watch, key):
                    case Effect.QUIT:
                        return
                    case Effect.OTHER_INTERVAL:
                        self._streaming.cancel()
                    case Effect.OTHER_MOUSE:
                        mouse.toggle()
                    case Effect.NOTHING:
                        pass
            self._news()

    async def _keep_streaming(self) -> None:
        """Stream until cancelled: reconnect after a loss, start over after a change of interval."""
        failures = 0

        def note_message() -> None:
            nonlocal failures
            failures = 0
            self._news()

        while True:
            with trio.CancelScope() as self._streaming:
                try:
                    await stream_once(self._watch, self._target, note_message)
                    self._watch.lost("the daemon ended the stream")
                except* UserError as group:
                    self._watch.lost(first_sentence(group))
            if self._streaming.cancelled_caught:
                continue
            self._news()
            await trio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1

    async def _keep_day(self) -> None:
        """Stream the bars of the list from its first use on. Why a stream ended is shown by that of the charts."""
        if self._watch.view is View.LIST:
            self._listed.set()
        await self._listed.wait()
        while True:
            try:
                await stream_day(self._watch, self._target, self._news)
            except* UserError:
                pass
            self._watch.day.loading = True
            self._news()
            await trio.sleep(_RETRY_SECONDS[-1])

    async def _follow_status(self) -> None:
        """Poll whether the exchange's stream of each symbol is live: silence alone is no sign."""
        while True:
            try:
                async with parts.open_client(self._target) as client:
                    while True:
                        status = await client.status()
                        self._watch.troubles = {
                            symbol.symbol: f"the exchange's stream of {symbol.symbol} is not live"
                            for symbol in status.symbols
                            if not symbol.live
                        }
                        self._news()
                        await trio.sleep(_STATUS_SECONDS)
            except* UserError:
                self._watch.troubles = {}  # the stream shows that the daemon is gone
            await trio.sleep(_STATUS_SECONDS)


async def stream_once(watch: Watch, target: Target, on_message: Callable[[], None]) -> None:
    """Fill the charts from one connection until it ends; ``on_message`` is called after each message."""
    async with parts.open_client(target) as client:
        now = (await client.status()).exchange_time
        watch.loading = True
        start = history_start(watch.interval, now)
        async with _open_stream(client, watch, watch.interval, start, _UPDATES_PER_SECOND) as messages:
            async for message in messages:
                watch.message_received(trio.current_time())
                if not _is_past(message, now):
                    watch.loading = False
                if isinstance(message, Message):
                    watch.take(message.bar)
                on_message()


async def stream_day(watch: Watch, target: Target, on_message: Callable[[], None]) -> None:
    """Fill the list from one connection until it ends; ``on_message`` is called after each message."""
    day = watch.day
    async with parts.open_client(target) as client:
        now = (await client.status()).exchange_time
        start = None if now <= _LONG_AGO else now - WINDOW
        day.forget()
        async with _open_stream(client, watch, DAY_INTERVAL, start, _LIST_UPDATES_PER_SECOND) as messages:
            async for message in messages:
                if not _is_past(message, now):
                    day.loading = False
                if isinstance(message, Message):
                    day.take(message.bar)
                on_message()


def _open_stream(
    client: TrioClient, watch: Watch, interval: str, start: datetime | None, updates_per_second: float
) -> AbstractAsyncContextManager[AsyncIterator[Message | Heartbeat]]:
    return client.stream_bars(
        symbols=watch.symbols,
        intervals=(interval,),
        start_time=start,
        max_updates_per_second=updates_per_second,
        reconnect=False,  # a break must be visible
        heartbeats=True,
    )


def _is_past(message: Message | Heartbeat, now: datetime) -> bool:
    """Return whether a message is of the past: past closes come first, and any other message is of the present."""
    return isinstance(message, Message) and message.kind is Kind.CLOSE and message.bar.close_time <= now


def history_start(interval: str, now: datetime) -> datetime | None:
    """Return the first open time to request, so that the widest chart is full; None if the time is unknown."""
    if now <= _LONG_AGO:
        return None
    length = INTERVALS[interval].length or _MONTH
    return max(now - timedelta(microseconds=BARS_MAX // PITCH * length), _LONG_AGO)


def first_sentence(group: BaseExceptionGroup[UserError]) -> str:
    """Return the text of the first error in a group, without its full stop."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).rstrip(".")
