"""Venues that answer ``historicalTrades`` only with an API key: what else proves the bars, and what is said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from candled.backfill.from_exchange import traded_bars
from candled.domain.interval import MINUTE
from candled.domain.status import GapState
from candled.embedded_exchange.memory import open_memory_exchange
from candled.feed.binance.rest import KEY_SECONDS, BinanceRest, open_rest
from candled.feed.errors import KeyWantedError
from tests.feed.test_endpoints import asking, refusing
from tests.feed.test_rest_answers import Server, whole
from tests.memory_daemon import START, captured_logs, make_exchange, open_daemon_on


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@asynccontextmanager
async def answering(body: bytes, status: int) -> AsyncIterator[BinanceRest]:
    async with open_rest(["http://a"], 6000, Server([whole(body, status)])) as rest:
        yield rest


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"code":-2014,"msg":"API-key format invalid."}', 401),
        (b'{"code":-2014,"msg":"API-key format invalid."}', 400),
        (b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}', 401),
        (b'{"code":-1002,"msg":"You are not authorized to execute this request."}', 401),
        (b"<html></html>", 401),
    ],
)
async def test_each_form_is_recognised(body: bytes, status: int, autojump_clock: MockClock) -> None:
    """By the code or by the status; the sentence names request, URL and remedy."""
    async with answering(body, status) as rest:
        with pytest.raises(KeyWantedError) as caught:
            await rest.trades("X", 0)
        assert str(caught.value.args[0]) == (
            "http://a answers historicalTrades only with an API key: add a base URL that wants none to rest_urls"
        )


async def test_url_is_left_alone_for_a_while(autojump_clock: MockClock) -> None:
    """A URL that wanted a key is asked for trades again only after ten minutes, and for all else at once."""
    async with asking(a=refusing("rest_key")) as (rest, exchanges):
        for _ in range(100):
            with pytest.raises(KeyWantedError):
                await rest.trades("BTCUSDT", 0)
        assert (rest.requests, rest.weight_used) == (1, 25)
        assert (await rest.aggregates_since("BTCUSDT", START - MINUTE)).trades
        exchanges["a"].command("rest_key=off")
        await trio.sleep(KEY_SECONDS)
        assert (await rest.trades("BTCUSDT", 0)).trades


async def test_another_url_may_want_none(autojump_clock: MockClock) -> None:
    """Trades come from the URL that gives them, everything else from the first one as before."""
    async with asking(a=refusing("rest_key"), b=make_exchange()) as (rest, _):
        for _ in range(3):
            assert (await rest.trades("BTCUSDT", 0)).trades
        assert (rest.requests, rest.failures) == (4, 1)
        await rest.server_time()
        assert rest.failures == 1


async def test_lost_messages_are_repaired_without_trades(autojump_clock: MockClock) -> None:
    """Klines by count, and aggregates where their sums are exact, make closed bars whole."""
    with captured_logs() as logs:
        async with open_daemon_on(make_exchange(faults="rest_key,lose=0.05")) as daemon:
            began = trio.current_time()
            await daemon.closes(10)
            daemon.exchange.command("lose=0")
            await daemon.closes(5)
            await daemon.is_whole()
            assert 1 <= daemon.rest.failures <= 1 + (trio.current_time() - began) / KEY_SECONDS
    lines = [line for line in logs if line["log_level"] in ("warning", "error")]
    assert [line["event"].partition(":")[0] for line in lines] == ["the exchange wants an API key"] * len(lines)
    assert len(lines) == daemon.rest.failures


async def test_gap_says_what_is_missing(autojump_clock: MockClock) -> None:
    """A gap that nothing else fills stays open with the sentence as its reason; the requests stay few."""
    async with open_daemon_on(make_exchange(faults="rest_key")) as daemon:
        await daemon.closes(2)
        daemon.exchange.command("lose=0.5,rest_wrong_kline=1,rest_say_time=0/1")
        await trio.sleep(200)
        daemon.exchange.command("lose=0")
        await trio.sleep(100)
        requests = daemon.rest.requests
        await trio.sleep(600)
        assert daemon.rest.requests - requests < 200
        gaps = [gap for gap in daemon.status("BTCUSDT").gaps if gap.state is GapState.OPEN]
        assert gaps
        assert all("only with an API key" in gap.reason for gap in gaps)


async def test_backfill_takes_klines_unproven(autojump_clock: MockClock) -> None:
    """Minutes that only their trades could prove have their klines' numbers and are not complete."""
    exchange = make_exchange(faults="rest_key")
    async with open_memory_exchange(exchange) as network, open_rest(["http://a"], 6000, network.backend()) as rest:
        bars = await traded_bars(rest, "BTCUSDT", START - 10 * MINUTE, START - 5 * MINUTE)
    assert [bar.open_time for bar in bars] == list(range(START - 10 * MINUTE, START - 5 * MINUTE, MINUTE))
    assert not any(bar.complete for bar in bars)
    assert all(bar.volume > 0 for bar in bars)
