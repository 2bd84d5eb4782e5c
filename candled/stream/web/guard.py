"""Bearer tokens on the HTTP port: required for bars and metrics, not for probes and the empty page."""

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from candled.stream.web.requests import is_encrypted

COOKIE: Final = "candled_token"
"""Cookie with a browser's token, since an event stream cannot send custom headers."""

_GUARDED: Final = ("/api/", "/metrics")
_TOKEN_PATH: Final = "/api/token"  # noqa: S105 (a path)
_REFUSAL: Final = "This service asks for a token: send the header Authorization: Bearer <token>."


class TokenGuard:
    """Middleware that passes requests that ``allow`` accepts.

    ``POST /api/token`` with the header gives a browser a cookie that scripts cannot read and other sites cannot
    use, and that never travels in clear where the request itself came over TLS.
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
            secure = is_encrypted(scope)
            answer.set_cookie(COOKIE, token, path="/", httponly=True, samesite="strict", secure=secure)
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
