"""Serve connections over the limit of the HTTP port: answer health, and everything else with 503.

A probe must not fail because other clients use every connection of the port. So a few more are served briefly; if
those are all in use, the newest replaces the oldest.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CONNECTIONS_MAX: Final = 16
SECONDS: Final = 2.0
"""Maximum seconds of each."""
RETRY_SECONDS: Final = 5

_ANSWERED: Final = ("/healthz", "/readyz")


class OverflowApplication:
    """Answers health like ``app``, and everything else with 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] in _ANSWERED:
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "Too many connections are open: close some, or try later."},
            503,
            headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"},
        )
        await refusal(scope, receive, send)


class Overflow:
    """Serves connections that were refused, a few at a time.

    Args:
        nursery: where they are served.
        serve: serves one, and closes its socket.
    """

    def __init__(self, nursery: trio.Nursery, serve: Callable[[trio.socket.SocketType], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._serve = serve
        self._scopes: deque[trio.CancelScope] = deque()

    def take(self, sock: trio.socket.SocketType) -> None:
        """Serve a refused connection, in place of the oldest if there are too many."""
        if len(self._scopes) >= CONNECTIONS_MAX:
            self._scopes.popleft().cancel()
        scope = trio.CancelScope(deadline=trio.current_time() + SECONDS)
        self._scopes.append(scope)
        self._nursery.start_soon(self._run, sock, scope)

    async def _run(self, sock: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        with sock, scope:
            await self._serve(sock)
        if scope in self._scopes:
            self._scopes.remove(scope)
