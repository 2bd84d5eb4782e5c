"""Bearer tokens on the HTTP port: who asks for bars or metrics sends one; probes and the empty page need none."""

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE: Final = "candled_token"
"""Where a browser keeps its token: an event stream cannot send headers of its own."""

_GUARDED: Final = ("/api/", "/metrics")
_TOKEN_PATH: Final = "/api/token"  # noqa: S105 (a path)
_REFUSAL: Final = "This service asks for a token: send the header Authorization: Bearer <token>."


class TokenGuard:
    """Middleware that lets through what ``allow`` accepts.

    ``POST /api/token`` with the header gives a browser a cookie that scripts cannot read and other sites cannot
    use.
    """

    def __init__(self, app: ASGIApp, allow: Callable[[str | None], bool]) -> None:
        self._app = app
        self._allow = allow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        header = request.headers.get("authorization")
        if scope["path"] == _TOKEN_PATH and request.method == "POST" and self._allow(header):
            answer = Response(status_code=204)
            token = (header or "").partition(" ")[2].strip()
            answer.set_cookie(COOKIE, token, path="/", httponly=True, samesite="strict")
            await answer(scope, receive, send)
        elif self._allow(header or _from_cookie(request.headers.get("cookie", ""))):
            await self._app(scope, receive, send)
        else:
            refusal = JSONResponse({"error": _REFUSAL}, 401, headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)


def _from_cookie(text: str) -> str | None:
    try:
        cookie = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return f"Bearer {cookie.value}" if cookie is not None else None
