"""What the chart's script is given: pages of stored bars, live events, refusals; slow and frozen clients."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from candled.domain.bar import Bar
from candled.domain.event import BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.stream.newest import page_before
from tests.web.stand import NOW, STARTING, Stand, made_up_bar

ONE_MINUTE = INTERVALS["1m"]


def minutes_ago(*agos: int, **values: Any) -> list[Bar]:
    return [made_up_bar(open_time=NOW - ago * MINUTE, **values) for ago in agos]


async def times(stand: Stand, end: int, limit: int) -> tuple[list[int], bool]:
    page = await page_before(stand.stored, stand.hub, "BTCUSDT", ONE_MINUTE, end, limit)
    return [(NOW - bar.open_time) // MINUTE for bar in page.bars], page.older


async def test_page_before_a_time() -> None:
    """A page is the newest bars before a time, oldest first."""
    stand = Stand()
    stand.stored.add(*minutes_ago(5, 4, 3, 2, 1))
    assert await times(stand, NOW, 3) == ([3, 2, 1], True)
    assert await times(stand, NOW - 3 * MINUTE, 3) == ([5, 4], False)


async def test_page_of_one_bar() -> None:
    """A page of a single bar is the newest one."""
    stand = Stand()
    stand.stored.add(*minutes_ago(50, 9, 8))
    assert await times(stand, NOW - MINUTE // 2, 1) == ([8], True)


async def test_pages_make_the_history() -> None:
    """Pages put together are the whole history."""
    stand = Stand()
    agos = [ago for ago in range(300, 0, -1) if ago % 7 and not 100 < ago < 150]
    stand.stored.add(*minutes_ago(*agos))
    found: list[int] = []
    end, older = NOW, True
    while older:
        page = await page_before(stand.stored, stand.hub, "BTCUSDT", ONE_MINUTE, end, 20)
        assert page.bars
        found = [(NOW - bar.open_time) // MINUTE for bar in page.bars] + found
        end, older = page.bars[0].open_time, page.older
    assert found == agos


async def test_a_long_absence_is_crossed_in_few_reads() -> None:
    stand = Stand()
    year = 365 * 1440
    stand.stored.add(*minutes_ago(year + 2, year + 1, year))
    assert await times(stand, NOW, 500) == ([year + 2, year + 1, year], False)
    assert stand.stored.reads < 30


async def test_page_beyond_an_absence() -> None:
    """A page beyond a long absence has the newest bars before it."""
    stand = Stand()
    year = 365 * 1440
    stand.stored.add(*minutes_ago(*range(year + 3000, year, -1)))
    found, older = await times(stand, NOW, 100)
    assert found[-1] == year + 1
    assert 0 < len(found) <= 100
    assert older


async def test_page_includes_unstored_bars() -> None:
    """A bar that is closed and not yet stored is on the page."""
    stand = Stand()
    stand.stored.add(*minutes_ago(2))
    (closed,) = minutes_ago(1)
    stand.emit(closed)
    assert await times(stand, NOW, 10) == ([2, 1], False)


async def test_unstored_revision_replaces() -> None:
    """A revision that is not yet stored replaces the stored bar."""
    stand = Stand()
    stand.stored.add(*minutes_ago(1))
    (revised,) = minutes_ago(1, revision=1)
    stand.emit(revised, BarEventKind.REVISION)
    page = await page_before(stand.stored, stand.hub, "BTCUSDT", ONE_MINUTE, NOW, 10)
    assert [bar.revision for bar in page.bars] == [1]


async def test_page_before_the_first_bar_is_empty() -> None:
    """A page before the first bar is empty."""
    assert await times(Stand(), NOW, 10) == ([], False)


async def ask(stand: Stand, path: str) -> httpx.Response:
    with trio.fail_after(10):
        async with stand.serving() as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            return await client.get(path)


async def test_numbers_go_to_the_browser_as_exact_strings() -> None:
    stand = Stand()
    stand.stored.add(made_up_bar(open_time=NOW - MINUTE, open=712, volume=1_234_567_890_123_00000001))
    (bar,) = (await ask(stand, "/api/bars?symbol=BTCUSDT&interval=1m")).json()["bars"]
    assert (bar["open"], bar["volume"]) == ("0.00000712", "1234567890123.00000001")
    assert bar["open_time"] == (NOW - MINUTE) // 1000


async def test_bars_without_exchange_time() -> None:
    """Bars are found before the exchange's time is known."""
    stand = Stand(exchange_time=0)
    stand.stored.add(made_up_bar(open_time=NOW - MINUTE))
    found = (await ask(stand, "/api/bars?symbol=BTCUSDT&interval=1m")).json()["bars"]
    assert [bar["open_time"] for bar in found] == [(NOW - MINUTE) // 1000]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/bars?symbol=XRPUSDT", 404, "choose from BTCUSDT ETHUSDT PEPEUSDT"),
        ("/api/bars?symbol=BTCUSDT&interval=7m", 400, "1m 3m 5m"),
        ("/api/bars?symbol=BTCUSDT&end_time=soon", 400, "end_time must be a whole number"),
        ("/api/bars?symbol=BTCUSDT&limit=-1", 400, "limit must be a whole number"),
        ("/api/stream?symbol=XRPUSDT", 404, "choose from BTCUSDT"),
        ("/api/stream?symbol=BTCUSDT&interval=x", 400, "1m 3m 5m"),
    ],
)
async def test_refusals_are_one_sentence(path: str, status: int, words: str) -> None:
    answer = await ask(Stand(), path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/bars?symbol=XRPUSDT", "/api/stream?symbol=XRPUSDT"])
async def test_refusal_names_the_other_shard(path: str) -> None:
    """The chart's routes name the shard that serves a symbol, as the gRPC API does."""
    stand = Stand()
    stand.elsewhere = {"XRPUSDT": "shard 1 at candled-1.candled-shards.prices.svc:50051"}
    error = (await ask(stand, path)).json()["error"]
    assert "XRPUSDT is served by shard 1 at candled-1.candled-shards.prices.svc:50051. Choose from" in error


async def test_nothing_may_be_loaded_from_elsewhere() -> None:
    for path in ("/", "/chart.js", "/api/status", "/healthz", "/no-such-page"):
        policy = (await ask(Stand(), path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


async def test_without_a_source_there_is_no_chart(nursery: trio.Nursery) -> None:
    from candled.stream.web.server import serve_http

    address = await nursery.start(
        lambda task_status: serve_http("127.0.0.1:0", not_ready_reasons=tuple, task_status=task_status)
    )
    with trio.fail_after(10):
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/healthz")).status_code == 200
    nursery.cancel_scope.cancel()


class Events:
    """Reads the events of one stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self, name: str) -> dict[str, Any]:
        """The data of the next event of that name."""
        kind = ""
        async for line in self._lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == name:
                data: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return data
        raise AssertionError("the stream ended")


@asynccontextmanager
async def open_stream(address: str) -> AsyncIterator[Events]:
    """The events of BTCUSDT."""
    async with (
        httpx.AsyncClient(base_url=f"http://{address}") as client,
        client.stream("GET", "/api/stream?symbol=BTCUSDT") as answer,
    ):
        yield Events(answer)


async def test_page_is_served_while_the_daemon_starts() -> None:
    assert (await ask(Stand(starting=True), "/")).status_code == 200
    for path in ("/api/symbols", "/api/status", "/api/bars?symbol=BTCUSDT", "/api/stream?symbol=BTCUSDT"):
        answer = await ask(Stand(starting=True), path)
        assert (answer.status_code, answer.json()["error"]) == (
            503,
            STARTING,
        )


async def test_stream_begins_with_the_forming_bar() -> None:
    stand = Stand()
    stand.emit(made_up_bar(closed=False, complete=False))
    with trio.fail_after(10):
        async with stand.serving() as address, open_stream(address) as events:
            assert (await events.next("bar"))["kind"] == "snapshot"
            stand.emit(made_up_bar(symbol="ETHUSDT"))
            stand.emit(made_up_bar())
            message = await events.next("bar")
            assert (message["kind"], message["bar"]["symbol"]) == ("close", "BTCUSDT")
            stand.emit(made_up_bar(revision=1), BarEventKind.REVISION)
            assert (await events.next("bar"))["bar"]["revision"] == 1


async def test_idle_stream_sends_the_daemons_status(autojump_clock: MockClock) -> None:
    stand = Stand(not_ready_reasons=("The disk is full.",))
    sent: list[bytes] = []
    await run_stream(stand, sent, seconds=7)
    states = [part for part in b"".join(sent).split(b"\n\n") if part.startswith(b"event: status")]
    assert len(states) == 4
    assert b"The disk is full." in states[-1]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in other tasks."""
    while not condition():
        await trio.sleep(0.01)


async def run_stream(
    stand: Stand,
    sent: list[bytes],
    *,
    seconds: float,
    send_delay: float = 0.0,
    during: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """One stream of BTCUSDT without a socket, to a client that takes ``send_delay`` seconds for each part."""
    from candled.stream.subscription import Selection
    from candled.stream.web.events import EventStream

    async def send(message: MutableMapping[str, Any]) -> None:
        await trio.sleep(send_delay)
        sent.append(message.get("body", b""))

    selection = Selection(symbols=frozenset({"BTCUSDT"}), updates_per_second=20)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            stream = EventStream(stand.hub, stand.stored, selection, stand.status)
            nursery.start_soon(stream, {"type": "http"}, trio.sleep_forever, send)
            if during is not None:
                await during()


async def test_slow_chart_gets_every_closed_bar(autojump_clock: MockClock) -> None:
    stand = Stand()
    sent: list[bytes] = []

    async def trade() -> None:
        for minute in range(5):
            for count in range(1, 101):
                open_time = NOW + minute * MINUTE
                stand.emit(made_up_bar(open_time=open_time, closed=False, complete=False, trade_count=count))
                await trio.sleep(0.05)
            stand.emit(made_up_bar(open_time=open_time))
        await trio.sleep(20)

    await run_stream(stand, sent, seconds=60, send_delay=2.0, during=trade)
    bars = [
        json.loads(part.partition(b"data: ")[2])
        for part in b"".join(sent).split(b"\n\n")
        if part.startswith(b"event: bar")
    ]
    closed = [message["bar"]["open_time"] for message in bars if message["kind"] == "close"]
    assert closed == [(NOW + minute * MINUTE) // 1000 for minute in range(5)]
    assert len(bars) < 40
    assert stand.hub.statistics().conflated > 300


async def test_a_client_that_leaves_is_forgotten() -> None:
    stand = Stand()
    with trio.fail_after(10):
        async with stand.serving() as address:
            async with open_stream(address):
                await until(lambda: stand.hub.statistics().subscribers == 1)
            await until(lambda: stand.hub.statistics().subscribers == 0)


async def test_stop_ends_each_stream_with_its_cause() -> None:
    stand = Stand()
    with trio.fail_after(10):
        async with stand.serving() as address, open_stream(address) as events:
            await events.next("status")
            stand.hub.close()
            assert (await events.next("end"))["cause"] == "shutdown"


@pytest.mark.slow
async def test_client_that_stops_reading_delays_no_shutdown() -> None:
    stand = Stand()
    with trio.fail_after(30):
        async with stand.serving() as address:
            host, port = address.split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(b"GET /api/stream?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some(1000)
            bar = made_up_bar(closed=True)
            for revision in range(60_000):  # far more than the kernel's buffers hold
                stand.emit(msgspec.structs.replace(bar, revision=revision), BarEventKind.REVISION)
                if revision % 200 == 0:
                    await trio.lowlevel.checkpoint()
            await trio.sleep(0.5)
        # leaving the block waits for the server's end: within its five seconds, not for ever
