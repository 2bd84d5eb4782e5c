"""Application of the HTTP port: liveness, readiness, metrics, and the chart."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from candled.stream.admission import Admission, ConnectionLimits
from candled.stream.shared import SharedAnswer
from candled.stream.web.connection import CUTS
from candled.stream.web.guard import TokenGuard
from candled.stream.web.requests import wants_openmetrics

_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@attrs.define
class HttpCounts:
    """Counters of the HTTP port since the start."""

    requests: Counter[int] = attrs.Factory(Counter)
    """Answers by status."""
    bytes_sent: int = 0
    """Of answers' bodies."""
    cuts: Counter[str] = attrs.Factory(lambda: Counter(dict.fromkeys(CUTS, 0)))
    """Connections that were cut, by cause."""
    admission: Admission = attrs.Factory(lambda: Admission(ConnectionLimits()))
    """Connections that were admitted and refused."""


def make_application(
    *,
    not_ready_reasons: Callable[[], Sequence[str]],
    registry: CollectorRegistry,
    more_routes: Sequence[BaseRoute] = (),
    allow: Callable[[str | None], bool] | None = None,
    counts: HttpCounts,
) -> Starlette:
    """Build the application; it holds no state of its own.

    Args:
        not_ready_reasons: sentences why the daemon is not ready; none when it is.
        registry: source of ``/metrics``.
        more_routes: those of the chart, if it is switched on.
        allow: checks an ``Authorization`` header; None: no tokens.
        counts: counters of the port.
    """

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_request: Request) -> Response:
        reasons = not_ready_reasons()
        if reasons:
            return PlainTextResponse("".join(f"{reason}\n" for reason in reasons), status_code=503)
        return PlainTextResponse("ready\n")

    # The library reads versions without checking them, so it gets one of two headers of our own.
    forms = [choose_encoder(accept) for accept in ("", "application/openmetrics-text; version=1.0.0")]
    # Formatting takes long with thousands of symbols: use a thread to keep the event loop free.
    texts = [SharedAnswer(partial(trio.to_thread.run_sync, encode, registry)) for encode, _ in forms]

    async def metrics(request: Request) -> Response:
        form = int(wants_openmetrics(request.scope))
        return Response(await texts[form].get(), headers={"Content-Type": forms[form][1]})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *more_routes,
        ],
        middleware=[
            Middleware(_HttpOnly),
            Middleware(_Counting, counts),
            Middleware(_SecurityHeaders),
            *([Middleware(TokenGuard, allow)] if allow else []),
        ],
    )


class _HttpOnly:
    """Refuses websockets, which no part supports and not every part would refuse properly."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Counting:
    """Counts answers and bytes."""

    def __init__(self, app: ASGIApp, counts: HttpCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts.requests[message["status"]] += 1
            elif message["type"] == "http.response.body":
                self._counts.bytes_sent += len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, counted)


class _SecurityHeaders:
    """Adds headers that restrict the browser to what the chart needs, from this origin only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
