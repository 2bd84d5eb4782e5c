"""What goes wrong in a simulation, when, and for how long."""

import random
from collections.abc import Sequence
from typing import Final

import trio

from candled.domain.bar import Bar
from candled.domain.interval import MICROSECONDS
from candled.domain.trade import Trade
from candled.exchange.core import Exchange
from candled.exchange.memory import MemoryExchange
from candled.feed.binance.rest import BinanceRest
from candled.feed.interface import ExchangeDescription
from tests.simulation.outcome import Outcome

FAULTS: Final = (
    *(
        "lose=0.05",
        "lose=0.5",
        "double=0.1",
        "reorder=0.1",
        "malformed=0.02",
        "late=0.05",
        "late=0.1/20s",
        "half=0.01",
    ),
    *("stall", "stall:ETHUSDT", "nopong", "refuse", "halt:PEPEUSDT", "halt:BTCUSDT"),
    *("rest_lag=5s", "rest_lag=3m", "rest_delay=2s", "rest_delay=12s"),
    *("rest_500=0.5", "rest_429=0.1", "rest_418=0.05", "rest_half=0.3"),
)
"""Of the exchange, for a while."""
BLOWS: Final = ("cut", "shutdown", "half")
"""Of the exchange, at once."""
WEATHER: Final = ("cut_per_byte", "delay", "down", "cut_all")
WORLD: Final = ("sleep", "slow_disk", "short_pages", "false_time")
"""The machine sleeps, so that the exchange runs ahead; the disk is slow; REST is stingy, or its clock is wrong."""
_PIECEMEAL: Final = ("late=0.2/5s", "rest_delay=2s")
"""With pages of a few trades: an aggregate often comes when a part of it is known."""


class Disk:
    """Whether closed bars are written at once."""

    def __init__(self) -> None:
        self.is_slow = False


class StingyRest:
    """The exchange's REST side, which may answer with less than was asked for, or with a wrong clock."""

    def __init__(self, rest: BinanceRest, moods: "RestMoods") -> None:
        self._rest = rest
        self._moods = moods

    async def server_time(self) -> int:
        """See ``TradeSource``."""
        return await self._rest.server_time() + self._moods.clock_error

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """See ``TradeSource``."""
        return await self._rest.describe(symbols)

    async def trades(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """See ``TradeSource``: pages may end anywhere, in the middle of an aggregate too."""
        return (await self._rest.trades(symbol, first_id, limit))[: self._moods.page()]

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> tuple[list[Trade], int | None]:
        """See ``TradeSource``."""
        return await self._rest.aggregates_since(symbol, time, limit)

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> tuple[list[Trade], int | None]:
        """See ``TradeSource``."""
        return await self._rest.aggregates_from(symbol, cursor, limit)

    async def newest(self, symbol: str) -> Trade | None:
        """See ``TradeSource``."""
        return await self._rest.newest(symbol)

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> list[Bar]:
        """See ``TradeSource``."""
        return await self._rest.klines(symbol, first_open_time, limit)


class RestMoods:
    """How the REST side is just now."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.pages_max: int | None = None
        """Most rows of a page of trades, if it is short."""
        self.clock_error = 0
        """Microseconds."""

    def page(self) -> int | None:
        """How many rows of an answer come."""
        return None if self.pages_max is None else self._rng.randint(1, self.pages_max)


class Mishaps:
    """Draws what goes wrong, and makes it so."""

    def __init__(
        self,
        rng: random.Random,
        mean_pause: float,
        exchange: Exchange,
        network: MemoryExchange,
        outcome: Outcome,
    ) -> None:
        self.disk = Disk()
        self.moods = RestMoods(rng)
        self.lie = 0
        """Microseconds by which the exchange's clock was ahead of the truth at most since ``begin_life``."""
        self._rng = rng
        self._mean_pause = mean_pause
        self._exchange = exchange
        self._network = network
        self._outcome = outcome

    def begin_piecemeal(self) -> None:
        """Messages are late and REST is slow and stingy, until ``end_all``."""
        self.moods.pages_max = 2
        for fault in _PIECEMEAL:
            self._exchange.command(fault)

    async def run(self) -> None:
        """Let things go wrong until cancelled."""
        kinds = (*FAULTS, *BLOWS, *WEATHER, *WORLD)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._rng.expovariate(1 / self._mean_pause))
                nursery.start_soon(self._one, self._rng.choice(kinds))

    async def _one(self, kind: str) -> None:
        self._outcome.mishaps[kind] += 1
        duration = self._rng.expovariate(1 / self._rng.choice((2, 20, 100)))
        self._outcome.note((kind, duration, trio.current_time()))
        if kind in BLOWS:
            self._exchange.command(kind)
        elif kind in FAULTS:
            self._exchange.command(kind)
            await trio.sleep(duration)
            self._exchange.command(_off(kind))
        else:
            await self._of_the_world(kind, duration)

    async def _of_the_world(self, kind: str, duration: float) -> None:
        weather, rng = self._network.weather, self._rng
        match kind:
            case "cut_per_byte":
                weather.cut_per_byte = 10 ** -rng.uniform(2.5, 5)
                await trio.sleep(duration)
                weather.cut_per_byte = 0.0
            case "delay":
                weather.longest_delay_s = rng.uniform(0.01, 3)
                await trio.sleep(duration)
                weather.longest_delay_s = 0.0
            case "down":
                weather.is_down = True
                self._network.cut_all()
                await trio.sleep(duration)
                weather.is_down = False
            case "cut_all":
                self._network.cut_all()
            case "sleep":
                self.run_ahead(rng.expovariate(1 / rng.choice((3, 90, 600))))
            case "slow_disk":
                self.disk.is_slow = True
                await trio.sleep(duration)
                self.disk.is_slow = False
            case "short_pages":
                before, self.moods.pages_max = self.moods.pages_max, 7
                await trio.sleep(duration)
                self.moods.pages_max = before
            case "false_time":
                self.moods.clock_error = int(rng.uniform(-90, 90) * MICROSECONDS)
                self.lie = max(self.lie, self.moods.clock_error)
                await trio.sleep(duration)
                self.moods.clock_error = 0

    def begin_life(self) -> None:
        """A daemon starts, which was told nothing yet."""
        self.lie = max(0, self.moods.clock_error)

    def run_ahead(self, seconds: float) -> None:
        """So much time passes at the exchange at once: to the daemon it is as if its machine had slept."""
        self._exchange.clock._origin += int(seconds * MICROSECONDS)
        self._exchange._wake()

    def end_all(self) -> None:
        """Everything is well again."""
        weather = self._network.weather
        weather.cut_per_byte = weather.longest_delay_s = weather.refuse = 0.0
        weather.is_down = self.disk.is_slow = False
        self.moods.pages_max = None
        self.moods.clock_error = 0
        for fault in (*FAULTS, *_PIECEMEAL):
            self._exchange.command(_off(fault))


def _off(fault: str) -> str:
    return f"{fault.partition('=')[0]}=off"
