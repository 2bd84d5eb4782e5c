"""A symbol may be written in any script: it is streamed, fetched and described like any other."""

import pytest
from trio.testing import MockClock

from candled.domain.interval import MINUTE
from candled.feed.binance.adapter import BinanceAdapter
from tests.feed.stand import make_exchange, open_feed

pytestmark = pytest.mark.usefixtures("each_library")

NAMES = ("币安人生USDT", "ÄÖÜUSDT", "BTCUSDT")


@pytest.mark.parametrize("connections", [1, 2])
async def test_symbol_is_streamed(connections: int, autojump_clock: MockClock) -> None:
    """The path of the stream is percent-encoded."""
    async with open_feed(make_exchange(NAMES), NAMES, connections=connections) as stand:
        await stand.hears_each(NAMES)
        assert all(not stand.missing(name) for name in NAMES)
        assert stand.feed.refusals.total == 0


async def test_symbol_is_fetched(autojump_clock: MockClock) -> None:
    """Queries of every kind of request hold its name."""
    name = NAMES[0]
    async with open_feed(make_exchange(NAMES), NAMES) as stand:
        rest = stand.rest
        now = await rest.server_time()
        assert (await rest.describe([name])).instruments.keys() == {name}
        newest = await rest.newest(name)
        assert newest is not None
        assert (await rest.trades(name, newest.first_id - 5)).trades[0].symbol == name
        assert (await rest.aggregates_since(name, now - 10 * MINUTE)).trades
        assert (await rest.klines(name, now // MINUTE * MINUTE - 10 * MINUTE)).bars


async def test_symbol_is_subscribed_to_by_message(autojump_clock: MockClock) -> None:
    """Streams past those of the URL are named in a message, as they are."""
    adapter = BinanceAdapter(streams_in_url=1)
    async with open_feed(make_exchange(NAMES[::-1]), NAMES[::-1], adapter=adapter) as stand:
        await stand.hears_each(NAMES)
