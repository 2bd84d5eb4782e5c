"""Keeps the exchange's streams connected. The same for every exchange: what differs comes from its adapter.

One task per group of streams and copy (setting ``connections``) holds one connection after another:

    attempt allowed -> connect, subscribe -> reading -> its end -> attempt allowed -> ...

A connection ends when it is lost, when it is older than the adapter's ``connection_lifetime``, when the exchange
asks for it, or when its group is renewed (its streams changed, or one of them is dead). In all cases but a loss it
goes on reading until its successor reads: trades arrive twice, which the engine counts once, and none is missed.

Invariants:
- ``StreamLive`` is emitted for a symbol when the first connection that carries it reads, ``StreamLost`` when the
  last one is lost; between the two, a silent symbol is known to be carried.
- All groups together begin no more connections than the exchange allows (``attempts``); after a failure or a loss
  the next attempt waits with growing, jittered delays, and the next of the base URLs is tried.
- The reader of a socket never waits for the engine (see ``intake``); it answers pings, and a connection that
  brings neither a frame nor a pong for one ``keepalive`` is lost, whatever the socket says.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog
import trio

from candled.domain.feed_event import FeedEvent, StreamLive, StreamLost
from candled.feed.adapter import Connect, ExchangeAdapter
from candled.feed.counts import FeedCounts
from candled.feed.groups import StreamGroup, StreamGroups
from candled.feed.intake import Intake
from candled.feed.transport.frames import Frames
from candled.feed.transport.rate_limit import RollingLimit
from candled.feed.transport.reasons import printable
from candled.feed.transport.websocket import DEFAULT_LIBRARY, ConnectionLost, open_frames, why_lost
from candled.retry import Backoff

LIFETIME_JITTER: Final = 0.05
"""Share of its lifetime by which a connection is replaced earlier, so that not all are at once."""

_Send = trio.MemorySendChannel[FeedEvent]


class Connection:
    """State of one connection, shared with the task that keeps it."""

    def __init__(self, channels: Mapping[str, str]) -> None:
        self.channels = channels
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        """Set when it was lost or asks for a successor."""
        self.lost = False
        self.started = False
        self.last_frame = float("-inf")
        """Local monotonic clock, seconds."""


class Connections:
    """Keeps every group of streams connected and passes their frames on."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        groups: StreamGroups,
        intake: Intake,
        counts: FeedCounts,
        *,
        base_urls: Sequence[str],
        copies: int,
        connect: Connect,
        rng: random.Random,
        lifetime: float | None = None,
        websocket_library: str = DEFAULT_LIBRARY,
    ) -> None:
        """Make them; ``run`` does the work.

        Args:
            adapter: the exchange.
            groups: which streams to read; they may change while it runs.
            intake: takes decoded frames.
            counts: where connects, losses and roll-overs are counted.
            base_urls: tried in turn; each copy begins with another one.
            copies: connections of each group at all times.
            connect: opens byte streams to the exchange.
            rng: jitter.
            lifetime: seconds, instead of the adapter's.
            websocket_library: one of ``transport.websocket.READERS``.
        """
        self.open = 0
        """Connections that are open."""
        self.all_carried = trio.Event()
        """Set once every stream was connected."""
        self.failures: dict[str, str] = {}
        """Why the last attempt at a base URL failed, by the URL; without those that answered since."""
        self.reconnects: Counter[str] = Counter()
        """How often each symbol's stream was connected again."""
        self._adapter = adapter
        self._groups = groups
        self._intake = intake
        self._counts = counts
        self._base_urls = list(base_urls)
        self._copies = copies
        self._connect = connect
        self._websocket_library = websocket_library
        self._rng = rng
        self._lifetime = adapter.capabilities.connection_lifetime if lifetime is None else lifetime
        self._attempts = RollingLimit(*adapter.capabilities.attempts)
        self._attempt_turn = trio.Lock()
        self._carriers: Counter[str] = Counter()
        """Connections that carry each symbol's stream now."""
        self._log = structlog.get_logger(__name__)

    def carries(self, symbol: str) -> bool:
        """Whether a connection carries this symbol's stream now."""
        return self._carriers[symbol] > 0

    async def run(self, send: _Send) -> None:
        """Keep every group connected, also those that are added later, until cancelled."""
        kept: set[StreamGroup] = set()
        async with send, trio.open_nursery() as nursery:
            while True:
                changed = self._groups.changed
                for group in self._groups.groups:
                    if group not in kept:
                        nursery.start_soon(self._keep_group, group, send.clone())
                kept = set(self._groups.groups)
                await changed.wait()

    async def _keep_group(self, group: StreamGroup, send: _Send) -> None:
        async with send:
            with group.over:
                async with trio.open_nursery() as nursery:
                    for copy in range(self._copies):
                        nursery.start_soon(self._keep_connected, group, copy, send.clone())

    async def _keep_connected(self, group: StreamGroup, copy: int, send: _Send) -> None:
        """Hold one connection after another; a successor receives before its predecessor is closed."""
        backoff = Backoff(self._rng)
        urls = self._base_urls[copy % len(self._base_urls) :] + self._base_urls[: copy % len(self._base_urls)]
        first = True
        async with send, trio.open_nursery() as nursery:
            predecessor = trio.CancelScope()
            while True:
                await self._attempt_allowed()
                try:
                    connection = await nursery.start(partial(self._read, urls[0], group.channels, send, backoff))
                except ConnectionLost as error:
                    await self._note_failure(error, urls, backoff)
                    continue
                predecessor.cancel()
                predecessor = connection.scope
                group.fresh_since = trio.current_time()
                if not first:
                    self.reconnects.update(connection.channels.keys())
                first = False
                with trio.move_on_after(self._lifetime * self._rng.uniform(1 - LIFETIME_JITTER, 1.0)):
                    await _wait_for_end(connection, group)
                if connection.lost:
                    await trio.sleep(backoff.next())
                else:
                    self._counts.roll_overs += 1

    async def _note_failure(self, error: BaseException, urls: list[str], backoff: Backoff) -> None:
        """Log a failed attempt, turn to the next base URL and wait before it is tried."""
        self._counts.connect_failures += 1
        delay = backoff.next()
        reason = _why(error)
        self.failures[urls[0]] = reason
        self._log.warning(
            "cannot connect to the exchange",
            url=urls[0],
            reason=reason,
            retry_in_seconds=round(delay, 2),
        )
        urls.append(urls.pop(0))
        await trio.sleep(delay)

    async def _attempt_allowed(self) -> None:
        async with self._attempt_turn:  # one waits at a time: two would take the same place when it becomes free
            delay = self._attempts.wait(1, trio.current_time())
            if delay > 0:
                await trio.sleep(delay)
            self._attempts.take(1, trio.current_time())

    async def _read(
        self,
        base_url: str,
        channels: Mapping[str, str],
        send: _Send,
        backoff: Backoff,
        *,
        task_status: trio.TaskStatus[Connection],
    ) -> None:
        """Read one connection to its end. Ready when trades flow, or would if there were any."""
        connection = Connection(channels)
        subscription = self._adapter.subscribe(base_url, list(channels.values()))
        lost: BaseException | None = None
        with connection.scope:
            try:
                async with open_frames(subscription.url, self._connect, self._websocket_library) as frames:
                    for message in subscription.messages:
                        await frames.send(message)
                        await trio.sleep(self._adapter.capabilities.message_seconds)
                    self._counts.connects += 1
                    self.failures.pop(base_url, None)
                    self._log.info("connected", url=base_url, symbols=len(channels))
                    with self._carrying(channels) as fresh:
                        await _emit_live(fresh, send)
                        task_status.started(connection)
                        await self._read_frames(frames, send, backoff, connection)
            except* ConnectionLost as errors:
                lost = _first(errors)
            if lost is None:
                return
            if not connection.started:
                raise lost
            self._counts.disconnects += 1
            self._log.warning("connection lost", url=base_url, reason=_why(lost))
            connection.lost = True
            connection.ended.set()
            if gone := tuple(symbol for symbol in channels if not self._carriers[symbol]):
                await send.send(StreamLost(gone, _why(lost)))

    @contextmanager
    def _carrying(self, channels: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """Count a connection while it is open; yield the symbols that no other one carries."""
        self.open += 1
        fresh = tuple(symbol for symbol in channels if not self._carriers[symbol])
        self._carriers.update(channels.keys())
        if all(self._carriers[symbol] for symbol in self._groups.symbols):
            self.all_carried.set()
        try:
            yield fresh
        finally:
            self.open -= 1
            self._carriers.subtract(channels.keys())

    async def _read_frames(self, frames: Frames, send: _Send, backoff: Backoff, connection: Connection) -> None:
        connection.started = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_alive, frames, connection)
            while True:
                texts = await frames.receive()
                now = trio.current_time()
                connection.last_frame = now
                decoded = self._adapter.decode(texts)
                self._counts.frames += len(texts)
                self._counts.bytes += sum(map(len, texts))
                if decoded.trades:
                    backoff.reset()
                self._intake.take(decoded, now, send)
                if decoded.shutdown:
                    self._log.info("exchange asks to reconnect")
                    connection.ended.set()

    async def _check_alive(self, frames: Frames, connection: Connection) -> None:
        """Fail when the connection neither answers a ping nor brings frames."""
        seconds = self._adapter.capabilities.keepalive
        while True:
            await trio.sleep(seconds)
            since = trio.current_time()
            with trio.move_on_after(seconds) as patience:
                await frames.ping()
            if patience.cancelled_caught and connection.last_frame < since:
                raise trio.TooSlowError(f"no frame and no pong for {seconds:g} s")


async def _emit_live(symbols: tuple[str, ...], send: _Send) -> None:
    if symbols:
        await send.send(StreamLive(symbols))


async def _wait_for_end(connection: Connection, group: StreamGroup) -> None:
    """Until the connection ended or is to be replaced."""
    if connection.channels is not group.channels:  # they changed while it was being made
        return
    replace = group.replace
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, replace)
        nursery.start_soon(wait, connection.ended)


def _why(error: BaseException) -> str:
    """Return why a connection was lost; the exchange's words for it may be of any characters."""
    return printable(why_lost(error))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
