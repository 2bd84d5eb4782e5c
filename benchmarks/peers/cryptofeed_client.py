"""cryptofeed: its Binance feed up to a callback that only counts. Of trades it reads aggTrade only."""

import asyncio
from typing import Any

from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

from benchmarks.peers.tally import Tally, arguments

SYMBOLS = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT", "PEPE-USDT": "PEPEUSDT"}


class LoopbackBinance(Binance):  # type: ignore[misc]
    """The feed with another address, set afterwards: its class of connections takes only those with TLS."""

    loopback = ""

    def connect(self) -> list[tuple[Any, ...]]:
        made: list[tuple[Any, ...]] = super().connect()
        for connection, *_ in made:
            connection.address = f"{self.loopback}/stream"
        return made


async def main() -> None:
    url, trades, warm, _ = arguments()
    tally, done = Tally(trades, warm), asyncio.Event()
    Symbols.set(Binance.id, SYMBOLS, {})

    async def take(trade: Any, _receipt: float) -> None:
        if tally.take(int(trade.id)):
            done.set()

    feed = LoopbackBinance(symbols=list(SYMBOLS), channels=[TRADES], callbacks={TRADES: take})
    feed.loopback = url
    feed.start(asyncio.get_running_loop())
    await done.wait()
    tally.publish()
    feed.stop()


asyncio.run(main())
