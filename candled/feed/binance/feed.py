"""Keeps Binance's trade streams connected and tells what came of it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import attrs
import msgspec
import structlog
import trio

from candled.domain.bar import NO_TRADE
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
from candled.feed.pace import Pace
from candled.feed.websocket import ConnectionLost, Frames, open_frames, why_lost

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
FRESH_SECONDS: Final = 5.0
"""So long after its connection was begun or replaced, no symbol's silence is held against it."""
IN_FLIGHT_SECONDS: Final = 2.0
"""A trade that REST shows may take this long to arrive on a stream that lives."""
LOG_SECONDS: Final = 10.0
"""Between log lines about malformed frames."""


@attrs.define(slots=True)
class FeedCounts:
    """What the feed counted since the start."""

    frames: int = 0
    bytes: int = 0
    """Of the frames' texts."""
    malformed: int = 0
    dropped_batches: int = 0
    """Batches that found the engine's channel full; the repair fetches their trades again."""
    connects: int = 0
    connect_failures: int = 0
    disconnects: int = 0
    roll_overs: int = 0
    stalls: int = 0
    """Streams replaced because a symbol was silent while the exchange had trades of it."""


@attrs.define(eq=False)
class _Group:
    """Streams that share connections, no more than one connection may carry."""

    streams: Mapping[str, str] = attrs.Factory(dict)
    """Name of the stream by symbol. Replaced, not changed: connections begun before carry the streams of then."""
    replace: trio.Event = attrs.Factory(trio.Event)
    """Set when its connections are to be replaced though they seem to live."""
    fresh_since: float = float("-inf")
    over: trio.CancelScope = attrs.Factory(trio.CancelScope)
    """Cancelled when no stream is left in it."""

    def renew(self) -> None:
        """Replace its connections: each lives on until its successor receives."""
        self.fresh_since = trio.current_time()
        self.replace.set()
        self.replace = trio.Event()


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
        is_listed: Callable[[str], bool] = lambda _symbol: True,
        on_silence: Callable[[], None] = lambda: None,
        roll_over_seconds: float = ROLL_OVER_SECONDS,
    ) -> None:
        """Make it; ``run`` does the work.

        Args:
            instruments: the symbols to read.
            stream: ``trade`` or ``aggTrade``.
            stream_urls: as in ``DaemonSettings``.
            connections: as in ``DaemonSettings``.
            source: asked whether a silent symbol is traded.
            connect: opens byte streams to the exchange.
            rng: jitter.
            is_listed: whether the exchange has a symbol, as far as is known: others are not asked for.
            on_silence: called when a symbol is silent and the exchange has no newer trade of it either.
            roll_over_seconds: age at which a connection is replaced.
        """
        self.counts = FeedCounts()
        self.connected = 0
        """Connections that are open."""
        self._stream = stream
        self._stream_urls = list(stream_urls)
        self._connections = connections
        self._source = source
        self._connect = connect
        self._rng = rng
        self._is_listed = is_listed
        self._on_silence = on_silence
        self._roll_over_seconds = roll_over_seconds
        self._attempts = RollingLimit(*ATTEMPTS)
        self._attempt_turn = trio.Lock()
        self._pace: dict[str, Pace] = {}
        self._reconnects: Counter[str] = Counter()
        self._carriers: Counter[str] = Counter()
        """Connections that carry each symbol's stream now."""
        self._groups: list[_Group] = []
        self._regrouped = trio.Event()
        self._dropped: dict[str, int] = {}
        """Highest id dropped of each symbol, until the engine was told that it exists."""
        self._log = structlog.get_logger(__name__)
        self._logged_malformed = float("-inf")
        self._clock_read = trio.Event()
        self._all_carried = trio.Event()
        """Set once every stream was connected."""
        self.follow(instruments)

    def reconnects(self, symbol: str) -> int:
        """How often this symbol's stream was connected again."""
        return self._reconnects[symbol]

    def follow(self, instruments: Iterable[Instrument]) -> None:
        """Read the streams of these symbols from now on, and of no others.

        Connections whose symbols change are rolled over, so that the streams that stay have no gap.
        """
        wanted = {instrument.symbol: instrument for instrument in instruments}
        grouped = {symbol for group in self._groups for symbol in group.streams}
        added = iter([(symbol, self._stream_name(wanted[symbol])) for symbol in wanted if symbol not in grouped])
        for symbol in grouped - wanted.keys():
            for known in (self._pace, self._reconnects, self._dropped):
                known.pop(symbol, None)
        groups = []
        for group in self._groups:
            streams = {symbol: name for symbol, name in group.streams.items() if symbol in wanted}
            streams.update(islice(added, STREAMS_PER_CONNECTION - len(streams)))
            if not streams:
                group.over.cancel()
                continue
            if streams != group.streams:
                group.streams = streams
                group.renew()
            groups.append(group)
        while streams := dict(islice(added, STREAMS_PER_CONNECTION)):
            groups.append(_Group(streams))
        self._groups = groups
        self._regrouped.set()
        self._regrouped = trio.Event()

    def _stream_name(self, instrument: Instrument) -> str:
        kind = self._stream
        if kind == "aggTrade" and not instrument.aggregates_are_exact:
            self._log.warning(
                "reading raw trades: sums of this symbol's aggregates would not be exact",
                symbol=instrument.symbol,
            )
            kind = "trade"
        return f"{instrument.symbol.lower()}@{kind}"

    async def run(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Feed the channel until cancelled."""
        async with send, trio.open_nursery() as nursery:
            nursery.start_soon(self._read_server_time, send.clone())
            nursery.start_soon(self._watch_silence, send.clone())
            nursery.start_soon(self._keep_groups, send.clone())

    # -- connections --------------------------------------------------------------------------------------------

    async def _keep_groups(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Keep every group connected, also those that come to be later."""
        kept: set[_Group] = set()
        async with send, trio.open_nursery() as nursery:
            while True:
                regrouped = self._regrouped
                for group in self._groups:
                    if group not in kept:
                        nursery.start_soon(self._keep_group, group, send.clone())
                kept = set(self._groups)
                await regrouped.wait()

    async def _keep_group(self, group: _Group, send: trio.MemorySendChannel[FeedEvent]) -> None:
        async with send:
            with group.over:
                async with trio.open_nursery() as nursery:
                    for copy in range(self._connections):
                        nursery.start_soon(self._keep_connected, group, copy, send.clone())

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
                    connection = await nursery.start(self._read, urls[0], group.streams, send, backoff)
                except ConnectionLost as error:
                    self.counts.connect_failures += 1
                    delay = backoff.next()
                    self._log.warning(
                        "cannot connect to the exchange",
                        url=urls[0],
                        reason=why_lost(error),
                        retry_in_seconds=round(delay, 2),
                    )
                    urls.append(urls.pop(0))
                    await trio.sleep(delay)
                    continue
                predecessor.cancel()
                predecessor = connection.scope
                group.fresh_since = trio.current_time()
                if not first:
                    self._reconnects.update(connection.streams.keys())
                first = False
                with trio.move_on_after(self._roll_over_seconds * self._rng.uniform(0.95, 1.0)):
                    await _wait_for_end(connection, group)
                if connection.lost:
                    await trio.sleep(backoff.next())
                else:
                    self.counts.roll_overs += 1

    async def _attempt_allowed(self) -> None:
        async with self._attempt_turn:  # one waits at a time: two would take the same place when it becomes free
            delay = self._attempts.wait(1, trio.current_time())
            if delay > 0:
                await trio.sleep(delay)
            self._attempts.take(1, trio.current_time())

    async def _read(
        self,
        base_url: str,
        streams: Mapping[str, str],
        send: trio.MemorySendChannel[FeedEvent],
        backoff: Backoff,
        *,
        task_status: "trio.TaskStatus[_Connection]",
    ) -> None:
        """Read one connection to its end. Ready when trades flow, or would if there were any."""
        connection = _Connection(streams)
        names = list(streams.values())
        url = f"{base_url}/stream?streams={'/'.join(names[:STREAMS_IN_URL])}"
        lost: BaseException | None = None
        with connection.scope:
            try:
                async with open_frames(url, self._connect) as frames:
                    await self._subscribe(frames, names[STREAMS_IN_URL:])
                    self.counts.connects += 1
                    self._log.info("connected", url=base_url, symbols=len(streams))
                    self.connected += 1
                    fresh = tuple(symbol for symbol in streams if not self._carriers[symbol])
                    self._carriers.update(streams.keys())
                    if all(self._carriers[symbol] for group in self._groups for symbol in group.streams):
                        self._all_carried.set()
                    try:
                        if fresh:
                            await send.send(StreamLive(fresh))
                        task_status.started(connection)
                        await self._read_frames(frames, send, backoff, connection)
                    finally:
                        self.connected -= 1
                        self._carriers.subtract(streams.keys())
            except* ConnectionLost as errors:
                lost = _first(errors)
            if lost is None:
                return
            if not connection.started:
                raise lost
            self.counts.disconnects += 1
            self._log.warning("connection lost", url=base_url, reason=why_lost(lost))
            connection.lost = True
            connection.ended.set()
            if gone := tuple(symbol for symbol in streams if not self._carriers[symbol]):
                await send.send(StreamLost(gone, why_lost(lost)))

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
        connection: "_Connection",
    ) -> None:
        connection.started = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_alive, frames, connection)
            while True:
                texts = await frames.receive()
                now = trio.current_time()
                connection.last_frame = now
                decoded = decode_frames(texts)
                self.counts.frames += len(texts)
                self.counts.bytes += sum(map(len, texts))
                if decoded.malformed:
                    self._note_malformed(decoded, now)
                if decoded.trades:
                    backoff.reset()
                    self._hand_over(decoded.trades, decoded.event_time, now, send)
                if decoded.shutdown:
                    self._log.info("the exchange asks to reconnect")
                    connection.ended.set()

    async def _check_alive(self, frames: Frames, connection: "_Connection") -> None:
        """A connection that neither answers a ping nor brings frames is dead, whatever the socket says."""
        while True:
            await trio.sleep(PING_SECONDS)
            since = trio.current_time()
            with trio.move_on_after(PING_SECONDS) as patience:
                await frames.ping()
            if patience.cancelled_caught and connection.last_frame < since:
                raise trio.TooSlowError(f"no frame and no pong for {PING_SECONDS:g} s")

    def _hand_over(
        self, trades: list[Trade], event_time: int, now: float, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        """Give the engine a batch without waiting; one that finds the channel full is fetched again later."""
        for trade in trades:
            pace = self._pace.get(trade.symbol)
            if pace is None:
                pace = self._pace[trade.symbol] = Pace()
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
                        self._clock_read.set()
                if readings < READINGS_AT_FIRST:
                    await trio.sleep(FIRST_READINGS_SECONDS)
                else:
                    await trio.sleep(SERVER_TIME_SECONDS if is_news else RETRY_SECONDS)

    async def _watch_silence(self, send: trio.MemorySendChannel[FeedEvent]) -> None:
        """Check symbols that are silent for longer than usual: dead streams are replaced, quiet ones left.

        At the start all are: so what was traded before is known, and fetched, without waiting for a trade.
        """
        async with send:
            with trio.move_on_after(WATCH_SECONDS):
                await self._clock_read.wait()  # what is found before the engine knows the time says nothing to it
                await self._all_carried.wait()  # from here on what comes next comes by the streams
            while True:
                for group in self._groups:
                    for symbol in group.streams:
                        if symbol not in group.streams:  # not followed any more since the last check
                            continue
                        now = trio.current_time()
                        pace = self._pace.setdefault(symbol, Pace())
                        if pace.is_suspect(now):
                            pace.check(now)
                            try:
                                await self._check_silent(symbol, group, pace, send)
                            except (SourceUnavailableError, SourceRefusedError) as error:
                                self._log.warning("cannot check a silent symbol", symbol=symbol, reason=str(error))
                await trio.sleep(WATCH_SECONDS)

    async def _check_silent(
        self, symbol: str, group: _Group, pace: Pace, send: trio.MemorySendChannel[FeedEvent]
    ) -> None:
        if not self._is_listed(symbol):
            return
        newest = await self._source.newest(symbol)
        shown = newest.last_id if newest is not None else NO_TRADE
        if newest is None or shown <= pace.last_id:
            if shown == pace.last_id:  # less than is known already says nothing: its REST side lags
                pace.found_quiet()
            self._on_silence()
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
        is_settled = trio.current_time() - group.fresh_since > FRESH_SECONDS
        if self._carriers[symbol] and pace.last_id == before and is_settled:
            self.counts.stalls += 1
            self._log.warning("stream is dead, replacing it", symbol=symbol, newest_trade_id=newest.last_id)
            group.renew()


class _Connection:
    """How one connection stands with its keeper."""

    def __init__(self, streams: Mapping[str, str]) -> None:
        self.streams = streams
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        """Set when it was lost or asks for a successor."""
        self.lost = False
        self.started = False
        self.last_frame = float("-inf")


async def _wait_for_end(connection: _Connection, group: _Group) -> None:
    """Until the connection ended or is to be replaced."""
    if connection.streams is not group.streams:  # they changed while it was being made
        return
    replace = group.replace
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, replace)
        nursery.start_soon(wait, connection.ended)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
