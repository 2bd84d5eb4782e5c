"""Keeps Binance's trade streams connected and tells what came of it."""

import random
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import msgspec
import structlog
import trio

from candled.domain.feed_event import (
    FeedEvent,
    LastTradeFound,
    ServerTime,
    StreamLive,
    StreamLost,
    TradeExists,
    TradesArrived,
)
from candled.domain.trade import Trade
from candled.feed.backoff import Backoff
from candled.feed.binance.wire import Decoded, decode_frames
from candled.feed.interface import Connect, Instrument, SourceRefusedError, SourceUnavailableError, TradeSource
from candled.feed.limits import RollingLimit
from candled.feed.websocket import ConnectionLost, Frames, open_frames

STREAMS_PER_CONNECTION: Final = 1_024
STREAMS_IN_URL: Final = 100
"""Streams named in the URL; the others are subscribed to by message, so that the URL stays short."""
STREAMS_PER_MESSAGE: Final = 200
MESSAGE_SECONDS: Final = 0.3
"""Between messages to the server, which takes five a second."""
ATTEMPTS: Final = (250, 300.0)
"""Connections begun in so many seconds, for all groups; the exchange allows 300 in five minutes."""
ROLL_OVER_SECONDS: Final = 23.5 * 3600
"""Age at which a connection is replaced: the exchange cuts it at 24 h."""
PING_SECONDS: Final = 20.0
SERVER_TIME_SECONDS: Final = 30.0
"""Between readings of the exchange's clock."""
READINGS_AT_FIRST: Final = 4
FIRST_READINGS_SECONDS: Final = 1.5
"""Between so many readings at first, so that the clock's rate is soon known."""
RETRY_SECONDS: Final = 5.0
"""After an answer that did not come, or came late."""
QUICK_SECONDS: Final = 1.0
"""An answer within that time tells the exchange's clock well."""
WATCH_SECONDS: Final = 1.0
"""Between looks at how long each symbol has been silent."""
SILENCE_MIN: Final = 5.0
SILENCE_MAX: Final = 120.0
SILENCE_PACE: Final = 20.0
"""A symbol may be silent for this many times its usual pause before it is checked, within the bounds above."""
IN_FLIGHT_SECONDS: Final = 2.0
"""A trade that REST shows may take this long to arrive on a stream that lives."""
LOG_SECONDS: Final = 10.0
"""Between log lines about malformed frames."""


@attrs.define(slots=True)
class FeedCounts:
    """What the feed counted since the start."""

    frames: int = 0
    malformed: int = 0
    dropped_batches: int = 0
    """Batches that found the engine's channel full; the repair fetches their trades again."""
    connects: int = 0
    connect_failures: int = 0
    disconnects: int = 0
    roll_overs: int = 0
    stalls: int = 0
    """Streams replaced because a symbol was silent while the exchange had trades of it."""


@attrs.define(slots=True)
class _Pace:
    """When a symbol's trades come."""

    last_id: int = -1
    last_arrival: float = 0.0
    usual_pause: float = 1.0
    checked: float = 0.0

    def saw(self, last_id: int, now: float) -> None:
        if self.last_arrival:
            pause = now - self.last_arrival
            self.usual_pause += (pause - self.usual_pause) / (20 if pause < self.usual_pause * 5 else 5)
        self.last_arrival = self.checked = now
        self.last_id = max(self.last_id, last_id)

    def is_suspect(self, now: float) -> bool:
        patience = min(SILENCE_MAX, max(SILENCE_MIN, self.usual_pause * SILENCE_PACE))
        if self.last_id < 0:
            return not self.checked or now - self.checked > SILENCE_MIN
        return now - max(self.last_arrival, self.checked) > patience


@attrs.define(slots=True, eq=False)
class _Group:
    """Symbols that share connections."""

    symbols: tuple[str, ...]
    streams: tuple[str, ...]
    live: int = 0
    reconnects: int = 0
    replace: trio.Event = attrs.Factory(trio.Event)
    """Set when its connections are to be replaced though they seem to live."""


class BinanceFeed:
    """The live streams of some symbols, as feed events in a channel."""

    def __init__(
        self,
        *,
        instruments: Iterable[Instrument],
        stream: str,
        stream_urls: Sequence[str],
        connections: int,
        source: TradeSource,
        connect: Connect,
        rng: random.Random,
    ) -> None:
        """Args as in ``DaemonSettings``; ``stream``: ``trade`` or ``aggTrade``."""
        self.counts = FeedCounts()
        self._stream_urls = list(stream_urls)
        self._connections = connections
        self._source = source
        self._connect = connect
        self._rng = rng
        self._attempts = RollingLimit(*ATTEMPTS)
        self._pace: dict[str, _Pace] = {}
        self._groups = self._make_groups(list(instruments), stream)
        self._group_of = {symbol: group for group in self._groups for symbol in group.symbols}
        self._dropped: dict[str, int] = {}
        """Highest id dropped of each symbol, until the engine was told that it exists."""
        self._log = structlog.get_logger(__name__)
        self._logged_malformed = float("-inf")

    def reconnects(self, symbol: str) -> int:
        """How often this symbol's stream was connected again."""
        group = self._group_of.get(symbol)
        return group.reconnects if group else 0

    @property
    def connected(self) -> int:
        """Connections that are open."""
        return sum(group.live for group in self._groups)

    async def run(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Feed the channel until cancelled."""
        async with send, trio.open_nursery() as nursery:
            nursery.start_soon(self._read_server_time, send.clone())
            nursery.start_soon(self._watch_silence, send.clone())
            for group in self._groups:
                for copy in range(self._connections):
                    nursery.start_soon(self._keep_connected, group, copy, send.clone())

    def _make_groups(self, instruments: list[Instrument], stream: str) -> list[_Group]:
        names = []
        for instrument in instruments:
            kind = stream
            if stream == "aggTrade" and not instrument.aggregates_are_exact:
                self._pace.setdefault(instrument.symbol, _Pace())
                structlog.get_logger(__name__).warning(
                    "reading raw trades: sums of this symbol's aggregates would not be exact",
                    symbol=instrument.symbol,
                )
                kind = "trade"
            names.append((instrument.symbol, f"{instrument.symbol.lower()}@{kind}"))
        chunks = [
            names[begin : begin + STREAMS_PER_CONNECTION] for begin in range(0, len(names), STREAMS_PER_CONNECTION)
        ]
        return [_Group(tuple(s for s, _ in chunk), tuple(n for _, n in chunk)) for chunk in chunks]

    # -- connections --------------------------------------------------------------------------------------------

    async def _keep_connected(self, group: _Group, copy: int, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """One connection after another; a successor receives before its predecessor is let go."""
        backoff = Backoff(self._rng)
        urls = list(self._stream_urls)
        urls = urls[copy % len(urls) :] + urls[: copy % len(urls)]
        first = True
        async with send, trio.open_nursery() as nursery:
            predecessor = trio.CancelScope()
            while True:
                await self._attempt_allowed()
                try:
                    scope, finished = await nursery.start(self._read, urls[0], group, send, backoff)
                except ConnectionLost as error:
                    self.counts.connect_failures += 1
                    delay = backoff.next()
                    self._log.warning(
                        "cannot connect to the exchange",
                        url=urls[0],
                        reason=_why(error),
                        retry_in_seconds=round(delay, 2),
                    )
                    urls.append(urls.pop(0))
                    await trio.sleep(delay)
                    continue
                predecessor.cancel()
                predecessor = scope
                if not first:
                    group.reconnects += 1
                first = False
                with trio.move_on_after(ROLL_OVER_SECONDS * self._rng.uniform(0.95, 1.0)) as old_age:
                    lost = await self._wait_for_end(finished, group)
                if old_age.cancelled_caught or not lost:
                    self.counts.roll_overs += 1
                else:
                    await trio.sleep(backoff.next())

    async def _wait_for_end(self, finished: "_Finished", group: _Group) -> bool:
        """Until the connection ended (True) or is to be replaced (False)."""
        async with trio.open_nursery() as nursery:

            async def replaced(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(replaced, group.replace)
            await finished.event.wait()
            nursery.cancel_scope.cancel()
        return finished.lost

    async def _attempt_allowed(self) -> None:
        delay = self._attempts.wait(1, trio.current_time())
        if delay > 0:
            await trio.sleep(delay)
        self._attempts.take(1, trio.current_time())

    async def _read(
        self,
        base_url: str,
        group: _Group,
        send: trio.MemorySendChannel[FeedEvent],
        backoff: Backoff,
        *,
        task_status: trio.TaskStatus[tuple[trio.CancelScope, "_Finished"]],
    ) -> None:
        """Read one connection to its end. Ready when trades flow, or would if there were any."""
        finished = _Finished()
        url = f"{base_url}/stream?streams={'/'.join(group.streams[:STREAMS_IN_URL])}"
        lost: BaseException | None = None
        with trio.CancelScope() as scope:
            try:
                async with open_frames(url, self._connect) as frames:
                    await self._subscribe(frames, group.streams[STREAMS_IN_URL:])
                    self.counts.connects += 1
                    self._log.info("connected", url=base_url, symbols=len(group.symbols))
                    group.live += 1
                    try:
                        if group.live == 1:
                            await send.send(StreamLive(group.symbols))
                        task_status.started((scope, finished))
                        await self._read_frames(frames, send, backoff, finished)
                    finally:
                        group.live -= 1
            except* ConnectionLost as errors:
                lost = _first(errors)
            if lost is None:
                return
            if not finished.started:
                raise lost
            self.counts.disconnects += 1
            self._log.warning("connection lost", url=base_url, reason=_why(lost))
            if group.live == 0:
                await send.send(StreamLost(group.symbols, _why(lost)))
            finished.lost = True
            finished.event.set()

    async def _subscribe(self, frames: Frames, streams: Sequence[str]) -> None:
        for number, begin in enumerate(range(0, len(streams), STREAMS_PER_MESSAGE), start=1):
            params = streams[begin : begin + STREAMS_PER_MESSAGE]
            await frames.send(
                msgspec.json.encode({"method": "SUBSCRIBE", "params": params, "id": number}).decode()
            )
            await trio.sleep(MESSAGE_SECONDS)

    async def _read_frames(
        self,
        frames: Frames,
        send: trio.MemorySendChannel[FeedEvent],
        backoff: Backoff,
        finished: "_Finished",
    ) -> None:
        finished.started = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_alive, frames, finished)
            while True:
                texts = await frames.receive()
                now = trio.current_time()
                finished.last_frame = now
                decoded = decode_frames(texts)
                self.counts.frames += len(texts)
                if decoded.malformed:
                    self._note_malformed(decoded, now)
                if decoded.trades:
                    backoff.reset()
                    self._hand_over(decoded.trades, decoded.event_time, now, send)
                if decoded.shutdown:
                    self._log.info("the exchange asks to reconnect")
                    finished.event.set()

    async def _check_alive(self, frames: Frames, finished: "_Finished") -> None:
        """A connection that neither answers a ping nor brings frames is dead, whatever the socket says."""
        while True:
            await trio.sleep(PING_SECONDS)
            since = trio.current_time()
            with trio.move_on_after(PING_SECONDS) as patience:
                await frames.ping()
            if patience.cancelled_caught and finished.last_frame < since:
                raise trio.TooSlowError(f"no frame and no pong for {PING_SECONDS:g} s")

    def _hand_over(
        self, trades: list[Trade], event_time: int, now: float, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        """Give the engine a batch without waiting; one that finds the channel full is fetched again later."""
        for trade in trades:
            pace = self._pace.get(trade.symbol)
            if pace is None:
                pace = self._pace[trade.symbol] = _Pace()
            if trade.last_id > pace.last_id:
                pace.saw(trade.last_id, now)
        try:
            for symbol in list(self._dropped):
                send.send_nowait(TradeExists(symbol, self._dropped[symbol]))
                del self._dropped[symbol]
            send.send_nowait(TradesArrived(trades, event_time, now))
        except trio.WouldBlock:
            if not self._dropped:
                self._log.error("trades come faster than they can be handled: fetching them later")
            self.counts.dropped_batches += 1
            for trade in trades:
                self._dropped[trade.symbol] = max(self._dropped.get(trade.symbol, -1), trade.last_id)

    def _note_malformed(self, decoded: Decoded, now: float) -> None:
        self.counts.malformed += len(decoded.malformed)
        if now - self._logged_malformed > LOG_SECONDS:
            self._logged_malformed = now
            self._log.error(
                "frames skipped that make no sense", total=self.counts.malformed, example=decoded.malformed[0]
            )

    # -- what the stream does not say ---------------------------------------------------------------------------

    async def _read_server_time(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """The exchange's clock: a few times at once, for its rate, and then now and again.

        Slow answers say little of the time, and less of its rate: they are passed over once there was another.
        """
        async with send:
            readings = 0
            while True:
                asked = trio.current_time()
                is_news = False
                try:
                    time = await self._source.server_time()
                except (SourceUnavailableError, SourceRefusedError) as error:
                    self._log.debug("cannot read the exchange's clock", reason=str(error))
                else:
                    now = trio.current_time()
                    is_news = now - asked < QUICK_SECONDS or not readings
                    if is_news:
                        readings += 1
                        await send.send(ServerTime(time, asked, now))
                if readings < READINGS_AT_FIRST:
                    await trio.sleep(FIRST_READINGS_SECONDS)
                else:
                    await trio.sleep(SERVER_TIME_SECONDS if is_news else RETRY_SECONDS)

    async def _watch_silence(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Check symbols that are silent for longer than usual: dead streams are replaced, quiet ones left."""
        async with send:
            while True:
                await trio.sleep(WATCH_SECONDS)
                for symbol, group in self._group_of.items():
                    now = trio.current_time()
                    pace = self._pace.setdefault(symbol, _Pace())
                    if pace.is_suspect(now):
                        pace.checked = now
                        try:
                            await self._check_silent(symbol, group, pace, send)
                        except (SourceUnavailableError, SourceRefusedError) as error:
                            self._log.warning("cannot check a silent symbol", symbol=symbol, reason=str(error))

    async def _check_silent(
        self, symbol: str, group: _Group, pace: _Pace, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        newest = await self._source.newest(symbol)
        if newest is None or newest.last_id <= pace.last_id:
            return
        if pace.last_id < 0:  # nothing came yet: only what comes after this one can show a dead stream
            pace.last_id = newest.last_id
            await send.send(LastTradeFound(symbol, newest))
            return
        before = pace.last_id
        await trio.sleep(IN_FLIGHT_SECONDS)
        if pace.last_id >= newest.last_id:
            return
        await send.send(TradeExists(symbol, newest.last_id))
        if group.live and pace.last_id == before:
            self.counts.stalls += 1
            self._log.warning("stream is dead, replacing it", symbol=symbol, newest_trade_id=newest.last_id)
            group.replace.set()
            group.replace = trio.Event()


class _Finished:
    """How one connection stands with its keeper."""

    def __init__(self) -> None:
        self.event = trio.Event()
        """Set when it ended or asks for a successor."""
        self.started = False
        self.lost = False
        self.last_frame = float("-inf")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _why(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__
