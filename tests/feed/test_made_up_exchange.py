"""An adapter of under 150 lines is an exchange: the whole daemon but for ports and disk reads it."""

import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from candled.config.settings import DaemonSettings
from candled.daemon.pipeline import open_pipeline
from candled.daemon.restore import restore
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, positions_of
from candled.domain.interval import MINUTE
from candled.feed import registry
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.hub import Hub
from tests.feed import made_up_exchange
from tests.feed.made_up_exchange import ADAPTER, BEGIN, PAUSE, row
from tests.feed.websocket_server import ACCEPTED, TEXT, frame, shake_hands

if TYPE_CHECKING:
    from candled.feed.adapter import ExchangeAdapter

LINES_MAX = 150


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def send_trades(stream: trio.abc.Stream) -> None:
    """The exchange's side of a connection: every fourth trade is lost."""
    await shake_hands(stream, ACCEPTED + b"\r\n")
    trade_id = (made_up_exchange.now() - BEGIN) // PAUSE + 1
    while True:
        await trio.sleep(max(0.0, (BEGIN + trade_id * PAUSE - made_up_exchange.now()) / 1_000_000) + 0.01)
        if trade_id % 4:
            await stream.send_all(frame(TEXT, json.dumps(["A/B", *row(trade_id)]).encode()))
        trade_id += 1


def quote_of(ids: range) -> Decimal:
    return sum((Decimal(str(row(id_)[1])) * Decimal(str(row(id_)[2])) for id_ in ids), Decimal(0))


async def bars_after(minutes: int) -> list[Bar]:
    """What a daemon has stored of the exchange after some minutes."""
    settings = DaemonSettings(exchange="made-up", symbols=("A/B",), stream_urls=("ws://made-up",))
    history = MemoryHistory(MemoryStore())
    async with ADAPTER.open_rest() as rest, trio.open_nursery() as nursery:

        async def connect(_host: str, _port: int, _tls: bool) -> trio.abc.Stream:
            near, far = memory_stream_pair()
            nursery.start_soon(send_trades, far)
            await trio.lowlevel.checkpoint()
            return near

        send, receive = trio.open_memory_channel[list[BarEvent]](1_000)
        await nursery.start(history.serve, receive)
        engine = await restore(settings, history, positions_of(1))
        hub = Hub(
            clock=trio.current_time, snapshot=engine.forming, symbols=lambda: list(engine.symbols), stored=history
        )
        async with (
            send,
            open_pipeline(
                settings,
                await rest.describe(settings.symbols),
                engine,
                source=rest,
                stored=history,
                hub=hub,
                unstored=hub.unstored,
                closed=send.clone(),
                connect=connect,
                rng=Random(1),
            ),
        ):
            await trio.sleep(minutes * 60)
        nursery.cancel_scope.cancel()
    return await history.bars("A/B", "1m", limit=1_000)


async def test_made_up_exchange_gives_exact_bars(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost trades are fetched by id, and every bar but the newest is complete."""
    monkeypatch.setitem(registry._MODULES, "made-up", "tests.feed.made_up_exchange")
    bars = (await bars_after(20))[:-2]
    assert len(bars) >= 15
    assert all(bar.complete for bar in bars)
    for bar in bars:
        first = -((BEGIN - bar.open_time) // PAUSE)
        ids = range(max(0, first), -((BEGIN - bar.open_time - MINUTE) // PAUSE))
        assert (bar.first_trade_id, bar.last_trade_id, bar.trade_count) == (ids[0], ids[-1], len(ids))
        assert Decimal(bar.quote_volume).scaleb(-bar.quote_decimals) == quote_of(ids)


def test_made_up_exchange_is_short() -> None:
    """It shows the minimum, and is an adapter for the type checker too."""
    adapter: ExchangeAdapter = ADAPTER
    assert adapter.name == "made-up"
    assert len(Path(made_up_exchange.__file__).read_text().splitlines()) < LINES_MAX
