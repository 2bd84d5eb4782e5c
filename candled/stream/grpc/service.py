"""candled.v1.CandleService: requests checked, streams fed. Its methods run as grpclib's handlers."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from candled.api.candled import v1
from candled.domain.interval import Interval, parse_interval
from candled.domain.status import DaemonStatus
from candled.stream.grpc.bridge import Wakeup, within
from candled.stream.grpc.delivery import ClientStream, Delivery
from candled.stream.grpc.encoder import encode_bars, encode_status, encode_symbols, format_time
from candled.stream.grpc.limits import Limits
from candled.stream.history import StoredBars
from candled.stream.hub import HistoryBehindError, Hub, TooManyStreamsError
from candled.stream.message import Message
from candled.stream.replay import replay
from candled.stream.subscription import EndCause, Ended, Selection, Subscription
from candled.stream.tokens import LivePoint, ReplayPoint, page_token, parse_page_token, parse_token

RESUME_METADATA: Final = "candled-resume-token"
"""Initial metadata of a stream that begins now: the token that resumes from its very beginning."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH: Final = 64
_END_OF_TIME: Final = 1 << 62


class CandleService(v1.CandleServiceBase):
    """The service over a hub, a history and a source of status.

    Args:
        hub: where streams subscribe.
        stored: the history, awaitable from a handler.
        status: the daemon at this moment.
        delivery: how messages go to clients.
        limits: what clients may ask for.
        clock: monotonic seconds, the hub's own.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        stored: StoredBars,
        status: Callable[[], DaemonStatus],
        delivery: Delivery,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._stored = stored
        self._status = status
        self._delivery = delivery
        self._limits = limits
        self._clock = clock

    def __mapping__(self) -> dict[str, Handler]:
        """Handlers by path; streams get grpclib's own stream, so that bytes need no message object."""
        answers: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "GetBars": self.get_bars,
            "ListSymbols": self.list_symbols,
            "GetStatus": self.get_status,
        }
        handlers = {name: self._answer(method) for name, method in answers.items()}
        handlers["StreamBars"] = self._stream_bars
        return {
            path: handler._replace(func=handlers[path.rpartition("/")[2]])
            for path, handler in super().__mapping__().items()
        }

    async def get_bars(self, message: v1.GetBarsRequest) -> Any:
        """One page of closed bars, oldest first."""
        interval = _interval(message.interval or "1m")
        if not message.symbol:
            raise GRPCError(Status.INVALID_ARGUMENT, "symbol is missing: name one of those that ListSymbols gives")
        if message.symbol not in self._hub.symbols() and message.symbol in self._status().elsewhere:
            # Even if bars of it are here: they are from before it moved, and grow no more.
            raise self._unknown([message.symbol])
        if message.page_size < 0:
            raise GRPCError(
                Status.INVALID_ARGUMENT, "page_size is negative: give a positive one, or 0 for the default"
            )
        size = min(message.page_size or self._limits.page_size_default, self._limits.page_size_max)
        start = _time(message.start_time, 0)
        end = _time(message.end_time, _END_OF_TIME)
        if message.page_token:
            start = max(start, _checked(parse_page_token, message.page_token))
        bars = await self._stored.bars(message.symbol, interval, start, end, size + 1) if start < end else []
        if not bars and message.symbol not in self._hub.symbols():
            ever = await self._stored.bars(message.symbol, interval, 0, _END_OF_TIME, 1)
            if not ever:
                raise self._unknown([message.symbol])
        page = bars[:size]
        return encode_bars(page, page_token(bars[size].open_time) if len(bars) > size else "")

    async def list_symbols(self, message: v1.ListSymbolsRequest) -> Any:
        """The symbols served."""
        return encode_symbols(self._status())

    async def get_status(self, message: v1.GetStatusRequest) -> Any:
        """The daemon and its symbols."""
        return encode_status(self._status(), self._hub.statistics().subscribers)

    def _answer(self, method: Callable[[Any], Awaitable[Any]]) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def handle(stream: Stream[Any, Any]) -> None:
            await stream.send_message(await method(await self._receive(stream)))

        return handle

    async def _receive(self, stream: Stream[Any, Any]) -> Any:
        """The one message of a request."""
        try:
            request = await within(self._limits.request_seconds, stream.recv_message())
        except TimeoutError:
            text = f"the request did not arrive within {self._limits.request_seconds:g} s: send it whole, at once"
            raise GRPCError(Status.DEADLINE_EXCEEDED, text) from None
        except NotImplementedError:  # how grpclib says it
            raise GRPCError(Status.UNIMPLEMENTED, "the request is compressed: send it as it is") from None
        except AssertionError:  # likewise
            request = None
        if request is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "the request is missing or not whole: send one message")
        return request

    async def _stream_bars(self, stream: Stream[v1.StreamBarsRequest, Any]) -> None:
        request = await self._receive(stream)
        selection = self._selection(request)
        begin = _begin(request)
        if isinstance(begin, LivePoint | ReplayPoint) and begin.position > self._hub.position:
            text = "resume_token is ahead of this daemon's history: it is of another daemon, or of the time after"
            raise GRPCError(Status.INVALID_ARGUMENT, f"{text} a backup that was restored; use start_time")
        # Known once the stream is subscribed; until then nothing is sent either.
        subscription: Subscription | None = None
        wakeup = Wakeup(lambda: subscription is not None and subscription.must_stop)
        # Where the stream begins, for a client that has to resume before it was told a closed bar.
        beginning = self._hub.here.token() if begin is None else ""
        await stream.send_initial_metadata(metadata={RESUME_METADATA: beginning} if beginning else None)
        client = self._delivery.open_stream(stream, wakeup)
        try:
            subscription = self._hub.subscribe(selection, client)
            batches = None if begin is None else self._replay(subscription, begin)
            await self._feed(subscription, client, wakeup, batches)
        except TooManyStreamsError:
            text = "no more streams may be open at once: close some, or try later"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text) from None
        finally:
            wakeup.close()
            if subscription is not None:
                self._hub.unsubscribe(subscription)
            client.close()

    async def _feed(
        self,
        subscription: Subscription,
        client: ClientStream,
        wakeup: Wakeup,
        batches: AsyncIterator[list[Message]] | None,
    ) -> None:
        """Send what the subscription has until the client leaves or the service ends the stream."""
        if batches is not None:
            async for messages in batches:
                for first in range(0, len(messages), _BATCH):
                    await wakeup.unless_over(client.send(messages[first : first + _BATCH]))
                    if subscription.ended is not None:
                        raise _ending(subscription.ended)
        self._hub.go_live(subscription)
        while True:
            messages = subscription.take(self._clock(), _BATCH)
            if messages or client.unsent:
                await wakeup.unless_over(client.send(messages))
            elif subscription.ended is not None:
                raise _ending(subscription.ended)
            else:
                await wakeup.wait(subscription.seconds_until_due(self._clock()))

    def _replay(
        self, subscription: Subscription, begin: LivePoint | ReplayPoint | int
    ) -> AsyncIterator[list[Message]]:
        try:
            return replay(self._hub, self._stored, subscription, begin)
        except HistoryBehindError:
            text = "closed bars wait to be stored, so a replay would have a hole: try again in a moment"
            raise GRPCError(Status.UNAVAILABLE, text) from None

    def _selection(self, request: v1.StreamBarsRequest) -> Selection:
        if len(request.symbols) > self._limits.symbols_per_request_max:
            text = f"more than {self._limits.symbols_per_request_max} symbols: leave symbols empty for all"
            raise GRPCError(Status.INVALID_ARGUMENT, text)
        unknown = set(request.symbols).difference(self._hub.symbols())
        if unknown:
            raise self._unknown(sorted(unknown))
        rate = request.max_updates_per_second
        if not (math.isfinite(rate) and rate >= 0):
            raise GRPCError(
                Status.INVALID_ARGUMENT,
                "max_updates_per_second must be positive, or 0 for an update on every trade",
            )
        return Selection(
            symbols=frozenset(request.symbols),
            intervals=frozenset(_interval(name) for name in request.intervals or ["1m"]),
            closed_only=request.closed_only,
            updates_per_second=rate,
        )

    def _unknown(self, symbols: Sequence[str]) -> GRPCError:
        names = ", ".join(symbol[:40] for symbol in symbols[:5])
        served = " ".join(sorted(self._hub.symbols())[:20])
        elsewhere = self._status().elsewhere
        hints = "".join(
            f"{symbol} is served by {elsewhere[symbol]}. " for symbol in symbols[:5] if symbol in elsewhere
        )
        return GRPCError(Status.NOT_FOUND, f"not served here: {names}. {hints}Choose from ListSymbols: {served}")


def _begin(request: v1.StreamBarsRequest) -> LivePoint | ReplayPoint | int | None:
    if request.resume_token:
        point: LivePoint | ReplayPoint = _checked(parse_token, request.resume_token)
        return point
    return None if request.start_time is None else _time(request.start_time, 0)


def _ending(ended: Ended) -> GRPCError:
    since = "" if ended.resume_time is None else f" or start_time {format_time(ended.resume_time)}"
    if ended.cause is EndCause.SHUTDOWN:
        return GRPCError(Status.UNAVAILABLE, f"the daemon is stopping: resume with the last resume_token{since}")
    if ended.cause is EndCause.REMOVED:
        text = f"{ended.symbol} is not served any more: ask without it, resume with the last resume_token{since}"
        return GRPCError(Status.NOT_FOUND, text)
    text = f"too many closed bars wait for this stream: read faster, and resume with the last resume_token{since}"
    return GRPCError(Status.RESOURCE_EXHAUSTED, text)


def _interval(name: str) -> str:
    interval: Interval = _checked(parse_interval, name[:20])
    return interval.name


def _checked(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from None


def _time(moment: datetime | None, default: int) -> int:
    return default if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
