"""Coinbase's REST side, asked within its limits: of the embedded exchange, in memory, on the clock of the test."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from candled.domain.interval import DAY, MINUTE
from candled.domain.refusal import Refusal, Refused
from candled.domain.trade import Trade
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import open_memory_exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from candled.feed.adapter import TRADING, TradePage
from candled.feed.coinbase.anchors import Anchors, guess, page_since
from candled.feed.coinbase.rest import CoinbaseRest, open_rest
from candled.feed.errors import SourceRefusedError, SourceUnavailableError

SYMBOL = "BTC-USD"
START = 20_400 * DAY + DAY // 2


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@asynccontextmanager
async def open_stand(
    faults: str = "", weight: int = 600, urls: Sequence[str] = ("http://a",)
) -> AsyncIterator[tuple[Exchange, CoinbaseRest]]:
    market = SyntheticMarket(1, (SYMBOL, "ETH-USD"), rate=0.2)
    exchange = Exchange(market, ExchangeClock(START, trio.current_time), faults=faults, form="coinbase")
    async with open_memory_exchange(exchange) as memory, open_rest(urls, weight, memory.backend()) as rest:
        yield exchange, rest


async def test_page_of_trades_begins_at_an_id(autojump_clock: MockClock) -> None:
    """The cursor is worked out from the first id and the number of rows."""
    async with open_stand() as (exchange, rest):
        last = exchange.ledger.last_id(SYMBOL, exchange.clock.now())
        page = await rest.trades(SYMBOL, last - 2000, 50)
        assert [trade.first_id for trade in page.trades] == list(range(last - 2000, last - 1950))
        fill = next(exchange.ledger.fills_from(SYMBOL, last - 2000, exchange.clock.now()))
        trade = page.trades[0]
        assert (trade.price, trade.quantity, trade.time) == (fill.price, fill.quantity, fill.time)
        assert trade.buyer_is_maker == fill.buyer_is_maker


async def test_page_beyond_the_newest_is_short(autojump_clock: MockClock) -> None:
    """It holds what there is from the id on, and nothing below it."""
    async with open_stand() as (exchange, rest):
        last = exchange.ledger.last_id(SYMBOL, exchange.clock.now())
        assert [trade.first_id for trade in (await rest.trades(SYMBOL, last - 3, 51)).trades] == [
            last - 3 + n for n in range(4)
        ]
        assert (await rest.trades(SYMBOL, last + 10, 51)).last_id is None


async def test_newest_trade_is_shown(autojump_clock: MockClock) -> None:
    """As the ledger has it."""
    async with open_stand() as (exchange, rest):
        newest = await rest.newest(SYMBOL)
        assert newest is not None
        assert newest.last_id == exchange.ledger.last_id(SYMBOL, exchange.clock.now())


@pytest.mark.parametrize("ago", [1, 90, 5_000, 86_400, 20 * 86_400])
async def test_time_is_found_by_ids(autojump_clock: MockClock, ago: int) -> None:
    """The first trade at or after it, in a few requests however long ago it is."""
    async with open_stand() as (exchange, rest):
        time = exchange.clock.now() - ago * 1_000_000
        page = await rest.aggregates_since(SYMBOL, time, 5)
        truth = list(exchange.ledger.fills_between(SYMBOL, time, exchange.clock.now()))
        assert [trade.first_id for trade in page.trades] == [fill.first_id for fill in truth[:5]]
        assert rest.requests <= 14
        requests = rest.requests
        again = await rest.aggregates_since(SYMBOL, time, 5)
        assert again.trades[0] == page.trades[0] if truth else again.trades == []
        assert rest.requests <= requests + 3


async def test_time_without_a_later_trade_finds_none(autojump_clock: MockClock) -> None:
    """Nothing was traded since."""
    async with open_stand() as (exchange, rest):
        assert (await rest.aggregates_since(SYMBOL, exchange.clock.now() + MINUTE, 5)).trades == []


async def test_time_before_the_first_trade_finds_it(autojump_clock: MockClock) -> None:
    """Ids begin there."""
    async with open_stand() as (_, rest):
        page = await rest.aggregates_since(SYMBOL, 18_000 * DAY, 5)
        assert page.trades[0].first_id == 0


async def test_candles_state_prices_and_volume(autojump_clock: MockClock) -> None:
    """Those of the ledger, exactly; a minute without trades has none."""
    async with open_stand() as (exchange, rest):
        start = START - 300 * MINUTE
        page = await rest.klines(SYMBOL, start, 300)
        truth = [
            exchange.ledger.kline(SYMBOL, start + n * MINUTE, start + (n + 1) * MINUTE, START) for n in range(300)
        ]
        traded = [kline for kline in truth if kline is not None and kline.count]
        assert [bar.open_time for bar in page.bars] == [kline.start for kline in traded]
        assert [bar.volume for bar in page.bars] == [int(kline.volume.scaleb(8)) for kline in traded]
        assert [bar.close for bar in page.bars] == [int(kline.close.scaleb(8)) for kline in traded]
        assert page.refused == ()


async def test_products_are_described(autojump_clock: MockClock) -> None:
    """With their increments; the identity names the made-up market, and its form."""
    async with open_stand() as (_, rest):
        description = await rest.describe([SYMBOL])
        instrument = description.instruments[SYMBOL]
        assert (instrument.status, instrument.price_decimals, instrument.quantity_decimals) == (TRADING, 2, 8)
        assert description.identity == "candled-embedded coinbase synthetic seed=1 rate=0.2"


async def test_unknown_product_is_named_with_those_like_it(autojump_clock: MockClock) -> None:
    """All products are asked for then."""
    async with open_stand() as (_, rest):
        description = await rest.describe([SYMBOL, "BTC-USDD"])
        assert list(description.instruments) == [SYMBOL]
        assert description.unknown(["BTC-USDD"]) == ["BTC-USDD (did you mean BTC-USD or ETH-USD?)"]


async def test_bursts_stay_within_the_limit_of_a_second(autojump_clock: MockClock) -> None:
    """Thirty requests at once are spread over seconds, and none is refused."""
    async with open_stand() as (_, rest):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(partial(rest.trades, SYMBOL, 100 * number, 10))
        assert trio.current_time() >= 2
        assert rest.failures == 0


async def test_asked_to_slow_down_it_waits(autojump_clock: MockClock) -> None:
    """Nothing is asked for a while."""
    async with open_stand("rest_429=1") as (exchange, rest):
        with pytest.raises(SourceUnavailableError, match="429"):
            await rest.server_time()
        exchange.command("clear")
        begun = trio.current_time()
        await rest.server_time()
        assert trio.current_time() - begun >= 2


async def test_asked_to_slow_down_it_asks_nobody_else(autojump_clock: MockClock) -> None:
    """Another base URL is the same exchange: who waits for it in the middle of a request may wait an hour."""
    async with open_stand("rest_429=1", urls=("http://a", "http://b")) as (_, rest):
        with pytest.raises(SourceUnavailableError, match="asks to wait"):
            await rest.server_time()
        assert (rest.requests, trio.current_time() < 1) == (1, True)


async def test_user_agent_is_sent(autojump_clock: MockClock) -> None:
    """The exchange refuses requests without one."""
    async with open_stand() as (_, rest):
        assert abs(await rest.server_time() - START) < MINUTE


async def test_wrong_request_is_refused(autojump_clock: MockClock) -> None:
    """It is not asked again elsewhere."""
    async with open_stand() as (_, rest):
        with pytest.raises(SourceRefusedError, match="NotFound"):
            await rest.newest("NONE-USD")


def test_guess_lies_between_what_is_known() -> None:
    """However far off times and density are."""
    anchors = Anchors()
    for trade_id, time in ((100, 1_000), (200, 2_000), (50, 500)):
        anchors.learn(trade_id, time)
    before, after = anchors.around(1_500)
    assert (before, after) == ((100, 1_000), (200, 2_000))
    assert after is not None
    assert guess(before, after, 1_500, 0.0, 0) == 150
    assert guess(before, after, 1_500, 0.0, 20) == 150
    assert guess(None, after, 0, 1e9, 0) == 0
    assert guess(None, after, 1_999, 0.0, 0) == 200


def traded(*rows: tuple[int, int]) -> list[Trade]:
    """Trades of these ids and times."""
    return [Trade(SYMBOL, trade_id, trade_id, 1, 1, time, False) for trade_id, time in rows]


@pytest.mark.parametrize("known", [7, None])
def test_refused_row_may_be_the_first(known: int | None) -> None:
    """Its id counts as the first one, be it stated or only missing; one before that does not."""
    bad = Refused(Refusal.TIME, "", SYMBOL) if known is None else Refused(Refusal.TIME, "", SYMBOL, known, known)
    earlier = Refused(Refusal.TIME, "", SYMBOL, 4, 4)
    page = page_since(TradePage(traded((5, 50), (6, 60), (8, 80), (9, 90)), (earlier, bad)), 70, None)
    assert page is not None
    assert [trade.first_id for trade in page.trades] == [8, 9]
    assert (page.first_id, [row.first_id for row in page.refused]) == (7, [7])


def test_page_without_an_earlier_trade() -> None:
    """Unless the trade right before it is known, or it is the first of all."""
    page = TradePage(traded((8, 80), (9, 90)))
    assert page_since(page, 70, None) is None
    assert page_since(page, 70, (6, 60)) is None
    assert page_since(page, 70, (7, 60)) == page
    assert page_since(TradePage(traded((8, 60))), 70, None) is None
