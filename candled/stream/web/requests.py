"""Validate requests of the HTTP port: return checked values, or refuse with a sentence.

Code behind this module sees only values that were checked here. Every parameter is named, given at most
once unless it is a list, and has a range; anything else is a ``BadRequestError``.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

import attrs
from starlette.datastructures import Headers
from starlette.types import Scope

from candled.domain.interval import INTERVALS, ONE_MINUTE, Interval
from candled.domain.limits import SYMBOL_BYTES_MAX, TIME_MAX, TIME_MIN, is_symbol

LIMIT_MAX: Final = 2_000
"""Bars of one page."""

_OPENMETRICS: Final = "application/openmetrics-text"
_LIMIT_DEFAULT: Final = 500
_QUERY_BYTES_MAX: Final = 8_192
_NUMBER_DIGITS_MAX: Final = 20
_SHOWN: Final = 40
"""Characters of a refused value, and symbols to choose from, that an answer repeats."""


class BadRequestError(Exception):
    """The request is refused; the text says what to change."""

    def __init__(self, text: str, status: int = 400, *, retry_seconds: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_seconds = retry_seconds
        """Seconds until a retry of a valid request."""


@attrs.frozen(kw_only=True)
class BarsRequest:
    """One page of closed bars."""

    symbol: str
    interval: Interval
    end: int | None
    """Exclusive, microseconds since the epoch; None: up to the newest bar."""
    limit: int


@attrs.frozen(kw_only=True)
class StreamRequest:
    """Live bars."""

    symbols: frozenset[str]
    """Empty: all."""
    intervals: frozenset[str]
    """Of each of the symbols; one at least."""


Redirects = Callable[[Iterable[str]], str]
"""Gives a sentence for each symbol that another daemon serves, as ``DaemonStatus.redirects`` does."""


def no_redirects(_symbols: Iterable[str]) -> str:
    """Name no other daemon: there is one only."""
    return ""


def read_bars_request(scope: Scope, served: Collection[str], redirects: Redirects = no_redirects) -> BarsRequest:
    """Check a request for ``/api/bars``.

    Args:
        scope: of ASGI.
        served: the symbols served now.
        redirects: names the daemon that serves a symbol which this one does not.

    Raises:
        BadRequestError: a parameter is missing, unknown, repeated or outside its range.
    """
    query = _query(scope, once=("symbol", "interval", "end_time", "limit"))
    if "symbol" not in query:
        raise BadRequestError("symbol is missing: give one of those that /api/symbols lists.")
    end = _number(query, "end_time", TIME_MIN // 1000, TIME_MAX // 1000, " of milliseconds since 1970")
    limit = _number(query, "limit", 1, LIMIT_MAX)
    return BarsRequest(
        symbol=_symbol(query["symbol"][0], served, redirects),
        interval=_interval(query.get("interval", (ONE_MINUTE.name,))[0]),
        end=None if end is None else end * 1000,
        limit=_LIMIT_DEFAULT if limit is None else limit,
    )


def read_stream_request(
    scope: Scope, served: Collection[str], redirects: Redirects = no_redirects
) -> StreamRequest:
    """Check a request for ``/api/stream``.

    Args:
        scope: of ASGI.
        served: the symbols served now.
        redirects: names the daemon that serves a symbol which this one does not.

    Raises:
        BadRequestError: a parameter is unknown, repeated or outside its range, or the method is not GET.
    """
    if scope["method"] != "GET":
        raise BadRequestError("An event stream is asked for with GET.", 405)
    query = _query(scope, once=(), often=("symbol", "interval"))
    symbols = frozenset(_symbol(name, served, redirects) for name in query.get("symbol", ()))
    intervals = frozenset(_interval(name).name for name in query.get("interval", (ONE_MINUTE.name,)))
    return StreamRequest(symbols=symbols, intervals=intervals)


def read_no_parameters(scope: Scope) -> None:
    """Check a request that takes no parameters.

    Raises:
        BadRequestError: it has some.
    """
    _query(scope, once=())


def wants_openmetrics(scope: Scope) -> bool:
    """Return whether a request for ``/metrics`` accepts OpenMetrics, in any version."""
    accepted = Headers(scope=scope).get("accept", "").split(",")
    return any(each.partition(";")[0].strip().lower() == _OPENMETRICS for each in accepted)


def is_encrypted(scope: Scope) -> bool:
    """Return whether the client's connection is encrypted, here or by the proxy in front.

    A client that forges the proxy's header affects only itself: its cookie is then bound to TLS.
    """
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "")
    return scope["scheme"] == "https" or forwarded.partition(",")[0].strip().lower() == "https"


def _query(scope: Scope, *, once: Collection[str], often: Collection[str] = ()) -> Mapping[str, list[str]]:
    raw: bytes = scope["query_string"]
    if len(raw) > _QUERY_BYTES_MAX:
        raise BadRequestError(f"The query is longer than {_QUERY_BYTES_MAX} bytes: ask for less at once.", 414)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadRequestError("The query is not percent-encoded UTF-8: encode it as such.") from None
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in once and name not in often:
            names = ", ".join([*once, *often])
            takes = f"this path takes {names}" if names else "this path takes none"
            raise BadRequestError(f"Unknown parameter {_shown(name)}: {takes}.")
        if name in query and name in once:
            raise BadRequestError(f"{name} is given more than once: give it once.")
        query.setdefault(name, []).append(value)
    return query


def _symbol(name: str, served: Collection[str], redirects: Redirects) -> str:
    if not is_symbol(name):
        raise BadRequestError(
            f"symbol must be one printable word of 1 to {SYMBOL_BYTES_MAX} bytes: give one of those that "
            "/api/symbols lists."
        )
    if name not in served:
        choice = " ".join(sorted(served)[:_SHOWN])
        hint = redirects([name])
        there = f". {hint}Choose" if hint else "; choose"
        raise BadRequestError(f"Not served here: {_shown(name)}{there} from {choice}.", 404)
    return name


def _interval(name: str) -> Interval:
    interval = INTERVALS.get(name)
    if interval is None:
        raise BadRequestError(f"Unknown interval {_shown(name)}: choose one of {' '.join(INTERVALS)}.")
    return interval


def _number(query: Mapping[str, list[str]], name: str, lowest: int, highest: int, unit: str = "") -> int | None:
    if name not in query:
        return None
    (text,) = query[name]
    # Leading zeros aside no number in range is that long, and ``int`` reads digits in quadratic time.
    is_number = len(text) <= _NUMBER_DIGITS_MAX and text.isascii() and text.isdigit()
    if not (is_number and lowest <= int(text) <= highest):
        raise BadRequestError(f"{name} must be a whole number{unit} from {lowest} to {highest}.")
    return int(text)


def _shown(text: str) -> str:
    """Shorten a refused value so that an answer may repeat it, without control characters."""
    return repr(text[:_SHOWN])
