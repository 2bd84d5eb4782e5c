"""The gate of the HTTP port: every parameter of every path, at and beyond its limits."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import INTERVALS
from candled.domain.limits import TIME_MAX, is_symbol
from candled.stream.web.requests import (
    LIMIT_MAX,
    BadRequestError,
    BarsRequest,
    StreamRequest,
    read_bars_request,
    read_no_parameters,
    read_stream_request,
)
from tests.web.stand import Stand
from tests.web.test_chart_data import ask

Read = Callable[[dict[str, Any], Sequence[str]], BarsRequest | StreamRequest]
SERVED = ("BTCUSDT", "币安人生USDT")


def scope(query: str | bytes, method: str = "GET") -> dict[str, Any]:
    return {"method": method, "query_string": query if isinstance(query, bytes) else query.encode()}


def refused(query: str | bytes) -> tuple[int, str]:
    """Status and sentence of a request for bars that is refused."""
    with pytest.raises(BadRequestError) as caught:
        read_bars_request(scope(query), SERVED)
    return caught.value.status, str(caught.value)


def test_only_a_symbol_is_needed() -> None:
    """Everything else has a default."""
    assert read_bars_request(scope("symbol=BTCUSDT"), SERVED) == BarsRequest(
        symbol="BTCUSDT", interval=INTERVALS["1m"], end=None, limit=500
    )


@pytest.mark.parametrize(
    ("query", "limit", "end"),
    [("limit=1&end_time=0", 1, 0), (f"limit={LIMIT_MAX}&end_time={TIME_MAX // 1000}", LIMIT_MAX, TIME_MAX)],
)
def test_limits_are_included(query: str, limit: int, end: int) -> None:
    """The first and the last value of each range pass."""
    wanted = read_bars_request(scope(f"symbol=BTCUSDT&{query}"), SERVED)
    assert (wanted.limit, wanted.end) == (limit, end)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        str(LIMIT_MAX + 1),
        "-1",
        "+1",
        "",
        "1.0",
        "1e3",
        "0x10",
        "1_000",
        " 1",
        "NaN",
        "inf",
        "9" * 5000,
        "٣",
        "½",
        "\0",
    ],
)
def test_other_limits_are_refused(text: str) -> None:
    """``limit=0`` and everything else that is no number of the range says what the range is."""
    assert refused(f"symbol=BTCUSDT&limit={quote(text)}") == (400, "limit must be a whole number from 1 to 2000.")


@pytest.mark.parametrize(
    "text", ["-1", str(TIME_MAX // 1000 + 1), "999999999999999", "9" * 30, "soon", "1e12", ""]
)
def test_other_times_are_refused(text: str) -> None:
    """An end outside of the domain's times says what they are."""
    status, sentence = refused(f"symbol=BTCUSDT&end_time={text}")
    assert status == 400
    assert sentence == "end_time must be a whole number of milliseconds since 1970 from 0 to 4102444800000."


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "symbol is missing"),
        ("symbol=", 400, "symbol must be one printable word"),
        ("symbol=%1b%5b2J", 400, "symbol must be one printable word"),
        ("symbol=BTCUSDT%00", 400, "symbol must be one printable word"),
        ("symbol=" + "X" * 81, 400, "symbol must be one printable word"),
        ("symbol=XRPUSDT", 404, "Not served here: 'XRPUSDT'; choose from BTCUSDT"),
        ("symbol=btcusdt", 404, "Not served here"),
        ("symbol=BTCUSDT&symbol=BTCUSDT", 400, "symbol is given more than once"),
        ("symbol=BTCUSDT&limit=5&limit=0", 400, "limit is given more than once"),
        ("symbol=BTCUSDT&interval=1m&interval=5m", 400, "interval is given more than once"),
        ("symbol=BTCUSDT&end_time=5&end_time=5", 400, "end_time is given more than once"),
        ("symbol=BTCUSDT&interval=", 400, "Unknown interval '': choose one of 1m 3m"),
        ("symbol=BTCUSDT&interval=1mo", 400, "Unknown interval '1mo'"),
        ("symbol=BTCUSDT&interval=" + "1m" * 500, 400, "Unknown interval '1m1m"),
        ("symbol=BTCUSDT&interval=%1b%5b2J", 400, r"Unknown interval '\x1b[2J'"),
        (
            "symbol=BTCUSDT&tz=Mars",
            400,
            "Unknown parameter 'tz': this path takes symbol, interval, end_time, limit",
        ),
        ("symbol=BTCUSDT&%1b=1", 400, r"Unknown parameter '\x1b'"),
        ("symbol=%ff%fe", 400, "not percent-encoded UTF-8"),
        (b"symbol=\xff", 400, "not percent-encoded UTF-8"),
        ("symbol=" + "X" * 9000, 414, "longer than 8192 bytes"),
        ("&".join(["symbol=BTCUSDT"] * 600), 414, "longer than 8192 bytes"),
    ],
)
def test_other_queries_are_refused(query: str | bytes, status: int, words: str) -> None:
    """What is missing, unknown, repeated, overlong or no text is named, with what to send instead."""
    found, sentence = refused(query)
    assert (found, words in sentence) == (status, True), sentence
    assert sentence.isprintable()


def test_symbols_of_any_script_are_served() -> None:
    """A symbol that is not ASCII is asked for in percent-encoded UTF-8."""
    assert read_bars_request(scope(f"symbol={quote(SERVED[1])}"), SERVED).symbol == SERVED[1]


def test_stream_takes_symbols_and_intervals() -> None:
    """``symbol`` and ``interval`` may be repeated for a stream; without an interval it is that of minutes."""
    wanted = read_stream_request(scope(f"symbol=BTCUSDT&symbol={quote(SERVED[1])}&symbol=BTCUSDT"), SERVED)
    assert wanted.symbols == set(SERVED)
    assert wanted.intervals == {"1m"}
    assert read_stream_request(scope("interval=5m&interval=1h&interval=5m"), SERVED).intervals == {"5m", "1h"}
    with pytest.raises(BadRequestError, match="Unknown interval '7m'"):
        read_stream_request(scope("interval=1m&interval=7m"), SERVED)


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "\x1b"])
def test_a_stream_is_asked_for_with_get(method: str) -> None:
    """No other method opens a stream."""
    with pytest.raises(BadRequestError, match="with GET") as caught:
        read_stream_request(scope("", method), SERVED)
    assert caught.value.status == 405


def test_a_path_without_parameters_takes_none() -> None:
    """A parameter that would be ignored is named."""
    read_no_parameters(scope(""))
    with pytest.raises(BadRequestError, match=r"Unknown parameter 'symbol': this path takes none\."):
        read_no_parameters(scope("symbol=BTCUSDT"))


def outcome(read: Read, query: bytes) -> BarsRequest | StreamRequest | str:
    """What the gate makes of a query, or the sentence that refuses it."""
    try:
        return read(scope(query), SERVED)
    except BadRequestError as error:
        return str(error)


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda text: f"symbol={quote(text, errors='replace')}".encode())
)
def test_any_query_is_checked_or_refused(query: bytes) -> None:
    """Whatever bytes a query holds, they become checked values or a short printable sentence."""
    for read in (read_bars_request, read_stream_request):
        wanted = outcome(read, query)
        if isinstance(wanted, str):
            assert wanted.isprintable()
            assert len(wanted) < 400
        else:
            assert all(map(is_symbol, [wanted.symbol] if isinstance(wanted, BarsRequest) else wanted.symbols))


@pytest.mark.parametrize(
    "path", ["/api/bars?symbol=BTCUSDT&limit=0", "/api/stream?limit=0", "/api/symbols?x=1", "/api/status?x=1"]
)
async def test_the_gate_stands_before_every_path(path: str) -> None:
    """Each path of the port answers 400 through the gate."""
    answer = await ask(Stand(), path)
    assert answer.status_code == 400
    assert answer.json()["error"]
