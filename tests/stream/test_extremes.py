"""A client that sends every field of HTTP and gRPC its extremes.

Each request gets an answer in time that blames the client or serves it; none blames the server, and none holds the
event loop.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import trio
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from candled.api import candles_pb2 as pb
from candled.domain.interval import INTERVALS, MICROSECONDS
from candled.domain.limits import TIME_MAX
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.grpc.server import open_grpc_server
from candled.stream.hub import Hub
from candled.stream.resume import LivePoint, ReplayPoint, ResumeTokens, page_token
from candled.stream.web.chart import ChartSource
from candled.stream.web.server import serve_http
from tests.loop_watch import watching_loop
from tests.stream.grpc_client import Client, dial, in_thread
from tests.stream.support import HISTORY_ID, START, World, close, minute

SECONDS = 10.0
BLAMES_THE_CLIENT = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
STORE = MemoryStore()
for _index in range(300):
    STORE.table.put(close(minute(_index), _index))

NUMBERS = st.sampled_from([-(1 << 63), -(1 << 31), -1, 0, 1, 2, (1 << 31) - 1, (1 << 63) - 1]) | st.integers(
    -(1 << 63), (1 << 63) - 1
)
TIMES = st.sampled_from([0, START - 1, START, TIME_MAX, TIME_MAX + 1, 253_402_300_800 * MICROSECONDS, 1 << 62])
RESUME = ResumeTokens(HISTORY_ID)
TOKENS = st.builds(page_token, TIMES) | st.builds(
    lambda position, start, name, time: RESUME.encode(ReplayPoint(position, start, name, time, "BTCUSDT")),
    st.integers(0, (1 << 64) - 1),
    TIMES,
    st.sampled_from(list(INTERVALS)),
    TIMES,
)
LIVE_TOKENS = st.builds(
    lambda position, time: RESUME.encode(LivePoint.at(position, "1M", time)), st.integers(0, 9), TIMES
)
TEXTS = (
    st.sampled_from(
        ["", "BTCUSDT", "XRPUSDT", "币安人生USDT", "\0", "\x1b[2J", "\u202e", "X" * 5_000, "../..", *INTERVALS]
    )
    | st.text(max_size=30)
    | TOKENS
    | LIVE_TOKENS
)
MOMENTS = st.builds(
    lambda time, nanos: Timestamp(seconds=time // MICROSECONDS, nanos=nanos),
    TIMES,
    st.sampled_from([0, 1, -1, 999_999_999, 1_000_000_000, -(1 << 31), (1 << 31) - 1]),
) | st.builds(Timestamp, seconds=NUMBERS)
SYMBOLS = st.just("BTCUSDT") | TEXTS
INTERVAL_NAMES = st.sampled_from(list(INTERVALS)) | TEXTS

BARS = st.builds(
    pb.GetBarsRequest,
    symbol=SYMBOLS,
    interval=INTERVAL_NAMES,
    start_time=st.none() | MOMENTS,
    end_time=st.none() | MOMENTS,
    page_size=st.sampled_from([-(1 << 31), -1, 0, 1, (1 << 31) - 1]),
    page_token=st.just("") | TEXTS,
)
STREAMS = st.builds(
    pb.StreamBarsRequest,
    symbols=st.lists(SYMBOLS, max_size=4),
    intervals=st.lists(INTERVAL_NAMES, max_size=20),
    start_time=st.none() | MOMENTS,
    closed_only=st.booleans(),
    max_updates_per_second=st.sampled_from([0.0, -0.0, 5e-324, 1e308, 0.001, 20.0]) | st.floats(),
    resume_token=st.just("") | TEXTS,
)
QUERY_VALUES = (
    SYMBOLS
    | INTERVAL_NAMES
    | NUMBERS.map(str)
    | st.sampled_from(["NaN", "-inf", "1e9", "9" * 5_000, "٣", " 1 ", "+5"])
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(["symbol", "interval", "limit", "end_time", "tz", "", "\0"]), QUERY_VALUES),
    max_size=5,
).map(lambda pairs: [("symbol", "BTCUSDT"), *pairs] if len(pairs) < 3 else pairs)
PATHS = st.sampled_from(
    ["/api/bars", "/api/symbols", "/api/status", "/healthz", "/readyz", "/metrics", "/", "/%00", "/%ff", "/..%2f"]
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"])
ACCEPTED = st.sampled_from(
    ["*/*", "", "application/openmetrics-text; version=x.y", "text/plain; version=1.0.0; q=\xff"]
)


class Served:
    """A daemon's ports over a history in memory."""

    def __init__(self) -> None:
        self.world = World(clock=trio.current_time)
        self.history = MemoryHistory(STORE)
        self.hub = Hub(
            clock=trio.current_time,
            snapshot=lambda _symbol, _interval: None,
            symbols=lambda: ("BTCUSDT",),
            stored=self.history,
        )

    @asynccontextmanager
    async def grpc(self) -> AsyncIterator[Client]:
        async with open_grpc_server(
            "127.0.0.1:0", hub=self.hub, stored=self.history, status=self.world.status
        ) as server:
            with dial(server.address) as client:
                yield client

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        async with trio.open_nursery() as nursery:
            address = await nursery.start(
                lambda task_status: serve_http(
                    "127.0.0.1:0",
                    not_ready_reasons=tuple,
                    chart=lambda: ChartSource(self.hub, self.history, self.world.status),
                    task_status=task_status,
                )
            )
            async with httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS) as client:
                yield client
            nursery.cancel_scope.cancel()


def ask(client: Client, request: Any) -> grpc.StatusCode:
    """Send one request; the status, OK for a stream that begins."""
    try:
        if isinstance(request, pb.GetBarsRequest):
            client.GetBars(request, timeout=SECONDS)
        else:
            call = client.stream_bars(request, timeout=SECONDS)
            call.initial_metadata()  # comes once the request is accepted
            if not call.is_active():
                return call.code()
            call.cancel()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@settings(max_examples=40, deadline=None)
@given(requests=st.lists(BARS | STREAMS, min_size=4, max_size=10))
async def test_extremes_over_grpc(requests: list[Any]) -> None:
    """Every field of ``GetBars`` and ``StreamBars``: no INTERNAL, no UNKNOWN, nothing late."""
    with trio.fail_after(50):
        async with Served().grpc() as client, watching_loop():
            for request in requests:
                status = await in_thread(ask, client, request)
                assert status in BLAMES_THE_CLIENT, (status, request)


@settings(max_examples=40, deadline=None)
@given(requests=st.lists(st.tuples(METHODS, PATHS, QUERIES, ACCEPTED), min_size=4, max_size=10))
async def test_extremes_over_http(requests: list[tuple[str, str, list[tuple[str, str]], str]]) -> None:
    """Every parameter of every path: no 5xx, nothing late, and no control character comes back."""
    with trio.fail_after(50):
        async with Served().http() as client, watching_loop():
            for method, path, query, accepted in requests:
                headers = {b"accept": accepted.encode("latin-1")}
                params = httpx.QueryParams(
                    [(name, value.encode("utf-8", "replace").decode()) for name, value in query]
                )
                answer = await client.request(method, path, params=params, headers=headers)
                assert answer.status_code < 500, (method, path, query)
                if answer.status_code == 400 and method == "GET":
                    assert answer.json()["error"].isprintable()
