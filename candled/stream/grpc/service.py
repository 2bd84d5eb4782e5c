"""candled.v1.CandleService: requests checked, streams fed. Its methods run as grpclib's handlers."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from candled.api import candles_pb2 as pb
from candled.api.candled import v1
from candled.domain.bar import Bar
from candled.domain.limits import TIME_MAX, TIME_MIN
from candled.domain.status import DaemonStatus
from candled.domain.storage import BarReader, BarsUnavailableError
from candled.stream.admission import address_of
from candled.stream.grpc.delivery import Delivery
from candled.stream.grpc.encoder import encode_bars, encode_status, encode_symbols, format_time
from candled.stream.grpc.internals.bridge import Wakeup, give_way, in_thread, pause, shared_in_thread, within
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.requests import BarsRequest, read_bars_request, read_stream_request, unknown_symbols
from candled.stream.hub import Hub, TooManyStreamsError
from candled.stream.newest import page_before
from candled.stream.resume import LivePoint, ReplayPoint, page_token
from candled.stream.session import Session, open_session
from candled.stream.subscription import EndCause, Ended
from candled.stream.turns import RETRY_SECONDS, BusyError
from candled.stream.unstored import HistoryBehindError

RETRY_METADATA: Final = "retry-after"
"""Trailing metadata of a refusal: seconds until a retry (grpclib refuses names that begin with grpc-)."""

_AHEAD_LOOK_SECONDS: Final = 0.02
"""Between two looks whether a position was reached."""

RESUME_METADATA: Final = "candled-resume-token"
"""Initial metadata of a stream that begins now: the token that resumes from its beginning."""


class CandleService(v1.CandleServiceBase):
    """The service over a hub, a history and a source of status.

    Args:
        hub: where streams subscribe.
        stored: returns the history, awaitable from a handler, by the client's address and whether it reads for a
            stream.
        status: returns the daemon's status.
        summary: returns it without its symbols.
        delivery: sends messages to clients.
        limits: limits on clients' requests.
        clock: monotonic seconds, the hub's own.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        stored: Callable[[str, bool], BarReader],
        status: Callable[[], DaemonStatus],
        summary: Callable[[], DaemonStatus],
        delivery: Delivery,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._stored = stored
        self._summary = summary
        self._delivery = delivery
        self._limits = limits
        self._clock = clock
        self._symbols_text = shared_in_thread(lambda: partial(encode_symbols, status()))
        self._status_text = shared_in_thread(
            lambda: partial(encode_status, status(), hub.statistics().subscribers)
        )

    def __mapping__(self) -> dict[str, Handler]:
        """Return the handlers by path; they read protobuf's own requests and send bytes."""
        answers: dict[str, tuple[type[Any], Callable[[Any, str], Awaitable[Any]]]] = {
            "GetBars": (pb.GetBarsRequest, self._get_bars),
            "ListSymbols": (pb.ListSymbolsRequest, self._list_symbols),
            "GetStatus": (pb.GetStatusRequest, self._get_status),
        }
        handlers = {name: (request, self._answer(method)) for name, (request, method) in answers.items()}
        handlers["StreamBars"] = (pb.StreamBarsRequest, self._stream_bars)
        mapping = {}
        for path, handler in super().__mapping__().items():
            request, method = handlers[path.rpartition("/")[2]]
            mapping[path] = handler._replace(func=method, request_type=request)
        return mapping

    async def _get_bars(self, message: pb.GetBarsRequest, address: str) -> bytes:
        """Answer GetBars with one page of closed bars."""
        wanted = read_bars_request(message, self._limits)
        symbol, interval = wanted.symbol, wanted.interval.name
        if symbol not in self._hub.symbols() and symbol in self._summary().elsewhere:
            # Even if it has stored bars here: they are from before the symbol moved, and grow no more.
            raise self._unknown([symbol])
        stored = self._stored(address, False)
        page, next_page = await (self._newest if wanted.newest_first else self._oldest)(stored, wanted)
        if not page and symbol not in self._hub.symbols():
            ever = await stored.bars(symbol, interval, TIME_MIN, TIME_MAX, 1)
            if not ever:
                raise self._unknown([symbol])
        return await in_thread(encode_bars, page, next_page)

    async def _oldest(self, stored: BarReader, wanted: BarsRequest) -> tuple[list[Bar], str]:
        """Read the oldest bars of a request and the token of the page after them."""
        bars = await stored.bars(wanted.symbol, wanted.interval.name, wanted.start, wanted.end, wanted.size + 1)
        more = len(bars) > wanted.size
        return bars[: wanted.size], page_token(bars[wanted.size].open_time) if more else ""

    async def _newest(self, stored: BarReader, wanted: BarsRequest) -> tuple[list[Bar], str]:
        """Read the newest bars of a request, newest first, and the token of the page before them."""
        try:
            page = await page_before(
                stored, self._hub, wanted.symbol, wanted.interval, wanted.end, wanted.size, since=wanted.start
            )
        except HistoryBehindError:
            text = "Closed bars wait to be stored: try again in a moment."
            raise GRPCError(Status.UNAVAILABLE, text) from None
        return page.bars[::-1], page_token(page.bars[0].open_time) if page.older else ""

    async def _list_symbols(self, _message: pb.ListSymbolsRequest, _address: str) -> bytes:
        """Answer ListSymbols."""
        return await self._symbols_text()

    async def _get_status(self, _message: pb.GetStatusRequest, _address: str) -> bytes:
        """Answer GetStatus."""
        return await self._status_text()

    def _answer(
        self, method: Callable[[Any, str], Awaitable[Any]]
    ) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def handle(stream: Stream[Any, Any]) -> None:
            try:
                answer = await method(await self._receive(stream), address_of(stream.peer.addr()))
            except BusyError as error:
                await stream.send_trailing_metadata(
                    status=Status.RESOURCE_EXHAUSTED,
                    status_message=str(error),
                    metadata={RETRY_METADATA: str(RETRY_SECONDS)},
                )
            except BarsUnavailableError as error:
                raise GRPCError(Status.UNAVAILABLE, str(error)) from None
            else:
                await stream.send_message(answer)

        return handle

    async def _receive(self, stream: Stream[Any, Any]) -> Any:
        """Receive the one message of a request."""
        try:
            request = await within(self._limits.request_seconds, stream.recv_message())
        except TimeoutError:
            text = f"The request did not arrive within {self._limits.request_seconds:g} s: send it at once."
            raise GRPCError(Status.DEADLINE_EXCEEDED, text) from None
        except NotImplementedError:  # grpclib's error for it
            raise GRPCError(Status.UNIMPLEMENTED, "The request is compressed: send it as it is.") from None
        except AssertionError:  # likewise
            request = None
        if request is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "The request is missing or incomplete: send one message.")
        return request

    async def _stream_bars(self, stream: Stream[Any, Any]) -> None:
        wanted = read_stream_request(await self._receive(stream), self._limits, self._hub.tokens)
        selection, begin = wanted.selection, wanted.begin
        unknown = selection.symbols.difference(self._hub.symbols())
        if unknown:
            raise self._unknown(sorted(unknown))
        if isinstance(begin, LivePoint | ReplayPoint):
            await self._check_position(begin.position)
        session: Session | None = None
        # Set once the stream is subscribed; nothing is sent before.
        wakeup = Wakeup(lambda: session is not None and session.must_stop)
        # The start of the stream, for a client that must resume before its first closed bar.
        beginning = self._hub.tokens.encode(self._hub.here) if begin is None else ""
        await stream.send_initial_metadata(metadata={RESUME_METADATA: beginning} if beginning else None)
        client = self._delivery.open_stream(stream, wakeup)
        address = address_of(stream.peer.addr())
        try:
            with open_session(
                self._hub, self._stored(address, True), selection, client, begin=begin, clock=self._clock
            ) as session:
                async for messages in session:
                    await wakeup.unless_over(client.send(messages))
                    await give_way()  # sending to a client that keeps up never waits
                assert session.ended is not None
                raise _ending(session.ended)
        except TooManyStreamsError:
            text = "No more streams may be open at once: close some, or try later."
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text) from None
        except HistoryBehindError:
            text = "Closed bars wait to be stored, so a replay would have a hole: try again in a moment."
            raise GRPCError(Status.UNAVAILABLE, text) from None
        except BarsUnavailableError as error:
            raise GRPCError(Status.UNAVAILABLE, str(error)) from None
        finally:
            wakeup.close()
            client.close()

    async def _check_position(self, position: int) -> None:
        """Refuse to resume from a position whose later changes are not known here, or not yet."""
        if position < self._hub.oldest_position:
            text = "resume_token is older than the bars that are kept here: use start_time."
            raise GRPCError(Status.INVALID_ARGUMENT, text)
        if position <= self._hub.position:
            return
        if not self._limits.ahead_seconds:
            text = "resume_token is ahead of this daemon's history: it is of the time after a backup that was"
            raise GRPCError(Status.INVALID_ARGUMENT, f"{text} restored; use start_time.")
        until = self._clock() + self._limits.ahead_seconds
        while position > self._hub.position:
            if self._clock() >= until:
                text = "resume_token is ahead of what this process has read: try again, or another address."
                raise GRPCError(Status.UNAVAILABLE, text)
            await pause(_AHEAD_LOOK_SECONDS)

    def _unknown(self, symbols: Sequence[str]) -> GRPCError:
        return unknown_symbols(symbols, self._hub.symbols(), self._summary().redirects(symbols[:5]))


def _ending(ended: Ended) -> GRPCError:
    since = "" if ended.resume_time is None else f" or start_time {format_time(ended.resume_time)}"
    if ended.cause is EndCause.SHUTDOWN:
        return GRPCError(Status.UNAVAILABLE, f"The daemon is stopping: resume with the last resume_token{since}.")
    if ended.cause is EndCause.CUT_OFF:
        text = f"This process is cut off from the bus: resume elsewhere with the last resume_token{since}."
        return GRPCError(Status.UNAVAILABLE, text)
    if ended.cause is EndCause.REMOVED:
        text = f"{ended.symbol} is not served any more: ask without it, resume with the last resume_token{since}."
        return GRPCError(Status.NOT_FOUND, text)
    text = f"Too many closed bars wait for this stream: read faster, and resume with the last resume_token{since}."
    return GRPCError(Status.RESOURCE_EXHAUSTED, text)
