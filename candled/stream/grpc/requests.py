"""Validate requests of the gRPC port: return checked values, or refuse with a status and a sentence.

Requests are protobuf's own messages: a ``Timestamp`` comes as the seconds and nanoseconds that the client sent,
in any range. Code behind this module sees only values that were checked here.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar

import attrs
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_bin_value

from candled.api import candles_pb2 as pb
from candled.domain.interval import INTERVALS, MICROSECONDS, ONE_MINUTE, Interval
from candled.domain.limits import SYMBOL_BYTES_MAX, TIME_MAX, TIME_MIN, is_symbol, is_time
from candled.stream.grpc.limits import Limits
from candled.stream.reads import bars_per_read
from candled.stream.resume import LivePoint, ReplayPoint, ResumeTokens, parse_page_token
from candled.stream.subscription import Selection

UPDATES_PER_SECOND_MIN: Final = 0.001
UPDATES_PER_SECOND_MAX: Final = 1_000_000.0
_NANOS_MAX: Final = 999_999_999
_NANOS: Final = 1_000
"""Nanoseconds in a microsecond."""

_NEEDED: Final = (":method", ":path")
_TIMEOUT: Final = re.compile(r"[0-9]{1,8}[HMSmun]", re.ASCII)
_SHOWN: Final = 40
"""Characters of a refused value that an error repeats."""

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class BarsRequest:
    """One page of closed bars. Times in microseconds since the epoch."""

    symbol: str
    interval: Interval
    start: int
    end: int
    """Exclusive."""
    size: int
    newest_first: bool


@attrs.frozen(kw_only=True)
class StreamRequest:
    """Live bars, and where they begin."""

    selection: Selection
    begin: LivePoint | ReplayPoint | int | None
    """The point to resume from, or the earliest open time in microseconds; None: now."""


def refused_headers(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return a sentence why a request's headers cannot be used; None if they can."""
    counts: Counter[str] = Counter()
    for name, value in headers:
        counts[name] += 1
        if name == "grpc-timeout" and not _TIMEOUT.fullmatch(value):
            return "grpc-timeout must be at most 8 digits and one of H M S m u n, as in 10S."
        if name.endswith("-bin") and not name.startswith("grpc-") and not _is_base64(value):
            return "Metadata with a name in -bin must be base64."
    if any(counts[name] != 1 for name in _NEEDED):
        return f"{', '.join(_NEEDED)} must each be there once."
    return None


def read_bars_request(message: pb.GetBarsRequest, limits: Limits) -> BarsRequest:
    """Check a request of ``GetBars``.

    Raises:
        GRPCError: INVALID_ARGUMENT, a field is missing or outside its range.
    """
    interval = _interval("interval", message.interval or ONE_MINUTE.name)
    if not message.symbol:
        raise refusal("symbol is missing: name one of those that ListSymbols gives.")
    symbol = _symbol("symbol", message.symbol)
    if message.page_size < 0:
        raise refusal("page_size is negative: give a positive one, or 0 for the default.")
    size = min(message.page_size or limits.page_size_default, limits.page_size_max)
    start = _time(message, "start_time", TIME_MIN)
    end = _time(message, "end_time", TIME_MAX)
    if message.page_token:
        place = _parsed(parse_page_token, message.page_token)
        start, end = (start, min(end, place)) if message.newest_first else (max(start, place), end)
    return BarsRequest(
        symbol=symbol,
        interval=interval,
        start=start,
        end=end,
        size=bars_per_read(interval, size),
        newest_first=message.newest_first,
    )


def read_stream_request(message: pb.StreamBarsRequest, limits: Limits, tokens: ResumeTokens) -> StreamRequest:
    """Check a request of ``StreamBars``; the service checks whether its symbols are served.

    Args:
        message: the request as received.
        limits: limits on clients' requests.
        tokens: reads resume tokens of the history served.

    Raises:
        GRPCError: INVALID_ARGUMENT, a field is outside its range, or the token is of another history.
    """
    if len(message.symbols) > limits.symbols_per_request_max:
        raise refusal(f"symbols has more than {limits.symbols_per_request_max}: leave it empty for all.")
    if len(message.intervals) > len(INTERVALS):
        raise refusal(f"intervals has more than the {len(INTERVALS)} that there are: name each once.")
    selection = Selection(
        symbols=frozenset(_symbol("symbols", name) for name in message.symbols),
        intervals=frozenset(_interval("intervals", name).name for name in message.intervals or (ONE_MINUTE.name,)),
        closed_only=message.closed_only,
        updates_per_second=_rate(message.max_updates_per_second),
    )
    # Checked even if a token overrides it, so that a client's mistake shows at once.
    start = _time(message, "start_time", None)
    if message.resume_token:
        return StreamRequest(selection=selection, begin=_parsed(tokens.decode, message.resume_token))
    return StreamRequest(selection=selection, begin=start)


def refusal(text: str) -> GRPCError:
    """Build the error that refuses a request; the text says what to change."""
    return GRPCError(Status.INVALID_ARGUMENT, text)


def unknown_symbols(symbols: Sequence[str], served: Collection[str], hints: str = "") -> GRPCError:
    """Build the error for valid symbols that are not served."""
    names = ", ".join(shown(symbol) for symbol in symbols[:5])
    choice = " ".join(sorted(served)[:20])
    return GRPCError(Status.NOT_FOUND, f"Not served here: {names}. {hints}Choose from ListSymbols: {choice}.")


def shown(text: str) -> str:
    """Shorten a refused value so that an error may repeat it; what passed ``is_symbol`` is printable."""
    return text[:_SHOWN]


def _is_base64(value: str) -> bool:
    try:
        decode_bin_value(value.encode("ascii"))
    except ValueError:
        return False
    return True


def _symbol(field: str, name: str) -> str:
    if not is_symbol(name):
        raise refusal(
            f"{field} must name printable words of 1 to {SYMBOL_BYTES_MAX} bytes: choose from those that "
            "ListSymbols gives."
        )
    return name


def _interval(field: str, name: str) -> Interval:
    interval = INTERVALS.get(name)
    if interval is None:
        raise refusal(f"{field}: unknown interval {name[:_SHOWN]!r}: choose one of {' '.join(INTERVALS)}.")
    return interval


def _rate(rate: float) -> float:
    if rate == 0 or (math.isfinite(rate) and UPDATES_PER_SECOND_MIN <= rate <= UPDATES_PER_SECOND_MAX):
        return abs(rate)
    raise refusal(
        f"max_updates_per_second must be from {UPDATES_PER_SECOND_MIN:g} to {UPDATES_PER_SECOND_MAX:,.0f}, "
        "or 0 for an update on every trade."
    )


def _time(message: pb.GetBarsRequest | pb.StreamBarsRequest, field: str, default: _T) -> int | _T:
    if not message.HasField(field):
        return default
    moment = getattr(message, field)
    if not 0 <= moment.nanos <= _NANOS_MAX:
        raise refusal(f"{field}: nanos must be from 0 to {_NANOS_MAX:,}.")
    time: int = moment.seconds * MICROSECONDS + moment.nanos // _NANOS
    if not is_time(time):
        raise refusal(f"{field} must be from 1970-01-01 to 2100-01-01, or absent.")
    return time


def _parsed(parse: Callable[[str], _T], token: str) -> _T:
    try:
        return parse(token)
    except ValueError as error:
        raise refusal(str(error)) from None
