"""What the HTTP port answers: whether the daemon lives, whether it is ready, its metrics, and the chart."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from candled.stream.web.guard import TokenGuard

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
    """What the HTTP port did since the start."""

    requests: Counter[int] = attrs.Factory(Counter)
    """By the status of the answer."""
    bytes_sent: int = 0
    """Of answers' bodies."""


def make_application(
    *,
    not_ready_reasons: Callable[[], Sequence[str]],
    registry: CollectorRegistry,
    more_routes: Sequence[BaseRoute] = (),
    allow: Callable[[str | None], bool] | None = None,
    counts: HttpCounts,
) -> Starlette:
    """The application; it holds no state of its own.

    Arguments:
        not_ready_reasons: sentences that say why the daemon is not ready now; none when it is.
        registry: what ``/metrics`` shows.
        more_routes: those of the chart, if it is switched on.
        allow: looks at the value of an ``Authorization`` header; None asks for no tokens.
        counts: what it did is counted here.
    """

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_request: Request) -> Response:
        reasons = not_ready_reasons()
        if reasons:
            return PlainTextResponse("".join(f"{reason}\n" for reason in reasons), status_code=503)
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *more_routes,
        ],
        middleware=[
            Middleware(_Counting, counts),
            Middleware(_SecurityHeaders),
            *([Middleware(TokenGuard, allow)] if allow else []),
        ],
    )


class _Counting:
    """Counts what goes out."""

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
    """Every answer forbids the browser whatever the chart does not need; nothing comes from elsewhere."""

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
