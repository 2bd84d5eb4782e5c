"""The chart: a page, its script, and what the script asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from candled.domain.interval import INTERVALS, MICROSECONDS, Interval, parse_interval
from candled.domain.status import DaemonStatus
from candled.stream.history import StoredBars
from candled.stream.hub import HistoryBehindError, Hub, TooManyStreamsError
from candled.stream.subscription import Selection
from candled.stream.web.bars import LIMIT_MAX, page_before
from candled.stream.web.events import UPDATES_PER_SECOND, EventStream
from candled.stream.web.forms import bar_form, status_form

_STATIC: Final = Path(__file__).parent / "static"
_BARS_DEFAULT: Final = 500
_YEAR: Final = 366 * 86_400 * MICROSECONDS


class BadRequestError(Exception):
    """What was asked for cannot be given; the text says what to change."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class ChartSource:
    """Where the chart gets its bars: the same hub and history as the gRPC API."""

    hub: Hub
    stored: StoredBars
    status: Callable[[], DaemonStatus]


FindSource = Callable[[], ChartSource | None]
"""Gives None while the daemon starts: the HTTP port is there before there are bars."""


def chart_routes(find_source: FindSource) -> list[BaseRoute]:
    """Routes of the page and of its data."""

    async def symbols(_request: Request) -> Response:
        source = _source(find_source)
        status = source.status()
        return _json(
            {
                "symbols": sorted(source.hub.symbols()),
                "intervals": list(INTERVALS),
                "version": status.version,
                "exchange": status.exchange,
            }
        )

    async def status(_request: Request) -> Response:
        return _json(status_form(_source(find_source).status()))

    async def bars(request: Request) -> Response:
        """Closed bars before a time, newest page first: ``symbol``, ``interval``, ``end_time`` (ms), ``limit``."""
        source, parameters = _source(find_source), request.query_params
        symbol = _symbol(source, parameters.get("symbol", ""))
        interval = _interval(parameters.get("interval", "1m"))
        limit = min(_number(parameters.get("limit", str(_BARS_DEFAULT)), "limit"), LIMIT_MAX)
        if "end_time" in parameters:
            end = _number(parameters["end_time"], "end_time") * 1000
        else:
            end = source.status().exchange_time + _YEAR  # a clock that is behind must hide nothing
        try:
            page = await page_before(source.stored, source.hub, symbol, interval, end, limit)
        except HistoryBehindError:
            raise BadRequestError("Closed bars wait to be stored: try again in a moment.", 503) from None
        return _json({"bars": [bar_form(bar) for bar in page.bars], "older": page.older})

    return [
        Route("/api/symbols", _answering(symbols)),
        Route("/api/status", _answering(status)),
        Route("/api/bars", _answering(bars)),
        Route("/api/stream", endpoint=_StreamEndpoint(find_source)),
        Mount("/", StaticFiles(directory=_STATIC, html=True)),
    ]


class _StreamEndpoint:
    """Live bars of the symbols and the interval asked for, as server-sent events."""

    def __init__(self, find_source: FindSource) -> None:
        self._find_source = find_source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parameters = Request(scope).query_params
        try:
            source = _source(self._find_source)
            names = [_symbol(source, name) for name in parameters.getlist("symbol")]
            interval = _interval(parameters.get("interval", "1m"))
        except BadRequestError as error:
            await _refusal(error)(scope, receive, send)
            return
        selection = Selection(
            symbols=frozenset(names),
            intervals=frozenset({interval.name}),
            updates_per_second=UPDATES_PER_SECOND,
        )
        try:
            await EventStream(source.hub, selection, source.status)(scope, receive, send)
        except TooManyStreamsError:
            refusal = _refusal(BadRequestError("Too many streams are open: close some, or try later.", 503))
            await refusal(scope, receive, send)


def _answering(function: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            response: Response = await function(request)
        except BadRequestError as error:
            return _refusal(error)
        return response

    return answer


def _source(find_source: FindSource) -> ChartSource:
    source = find_source()
    if source is None:
        raise BadRequestError("The daemon is starting: try again in a moment.", 503)
    return source


def _symbol(source: ChartSource, name: str) -> str:
    served = source.hub.symbols()
    if name not in served:
        raise BadRequestError(f"Not served here: {name[:40]!r}; choose from {' '.join(sorted(served)[:20])}.", 404)
    return name


def _interval(name: str) -> Interval:
    try:
        return parse_interval(name[:20])
    except ValueError as error:
        raise BadRequestError(f"{error}.") from None


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 16):
        raise BadRequestError(f"{name} must be a whole number.")
    return int(text)


def _refusal(error: BadRequestError) -> Response:
    return _json({"error": str(error)}, error.status)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(document),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
