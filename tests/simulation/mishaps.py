"""What goes wrong in a simulation, when, and for how long."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from candled.domain.interval import MICROSECONDS
from candled.domain.trade import Trade
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import MemoryExchange
from candled.feed.adapter import Capabilities, ExchangeDescription, KlinePage, RestClient, TradePage
from tests.engine.lying_clocks import tolerance
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
_ALIKE: Final = "event_time=1h"
"""A lie of all symbols."""
_OF_ANSWERS: Final = ("rest_wrong_header", "rest_wrong_answer", "rest_endless", "rest_huge")
"""Lies that keep the exchange's clock from being read."""
_UNREAD_SECONDS: Final = 45.0
"""A reading of the exchange's clock that is older may be the last for long."""
TIME_LIES: Final = (
    *(
        "event_time=30m/0.02",
        "event_time=-55m/0.1",
        "event_time:BTCUSDT=1h",
        "event_time:ETHUSDT=3s",
        _ALIKE,
    ),
    *("trade_time=1h/0.02", "trade_time=-1h/0.02", "trade_time=20s/0.05", "trade_time:BTCUSDT=40s"),
    *("server_time=16s", "server_time=-2h", "server_time_frozen"),
)
"""Of the exchange, about time, for a while."""
WITHIN_SLACK: Final = ("trade_time=20s/0.05", "trade_time:BTCUSDT=40s")
"""Those that an accelerated exchange's time admits: noticed only where a message states another time beside."""
BLOWS: Final = ("cut", "shutdown", "half")
"""Of the exchange, at once."""
WEATHER: Final = ("cut_per_byte", "delay", "down", "cut_all")
_FALSE_TIME: Final = "false_time"
WORLD: Final = ("sleep", "slow_disk", "short_pages", _FALSE_TIME)
"""The machine sleeps, so that the exchange runs ahead; the disk is slow; REST is stingy, or its clock is wrong."""
_SILENCES: Final = ("stall", "refuse", "halt", "down", "delay", "rest_")
"""What silences sources of time, by the beginning of its name."""
_QUIET_SECONDS: Final = 2.0
"""Between messages on average: from here on a daemon may hear of the clock alone at its start."""
_PIECEMEAL: Final = ("late=0.2/5s", "rest_delay=2s")
"""With pages of a few trades: an aggregate often comes when a part of it is known."""


class Disk:
    """Whether closed bars are written at once."""

    def __init__(self) -> None:
        self.is_slow = False


class StingyRest:
    """The exchange's REST side, which may answer with less than was asked for, or with a wrong clock."""

    def __init__(self, rest: RestClient, moods: "RestMoods") -> None:
        self._rest = rest
        self._moods = moods

    @property
    def capabilities(self) -> Capabilities:
        """See ``TradeSource``."""
        return self._rest.capabilities

    @property
    def weight_used(self) -> int:
        """See ``TradeSource``."""
        return self._rest.weight_used

    @property
    def weight_limit(self) -> int:
        """See ``TradeSource``."""
        return self._rest.weight_limit

    async def server_time(self) -> int:
        """See ``TradeSource``."""
        time = await self._rest.server_time()
        self._moods.clock_read_at = trio.current_time()
        return time + self._moods.clock_error

    async def describe(self, symbols: Sequence[str]) -> ExchangeDescription:
        """See ``TradeSource``."""
        return await self._rest.describe(symbols)

    async def trades(self, symbol: str, first_id: int, limit: int) -> TradePage:
        """See ``TradeSource``: pages may end anywhere, in the middle of an aggregate too."""
        page = await self._rest.trades(symbol, first_id, limit)
        return attrs.evolve(page, trades=page.trades[: self._moods.page()])

    async def aggregates_since(self, symbol: str, time: int, limit: int) -> TradePage:
        """See ``TradeSource``."""
        return await self._rest.aggregates_since(symbol, time, limit)

    async def aggregates_from(self, symbol: str, cursor: int, limit: int) -> TradePage:
        """See ``TradeSource``."""
        return await self._rest.aggregates_from(symbol, cursor, limit)

    async def newest(self, symbol: str) -> Trade | None:
        """See ``TradeSource``."""
        return await self._rest.newest(symbol)

    async def klines(self, symbol: str, first_open_time: int, limit: int) -> KlinePage:
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
        self.clock_read_at = float("-inf")
        """When the exchange's clock was read last."""

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
        *,
        seconds_between: float,
        time_lies: Sequence[str] = TIME_LIES,
        named: Callable[[str], str] = lambda text: text,
    ) -> None:
        """Make them.

        Args:
            rng: Decides.
            mean_pause: Seconds between mishaps, on average.
            exchange: Whose they are.
            network: The way to it.
            outcome: Counts them.
            seconds_between: Between two messages of the exchange, on average.
            time_lies: Lies about time to draw from.
            named: Gives a fault the names that symbols have at the exchange.
        """
        self.disk = Disk()
        self.moods = RestMoods(rng)
        self.lie = 0
        """Microseconds by which bars may close too early since ``begin_life``, as somebody lied about time."""
        self._lie: tuple[str, trio.CancelScope] | None = None
        """The current lie about time, and what ends it."""
        self._silent = 0
        """Mishaps that are on and silence sources of time."""
        self._is_piecemeal = False
        self.knows_time: Callable[[], bool] = lambda: False
        """Whether the daemon that lives now has agreed on a time."""
        self._is_quiet = seconds_between > _QUIET_SECONDS
        self._rng = rng
        self._named = named
        self._time_lies = tuple(time_lies)
        self._mean_pause = mean_pause
        self._exchange = exchange
        self._network = network
        self._outcome = outcome

    def begin_piecemeal(self) -> None:
        """Messages are late and REST is slow and stingy, until ``end_all``."""
        self._is_piecemeal = True
        self.moods.pages_max = 2
        for fault in _PIECEMEAL:
            self._exchange.command(fault)

    async def run(self) -> None:
        """Let things go wrong until cancelled."""
        kinds = (*FAULTS, *self._time_lies, *BLOWS, *WEATHER, *WORLD)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._rng.expovariate(1 / self._mean_pause))
                nursery.start_soon(self._one, self._rng.choice(kinds))

    async def _one(self, kind: str) -> None:
        is_lie, is_silence = kind in (*TIME_LIES, _FALSE_TIME), kind.startswith(_SILENCES)
        if (self._lie is not None and (is_lie or is_silence)) or (is_lie and self._silent):
            return  # a liar could not be distinguished from an honest source
        if kind == _ALIKE and self._are_symbols_alone:
            return
        self._outcome.mishaps[kind] += 1
        duration = self._rng.expovariate(1 / self._rng.choice((2, 20, 100)))
        self._outcome.note((kind, duration, trio.current_time()))
        self._silent += is_silence
        with trio.CancelScope() as scope:
            if is_lie:
                self._lie, self.lie = (kind, scope), self._tolerance
            await self._happen(kind, duration)
        self._silent -= is_silence
        if self._lie is not None and self._lie[1] is scope:
            self._lie = None

    @property
    def _are_symbols_alone(self) -> bool:
        """Whether a daemon could not know that all symbols lie alike: nothing else says what time it is.

        Either it has not agreed on a time yet; or REST is slow, which an accelerated clock does not bear, lies
        about whole answers, or was not read: a header that was a lie may ask for an hour without requests.
        """
        was_read = trio.current_time() - self.moods.clock_read_at <= _UNREAD_SECONDS
        if self._is_piecemeal or not was_read or not self.knows_time():
            return True
        return any(self._exchange.faults.rate(lie) > 0 for lie in _OF_ANSWERS)

    async def _happen(self, kind: str, duration: float) -> None:
        if kind in BLOWS:
            self._exchange.command(kind)
        elif kind in (*FAULTS, *TIME_LIES):
            self._exchange.command(self._named(kind))
            try:
                with trio.move_on_after(duration):
                    while kind == _ALIKE and not self._are_symbols_alone:
                        await trio.sleep(1)
                    if kind != _ALIKE:
                        await trio.sleep_forever()
            finally:
                self._exchange.command(self._named(_off(kind)))
        else:
            await self._of_the_world(kind, duration)

    @property
    def _tolerance(self) -> int:
        return tolerance(self._exchange.clock._speed)

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
            case _ if kind == _FALSE_TIME:
                self.moods.clock_error = int(rng.uniform(-90, 90) * MICROSECONDS)
                try:
                    await trio.sleep(duration)
                finally:
                    self.moods.clock_error = 0

    def begin_life(self) -> None:
        """Start a daemon's life: it has received nothing yet.

        All symbols do not lie alike to it then, nor the clock if that is all that it hears: it would be one word
        against another.
        """
        self.moods.clock_read_at, self.knows_time = float("-inf"), lambda: False
        if self._lie is not None:
            kind, scope = self._lie
            if kind == _ALIKE or (self._is_quiet and kind.startswith(("server_time", _FALSE_TIME))):
                scope.cancel()
                self._lie = None
        self.lie = self._tolerance if self._lie is not None else 0

    def run_ahead(self, seconds: float) -> None:
        """Advance the exchange at once: to the daemon it is as if its machine had slept."""
        self._exchange.clock._origin += int(seconds * MICROSECONDS)
        self._exchange._wake()

    def end_all(self) -> None:
        """Everything is well again."""
        weather = self._network.weather
        weather.cut_per_byte = weather.longest_delay_s = weather.refuse = 0.0
        weather.is_down = self.disk.is_slow = False
        self.moods.pages_max = None
        self.moods.clock_error = 0
        for fault in (*FAULTS, *TIME_LIES, *_PIECEMEAL):
            self._exchange.command(self._named(_off(fault)))


def _off(fault: str) -> str:
    return f"{fault.partition('=')[0]}=off"
