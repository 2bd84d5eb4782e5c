"""The gate of the gRPC port: every field of every request, at and beyond its limits."""

import math
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from candled.api import candles_pb2 as pb
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.limits import READ_MINUTES_MAX, TIME_MAX, TIME_MIN, is_symbol, is_time
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.requests import read_bars_request, read_stream_request
from candled.stream.resume import LivePoint, ResumeTokens, page_token

TOKENS = ResumeTokens("0123456789abcdef")
LIMITS = Limits(symbols_per_request_max=50)
LAST = Timestamp(seconds=TIME_MAX // 1_000_000)
BEYOND = [
    Timestamp(seconds=-1),
    Timestamp(seconds=-(1 << 63)),
    Timestamp(seconds=(1 << 63) - 1),
    Timestamp(seconds=253_402_300_800),
    Timestamp(seconds=TIME_MAX // 1_000_000, nanos=1000),
    Timestamp(nanos=-1),
    Timestamp(nanos=1_000_000_000),
    Timestamp(seconds=5, nanos=(1 << 31) - 1),
    Timestamp(nanos=-(1 << 31)),
]


def bars(**fields: Any) -> Any:
    return read_bars_request(pb.GetBarsRequest(**{"symbol": "BTCUSDT"} | fields), LIMITS)


def stream(**fields: Any) -> Any:
    return read_stream_request(pb.StreamBarsRequest(**fields), LIMITS, TOKENS)


def refused(read: Any, **fields: Any) -> str:
    """The sentence that refuses a request."""
    with pytest.raises(GRPCError) as caught:
        read(**fields)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert caught.value.message is not None
    assert caught.value.message.isprintable()
    return caught.value.message


def test_only_a_symbol_is_needed() -> None:
    """Everything else has a default: 1m, from the first bar to the last."""
    wanted = bars()
    assert (wanted.interval.name, wanted.start, wanted.end, wanted.size) == ("1m", TIME_MIN, TIME_MAX, 1_000)


def test_limits_are_included() -> None:
    """The first and the last time of the domain pass, to the microsecond."""
    wanted = bars(start_time=Timestamp(), end_time=LAST)
    assert (wanted.start, wanted.end) == (TIME_MIN, TIME_MAX)
    assert stream(start_time=LAST).begin == TIME_MAX
    assert bars(start_time=Timestamp(seconds=1, nanos=999_999_999)).start == 1_999_999


@pytest.mark.parametrize("moment", BEYOND, ids=str)
def test_other_times_are_refused(moment: Timestamp) -> None:
    """A time outside of the domain or nanoseconds that are none are named with their field."""
    for read, field in ((bars, "start_time"), (bars, "end_time"), (stream, "start_time")):
        assert refused(read, **{field: moment}).startswith(
            (f"{field} must be from 1970", f"{field}: nanos must be")
        )


def test_a_bad_start_is_refused_beside_a_token() -> None:
    """A resume token does not hide a start that is out of range."""
    assert "start_time must be" in refused(
        stream, start_time=BEYOND[0], resume_token=TOKENS.encode(LivePoint.before(1))
    )


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, -1.0, -5e-324, 5e-324, 1e-9, 1e308])
def test_other_rates_are_refused(rate: float) -> None:
    """A rate that is no number, negative, or so low or high that it means nothing is refused."""
    assert "max_updates_per_second must be from 0.001 to 1,000,000" in refused(stream, max_updates_per_second=rate)


@pytest.mark.parametrize("rate", [0.0, -0.0, 0.001, 20, 1e6])
def test_rates_within_the_range_pass(rate: float) -> None:
    """Zero and the limits themselves are rates."""
    assert stream(max_updates_per_second=rate).selection.updates_per_second == rate


@pytest.mark.parametrize("symbol", ["", " ", "BTC\0", "\x1b[2J", "\u202e", "X" * 81, "X" * 100_000])
def test_other_symbols_are_refused(symbol: str) -> None:
    """Texts that no exchange can list are refused and not repeated."""
    assert "symbol" in refused(bars, symbol=symbol)
    assert "symbols must name printable words" in refused(stream, symbols=["BTCUSDT", symbol])


def test_symbols_of_any_script_pass() -> None:
    """A symbol that is not ASCII is as good as any."""
    assert stream(symbols=["币安人生USDT"]).selection.symbols == {"币安人生USDT"}


@pytest.mark.parametrize("interval", ["7m", "1M ", "1mo", "1m" * 10_000, "\x1b"])
def test_other_intervals_are_refused(interval: str) -> None:
    """An interval that is not served says which are."""
    assert "choose one of 1m 3m" in refused(bars, interval=interval)
    assert "choose one of 1m 3m" in refused(stream, intervals=["1m", interval])


def test_lists_have_limits() -> None:
    """More symbols or intervals than a request may name are refused."""
    assert "symbols has more than 50" in refused(stream, symbols=["BTCUSDT"] * 51)
    assert "intervals has more than the 14" in refused(stream, intervals=["1m"] * 15)


@pytest.mark.parametrize("size", [-1, -(1 << 31)])
def test_negative_page_sizes_are_refused(size: int) -> None:
    """A negative page size is a mistake."""
    assert "page_size is negative" in refused(bars, page_size=size)


@pytest.mark.parametrize("name", list(INTERVALS))
def test_a_page_spans_bounded_minutes(name: str) -> None:
    """However many bars are asked for, one page reads no more than its minutes allow, and at least one bar."""
    wanted = bars(interval=name, page_size=(1 << 31) - 1)
    assert 1 <= wanted.size <= LIMITS.page_size_max
    assert wanted.size * (wanted.interval.length or 31 * 1440 * MINUTE) <= READ_MINUTES_MAX * MINUTE


def test_other_tokens_are_refused() -> None:
    """A token that this service did not give is refused, whatever its length."""
    for token in ("?", "A" * 100_000, page_token(TIME_MAX + 1), page_token(-1)):
        assert "page_token is not one" in refused(bars, page_token=token)
    for token in ("?", "A" * 100_000, TOKENS.encode(LivePoint.at(1, "1m", -1))):
        assert "resume_token is not one" in refused(stream, resume_token=token)


def outcome(read: Any, message: Any) -> Any:
    """What the gate makes of a request; None where it refuses it as it should."""
    try:
        return read(message, LIMITS)
    except GRPCError as error:
        if error.status is not Status.INVALID_ARGUMENT:
            raise
        return None


MOMENTS = st.builds(
    Timestamp, seconds=st.integers(-(1 << 63), (1 << 63) - 1), nanos=st.integers(-(1 << 31), (1 << 31) - 1)
)
TEXTS = st.text(max_size=90) | st.sampled_from(["BTCUSDT", *INTERVALS])


@given(
    symbol=TEXTS,
    interval=TEXTS,
    start=st.none() | MOMENTS,
    end=st.none() | MOMENTS,
    size=st.integers(-(1 << 31), (1 << 31) - 1),
    token=TEXTS,
)
def test_any_bars_request_is_checked_or_refused(
    symbol: str, interval: str, start: Timestamp | None, end: Timestamp | None, size: int, token: str
) -> None:
    """Whatever its fields hold, what passes is within the domain."""
    message = pb.GetBarsRequest(
        symbol=symbol, interval=interval, start_time=start, end_time=end, page_size=size, page_token=token
    )
    wanted = outcome(read_bars_request, message)
    if wanted is not None:
        assert is_symbol(wanted.symbol)
        assert is_time(wanted.start)
        assert is_time(wanted.end)
        assert 1 <= wanted.size <= LIMITS.page_size_max


@given(
    symbols=st.lists(TEXTS, max_size=5),
    intervals=st.lists(TEXTS, max_size=5),
    start=st.none() | MOMENTS,
    rate=st.floats(),
    token=TEXTS,
)
def test_any_stream_request_is_checked_or_refused(
    symbols: list[str], intervals: list[str], start: Timestamp | None, rate: float, token: str
) -> None:
    """Whatever its fields hold, what passes is within the domain."""
    message = pb.StreamBarsRequest(
        symbols=symbols, intervals=intervals, start_time=start, max_updates_per_second=rate, resume_token=token
    )
    wanted = outcome(partial(read_stream_request, tokens=TOKENS), message)
    if wanted is not None:
        selection = wanted.selection
        assert all(map(is_symbol, selection.symbols))
        assert selection.intervals <= set(INTERVALS)
        assert 0 <= selection.updates_per_second <= 1e6
