"""The live screen: redraws when something changed, a key was pressed or the terminal was resized."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live

from candled.cli import parts
from candled.cli.address_option import Target
from candled.cli.watch.chart import PITCH, draw
from candled.cli.watch.keys import key_mode, read_keys
from candled.cli.watch.model import BARS_KEPT, Watch
from candled.client import Kind
from candled.domain.interval import DAY, INTERVALS
from candled.errors import UserError

_REDRAW_SECONDS_MIN: Final = 0.08
_REDRAW_SECONDS_MAX: Final = 1.0
"""Without news too, so that the age of stale data is true."""

_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0)
_STATUS_SECONDS: Final = 5.0
_MONTH: Final = 31 * DAY
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UPDATES_PER_SECOND: Final = 10.0
"""More than the eye sees is not asked for."""


class Screen:
    """One run of the live screen."""

    def __init__(self, watch: Watch, target: Target, zone: tzinfo) -> None:
        self._watch = watch
        self._target = target
        self._zone = zone
        # Without the variables that some shells export: they would fix the size that the terminal had then.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._console = Console(_environ=environment)
        self._changed = trio.Event()
        self._streaming = trio.CancelScope()

    async def run(self) -> None:
        """Show until ``q`` is pressed."""
        descriptor = sys.stdin.fileno()
        with (
            key_mode(descriptor),
            Live(console=self._console, screen=True, auto_refresh=False, transient=True) as live,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stream_for_ever)
                nursery.start_soon(self._follow_status)
                nursery.start_soon(self._follow_size)
                nursery.start_soon(self._redraw, live)
                await self._obey_keys(descriptor)
                nursery.cancel_scope.cancel()

    def _news(self) -> None:
        self._changed.set()

    async def _redraw(self, live: Live) -> None:
        while True:
            width, height = self._console.size
            lines = draw(self._watch, width, height, now=trio.current_time(), zone=self._zone)
            live.update(Group(*lines), refresh=True)
            await trio.sleep(_REDRAW_SECONDS_MIN)
            with trio.move_on_after(_REDRAW_SECONDS_MAX):
                await self._changed.wait()
            self._changed = trio.Event()

    async def _follow_size(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as resizes:
            async for _ in resizes:
                self._news()

    async def _obey_keys(self, descriptor: int) -> None:
        watch = self._watch
        async for key in read_keys(descriptor):
            match key:
                case "q" | "escape":
                    return
                case "right" | "\t":
                    watch.step(1)
                case "left":
                    watch.step(-1)
                case "a":
                    watch.select(None)
                case "+" | "=" | "up":
                    if watch.other_interval(1):
                        self._streaming.cancel()
                case "-" | "down":
                    if watch.other_interval(-1):
                        self._streaming.cancel()
                case _ if key.isdigit():
                    watch.select(int(key) - 1)
            self._news()

    async def _stream_for_ever(self) -> None:
        """Stream; after a loss say so and try again, after a change of interval begin anew."""
        failures = 0

        def told() -> None:
            nonlocal failures
            failures = 0
            self._news()

        while True:
            with trio.CancelScope() as self._streaming:
                try:
                    await stream_once(self._watch, self._target, told)
                    self._watch.lost("the daemon ended the stream")
                except* UserError as group:
                    self._watch.lost(first_sentence(group))
            if self._streaming.cancelled_caught:
                continue
            self._news()
            await trio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1

    async def _follow_status(self) -> None:
        """Ask now and then whether each symbol's own stream is live: silence alone does not tell."""
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
                self._watch.troubles = {}  # the stream tells that the daemon is away
            await trio.sleep(_STATUS_SECONDS)


async def stream_once(watch: Watch, target: Target, told: Callable[[], None]) -> None:
    """Fill ``watch`` from one connection until it ends; ``told`` is called after each message."""
    async with parts.open_client(target) as client:
        now = (await client.status()).exchange_time
        watch.loading = True
        async with client.stream_bars(
            symbols=watch.symbols,
            intervals=(watch.interval,),
            start_time=history_start(watch.interval, now),
            max_updates_per_second=_UPDATES_PER_SECOND,
            reconnect=False,  # a break is to be seen
        ) as messages:
            async for message in messages:
                watch.heard(trio.current_time())
                # Closes of the past come first; whatever else comes, or one from after the start, is of now.
                if message.kind is not Kind.CLOSE or (message.bar is not None and message.bar.close_time > now):
                    watch.loading = False
                if message.bar is not None:
                    watch.take(message.bar)
                told()


def history_start(interval: str, now: datetime) -> datetime | None:
    """From when bars are asked for, so that the widest chart is full; None if the time is not known yet."""
    if now <= _LONG_AGO:
        return None
    length = INTERVALS[interval].length or _MONTH
    return max(now - timedelta(microseconds=BARS_KEPT // PITCH * length), _LONG_AGO)


def first_sentence(group: BaseExceptionGroup[UserError]) -> str:
    """The text of the first error in a group, without its full stop."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).rstrip(".")
