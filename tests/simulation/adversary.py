"""An exchange that lies by seed, beside the mishaps: what it says, when, and about which trades and minutes."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Final

import trio

from candled.domain.bar import Bar
from candled.domain.id_ranges import IdRanges
from candled.domain.interval import DAY, MINUTE
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.kinds import KINDS, LIES, Place
from candled.embedded_exchange.market import Fill
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import Scenario

BELIEVABLE: Final = frozenset(
    {"contradict", "rest_contradict", "twin", "wrong_id", "rest_wrong_id", "wrong_heartbeat"}
)
"""Lies that a daemon with one source cannot notice: about a trade, or that there is none after it."""
BIG: Final = frozenset({"huge", "endless", "rest_huge", "rest_endless"})
"""Lies that cost the simulation megabytes or minutes: rare ones."""
LOOKED_AT_MAX: Final = 500
"""Trades beside a minute that may be doubtful one after another."""
DRAWN: Final = tuple(sorted(LIES - {"wrong_heartbeat"}))
OF_FORMS: Final = {"binance": DRAWN, "coinbase": (*DRAWN, "wrong_heartbeat")}
"""What is drawn, by whose API is spoken."""


class Adversary:
    """Draws lies, has the exchange say them for a while, and remembers about what they were."""

    def __init__(self, rng: random.Random, scenario: Scenario, exchange: Exchange, outcome: Outcome) -> None:
        self.doubtful: dict[str, IdRanges] = defaultdict(IdRanges)
        """Trade ids that were lied about, by symbol."""
        self.believable: dict[str, IdRanges] = defaultdict(IdRanges)
        """Those of them whose lies were plausible."""
        self.klines: dict[str, set[int]] = defaultdict(set)
        """Open times of minutes whose klines were lied about plausibly."""
        self.wrong_klines: dict[str, set[int]] = defaultdict(set)
        """Those whose klines could not be true."""
        self._rng = rng
        self._mean_pause = scenario.lie_pause or math.inf
        self._drawn = [name for name in OF_FORMS[scenario.form] if name not in scenario.lasting_lies]
        self._exchange = exchange
        self._outcome = outcome
        exchange.liar.on_lie = self._note

    async def run(self) -> None:
        """Lie until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._rng.expovariate(1 / self._mean_pause))
                nursery.start_soon(self._one, self._rng.choice(self._drawn))

    async def _one(self, name: str) -> None:
        self._outcome.mishaps[name] += 1
        is_of_answers = KINDS[name].place is Place.REST_LIE
        highest = 0.02 if name in BIG else 0.3 if is_of_answers else 0.1
        rate, duration = self._rng.uniform(0, highest), self._rng.expovariate(1 / self._rng.choice((5, 60, 300)))
        self._outcome.note((name, rate, duration, trio.current_time()))
        self._exchange.command(f"{name}={rate:.4f}")
        await trio.sleep(duration)
        self._exchange.command(f"{name}=off")

    def end_all(self) -> None:
        """Say the truth from now on, but for the lies that last."""
        for name in self._drawn:
            self._exchange.command(f"{name}=off")

    def contradicts(self, symbol: str, open_time: int, bar: Bar | None) -> bool:
        """Whether any lie was about a trade that proves the minute, or its kline was none."""
        first, last = self._ids(symbol, open_time, bar)
        ledger = self._exchange.ledger
        after = next(ledger.fills_between(symbol, open_time + MINUTE, self._exchange.clock.now()), None)
        last = max(last, after.last_id if after is not None else last)
        is_wrong = open_time in self.wrong_klines[symbol]
        return is_wrong or self.doubtful[symbol].overlaps(first, last)

    def fools(self, symbol: str, open_time: int, bar: Bar | None) -> bool:
        """Whether a daemon could not know better about the minute: a lie about it was plausible.

        The price of a minute without trades is that of the last trade before it; and a kline that counts a trade
        too many takes it from the minute beside it, over as many minutes as klines stand in for trades that were
        lied about.
        """
        first, last = self._ids(symbol, open_time, bar)
        if self.believable[symbol].overlaps(first, last):
            return True
        ledger, now = self._exchange.ledger, self._exchange.clock.now()
        before = self._nearest_undoubted(symbol, ledger._backward(symbol, open_time - 1))
        after = self._nearest_undoubted(symbol, ledger.fills_between(symbol, open_time + MINUTE, now))
        earliest = open_time if before is None else before.time - before.time % MINUTE
        latest = open_time if after is None else after.time
        return any(earliest <= lied <= latest for lied in self.klines[symbol])

    def _nearest_undoubted(self, symbol: str, fills: Iterable[Fill]) -> Fill | None:
        """The first of these trades that was stated as it is, or the last that was looked at."""
        found = None
        for found in islice(fills, LOOKED_AT_MAX):
            if not self.doubtful[symbol].overlaps(found.first_id, found.last_id):
                break
        return found

    def _ids(self, symbol: str, open_time: int, bar: Bar | None) -> tuple[int, int]:
        """First and last trade id of a minute, in the ledger or as stored, and of the trade before it."""
        before = next(self._exchange.ledger._backward(symbol, open_time - 1), None)
        ids = [] if before is None else [before.last_id]
        kline = self._exchange.ledger.kline(symbol, open_time, open_time + MINUTE, open_time + 2 * DAY)
        if kline is not None and kline.count:
            ids += [kline.first_id, kline.last_id]
        if bar is not None:
            ids += [bar.previous_trade_id, bar.first_trade_id, bar.last_trade_id]
        ids = [trade_id for trade_id in ids if trade_id >= 0]
        return min(ids, default=0), max(ids, default=-1)

    def _note(self, name: str, symbol: str, first: int, last: int) -> None:
        if name == "rest_contradict_kline":
            self.klines[symbol].add(first - first % MINUTE)
            return
        if name == "rest_wrong_kline":
            self.wrong_klines[symbol].add(first - first % MINUTE)
            return
        self.doubtful[symbol].add(first, last)
        if name in BELIEVABLE:
            self.believable[symbol].add(first, last)
