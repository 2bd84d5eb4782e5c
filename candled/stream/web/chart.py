"""Routes of the chart: the page, its script, and its data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from candled.domain.interval import INTERVALS, MICROSECONDS
from candled.domain.limits import TIME_MAX
from candled.domain.status import DaemonStatus
from candled.domain.storage import BarReader, BarsUnavailableError
from candled.stream.admission import address_of
from candled.stream.hub import Hub, TooManyStreamsError
from candled.stream.newest import page_before
from candled.stream.subscription import Selection
from candled.stream.turns import RETRY_SECONDS, BusyError, Turns
from candled.stream.unstored import HistoryBehindError
from candled.stream.web.events import UPDATES_PER_SECOND, EventStream
from candled.stream.web.forms import bar_form, status_form
from candled.stream.web.requests import (
    BadRequestError,
    read_bars_request,
    read_no_parameters,
    read_stream_request,
)

_STATIC: Final = Path(__file__).parent / "static"
_YEAR: Final = 366 * 86_400 * MICROSECONDS


@attrs.frozen
class ChartSource:
    """Sources of the chart's bars: the same hub and history as the gRPC API."""

    hub: Hub
    stored: BarReader
    status: Callable[[], DaemonStatus]
    turns: Turns = attrs.Factory(Turns)
    """Turns for reading the history."""
    summary: Callable[[], DaemonStatus] = attrs.field(
        default=attrs.Factory(lambda self: self.status, takes_self=True)
    )
    """The status without its symbols, for what is looked at with each request."""


FindSource = Callable[[], ChartSource | str]
"""Returns the source of bars; while the daemon starts, sentences why there is none yet."""


def chart_routes(find_source: FindSource) -> list[BaseRoute]:
    """Return the routes of the page and of its data."""

    async def symbols(request: Request) -> Response:
        read_no_parameters(request.scope)
        source = _source(find_source)
        status = source.summary()
        return _json(
            {
                "symbols": sorted(source.hub.symbols()),
                "intervals": list(INTERVALS),
                "version": status.version,
                "exchange": status.exchange,
            }
        )

    async def status(request: Request) -> Response:
        read_no_parameters(request.scope)
        state = _source(find_source).status()
        return await trio.to_thread.run_sync(lambda: _json(status_form(state)))

    async def bars(request: Request) -> Response:
        """Answer with closed bars before ``end_time`` (ms), newest page first, at most ``limit``."""
        source = _source(find_source)
        summary = source.summary()
        wanted = read_bars_request(request.scope, source.hub.symbols(), summary.redirects)
        end = _latest_time(summary) if wanted.end is None else wanted.end
        try:
            async with source.turns.turn(address_of(request.client)):
                page = await page_before(
                    source.stored, source.hub, wanted.symbol, wanted.interval, end, wanted.limit
                )
        except HistoryBehindError:
            text = "Closed bars wait to be stored: try again in a moment."
            raise BadRequestError(text, 503, retry_seconds=RETRY_SECONDS) from None
        except BarsUnavailableError as error:
            raise BadRequestError(str(error), 503, retry_seconds=RETRY_SECONDS) from None
        except BusyError as error:
            status = 429 if error.is_own_fault else 503
            raise BadRequestError(str(error), status, retry_seconds=RETRY_SECONDS) from None
        return await trio.to_thread.run_sync(
            lambda: _json({"bars": [bar_form(bar) for bar in page.bars], "older": page.older})
        )

    return [
        Route("/api/symbols", _answering(symbols)),
        Route("/api/status", _answering(status)),
        Route("/api/bars", _answering(bars)),
        Route("/api/stream", endpoint=_StreamEndpoint(find_source)),
        Mount("/", StaticFiles(directory=_STATIC, html=True)),
    ]


class _StreamEndpoint:
    """Live bars of the symbols and intervals asked for, as server-sent events."""

    def __init__(self, find_source: FindSource) -> None:
        self._find_source = find_source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            source = _source(self._find_source)
            wanted = read_stream_request(scope, source.hub.symbols(), source.summary().redirects)
        except BadRequestError as error:
            await _refusal(error)(scope, receive, send)
            return
        selection = Selection(
            symbols=wanted.symbols,
            intervals=wanted.intervals,
            updates_per_second=UPDATES_PER_SECOND,
        )
        try:
            await EventStream(source.hub, source.stored, selection, source.status)(scope, receive, send)
        except TooManyStreamsError:
            text = "Too many streams are open: close some, or try later."
            await _refusal(BadRequestError(text, 503, retry_seconds=RETRY_SECONDS))(scope, receive, send)


def _answering(function: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            response: Response = await function(request)
        except BadRequestError as error:
            return _refusal(error)
        return response

    return answer


def _latest_time(status: DaemonStatus) -> int:
    """Return a time after every bar: near where now is known, as pages are found by halving."""
    return min(status.exchange_time + _YEAR, TIME_MAX) if status.exchange_time else TIME_MAX


def _source(find_source: FindSource) -> ChartSource:
    source = find_source()
    if isinstance(source, str):
        raise BadRequestError(source, 503, retry_seconds=RETRY_SECONDS)
    return source


def _refusal(error: BadRequestError) -> Response:
    response = _json({"error": str(error)}, error.status)
    if error.retry_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_seconds)
    return response


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(document),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
