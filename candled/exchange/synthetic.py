"""The synthetic market: a pure function of seed, symbol and time, so any moment of it can be had at any time.

Every UTC day has the same number of fills and aggregates per symbol, so the ids of a day follow from its number. A
seeded draw spreads them over its minutes, with bursts and quiet minutes; a second one, per block, gives each
aggregate its instant, price, side and fills. A restarted exchange with the same seed has the same past.
"""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Final

import attrs

from candled.exchange.market import DAY, MINUTE, Fill, SymbolRules

LISTING: Final = 18_262 * DAY
"""2020-01-01: the first day of every symbol; ids start at 0 there."""

_LAST_DAY: Final = 36_500
_BLOCK_TARGET: Final = 500
"""Aggregates in a block of the busiest minutes, about."""

_OCTAVES: Final = ((1, 150), (8, 500), (64, 1_500), (512, 5_000), (4_096, 20_000), (32_768, 60_000))
"""The price path: for each layer of noise its period in minutes and its reach in millionths of the price."""

_ONE: Final = 10**8


@attrs.frozen(slots=True)
class _Character:
    """How a symbol trades."""

    rules: SymbolRules
    price_ticks: int
    """About which its price moves."""
    aggregates_per_day: int
    fills_per_day: int
    quiet_percent: int
    """Minutes of a hundred without any trade."""
    quantity_bits: tuple[int, ...]
    """Sizes are drawn below 2 to the power of one of these, in steps."""
    spread_ticks: int


def _usdt(base: str, tick: int, step: int) -> SymbolRules:
    return SymbolRules(f"{base}USDT", base, "USDT", tick, step)


_KNOWN: Final = {
    character.rules.symbol: character
    for character in (
        _Character(
            _usdt("BTC", _ONE // 100, _ONE // 10**5), 9_600_000, 120_000, 180_000, 1, (6, 9, 12, 15, 17), 1
        ),
        _Character(_usdt("ETH", _ONE // 100, _ONE // 10**4), 340_000, 90_000, 130_000, 2, (7, 10, 13, 15, 17), 1),
        _Character(_usdt("PEPE", 1, _ONE), 712, 3_600, 4_400, 35, (20, 23, 26, 30, 34), 1),
    )
}


class SyntheticMarket:
    """See the module. Trades without end, for the default symbols and for any other name that is asked for."""

    def __init__(self, seed: int, symbols: Sequence[str], *, rate: float = 1.0) -> None:
        """A market of ``symbols``; ``rate`` multiplies the number of trades and is part of its identity."""
        self._seed = seed
        self._rate = rate
        self._characters = {symbol: _KNOWN.get(symbol) or _invent(seed, symbol) for symbol in symbols}
        self._rules = {symbol: character.rules for symbol, character in self._characters.items()}
        self._aggregates = {
            symbol: max(1, int(character.aggregates_per_day * rate))
            for symbol, character in self._characters.items()
        }
        self._fills = {
            symbol: max(self._aggregates[symbol], int(character.fills_per_day * rate))
            for symbol, character in self._characters.items()
        }
        self._per_minute = {
            symbol: _divisor_of_minute(count // 1440 // _BLOCK_TARGET)
            for symbol, count in self._aggregates.items()
        }
        self._day_plan = lru_cache(maxsize=max(64, 2 * len(symbols)))(self._plan_day)
        self._lattice = lru_cache(maxsize=max(4096, 4 * len(_OCTAVES) * len(symbols)))(self._draw_lattice)

    @property
    def identity(self) -> str:
        """Seed and rate: what the trades follow from."""
        return f"synthetic seed={self._seed}" + (f" rate={self._rate:g}" if self._rate != 1 else "")

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Every symbol traded here."""
        return self._rules

    def blocks(self, symbol: str) -> range:
        """From the listing on, practically without end."""
        per_day = 1440 * self._per_minute[symbol]
        return range(LISTING // DAY * per_day, _LAST_DAY * per_day)

    def block_start(self, symbol: str, index: int) -> int:
        """Time at which a block begins."""
        return index * (MINUTE // self._per_minute[symbol])

    def block_at(self, symbol: str, time: int) -> int:
        """Index of the block that holds ``time``."""
        blocks = self.blocks(symbol)
        return min(max(time // (MINUTE // self._per_minute[symbol]), blocks.start), blocks.stop - 1)

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Index of the block that holds the trade id."""
        day, in_day = divmod(max(trade_id, 0), self._fills[symbol])
        # Fill n of the day belongs to the last aggregate whose first fill is not after n.
        low, high = 0, self._aggregates[symbol]
        while high - low > 1:
            middle = (low + high) // 2
            if self._first_fill(symbol, middle) <= in_day:
                low = middle
            else:
                high = middle
        # Inside a block the fills may be dealt otherwise, but its edges are where _first_fill puts them.
        return self._block_of_place(symbol, day, low)

    def block_of_aggregate(self, symbol: str, aggregate_id: int) -> int:
        """Index of the block that holds the aggregate id."""
        return self._block_of_place(symbol, *divmod(max(aggregate_id, 0), self._aggregates[symbol]))

    def is_trading(self, symbol: str, start: int, end: int) -> bool:
        """From the listing on, always."""
        return end > LISTING

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """From the listing on, always."""
        return start >= LISTING

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """The fills of one block."""
        if index not in self.blocks(symbol):
            return ()
        per_minute = self._per_minute[symbol]
        day, in_day = divmod(index, 1440 * per_minute)
        place, end = self._places(symbol, day, in_day)
        count = end - place
        if count == 0:
            return ()
        number = day - LISTING // DAY
        aggregate_id = number * self._aggregates[symbol] + place
        trade_id = number * self._fills[symbol] + self._first_fill(symbol, place)
        extra = self._first_fill(symbol, end) - self._first_fill(symbol, place) - count
        length = MINUTE // per_minute
        start = index * length
        random = Random(self._draw(symbol, "block", index))  # noqa: S311 (a market, not a secret)
        sizes = _deal(random, count, extra)
        times = _instants(random, count, start, length, starts_minute=start % MINUTE == 0)
        return self._trade(symbol, random, aggregate_id, trade_id, sizes, times, self._path(symbol, start, length))

    def _trade(
        self,
        symbol: str,
        random: Random,
        aggregate_id: int,
        trade_id: int,
        sizes: list[int],
        times: list[int],
        path: tuple[int, int],
    ) -> list[Fill]:
        character = self._characters[symbol]
        tick, step = character.rules.tick_size, character.rules.step_size
        bits, spread = character.quantity_bits, character.spread_ticks
        begin, drift, count = path[0], path[1] - path[0], len(sizes)
        draw = random.getrandbits
        fills = []
        for number, (size, time) in enumerate(zip(sizes, times, strict=True)):
            noise = draw(16)
            sells = bool(noise & 1)
            wobble = (noise >> 1 & 7) * (noise >> 4 & 7) // 12 * (1 if noise >> 7 & 1 else -1)
            price = max(1, begin + drift * number // count + wobble + (0 if sells else spread)) * tick
            limit = bits[(noise >> 8) % len(bits)]
            for _ in range(size):
                quantity = (draw(limit) + 1) * step
                fills.append(Fill(trade_id, trade_id, aggregate_id, price, quantity, time, sells))
                trade_id += 1
            aggregate_id += 1
        return fills

    def _first_fill(self, symbol: str, place: int) -> int:
        """Place in its day of the first fill of an aggregate, were fills spread evenly; exact at block edges."""
        aggregates = self._aggregates[symbol]
        return place + (self._fills[symbol] - aggregates) * place // aggregates

    def _places(self, symbol: str, day: int, block: int) -> tuple[int, int]:
        """Places in their day of the first aggregate of a block and of the next block."""
        plan = self._day_plan(symbol, day)
        per_minute = self._per_minute[symbol]
        minute, part = divmod(block, per_minute)
        first, count = plan[minute], plan[minute + 1] - plan[minute]
        return first + count * part // per_minute, first + count * (part + 1) // per_minute

    def _block_of_place(self, symbol: str, number: int, place: int) -> int:
        """Index of the block that holds an aggregate, by its day's number since listing and its place there."""
        day = number + LISTING // DAY
        plan = self._day_plan(symbol, day)
        per_minute = self._per_minute[symbol]
        minute = bisect_right(plan, place) - 1
        count = plan[minute + 1] - plan[minute]
        part = ((place - plan[minute]) * per_minute + per_minute - 1) // count
        block = minute * per_minute + min(part, per_minute - 1)
        while self._places(symbol, day, block)[0] > place:
            block -= 1
        while self._places(symbol, day, block)[1] <= place:
            block += 1
        return day * 1440 * per_minute + block

    def _plan_day(self, symbol: str, day: int) -> "array[int]":
        """Place of the first aggregate of each minute of a day, and the total at the end."""
        random = Random(self._draw(symbol, "day", day))  # noqa: S311
        quiet = self._characters[symbol].quiet_percent
        weights = []
        for _ in range(1440):
            chance = random.getrandbits(20)
            if chance % 100 < quiet:
                weights.append(0)
            else:
                burst = 8 if chance >> 7 & 31 == 0 else 1
                weights.append((20 + (chance >> 12)) * burst)
        weights[-1] = max(weights[-1], 1)
        total = sum(weights)
        aggregates = self._aggregates[symbol]
        return array("q", (aggregates * running // total for running in accumulate(weights, initial=0)))

    def _path(self, symbol: str, start: int, length: int) -> tuple[int, int]:
        """Price in ticks at the start and at the end of a stretch of time."""
        base = self._characters[symbol].price_ticks
        return self._price(symbol, base, start), self._price(symbol, base, start + length)

    def _price(self, symbol: str, base: int, time: int) -> int:
        millionths = 1_000_000
        for octave, (minutes, reach) in enumerate(_OCTAVES):
            period = minutes * MINUTE
            left, rest = divmod(time, period)
            low, high = self._lattice(symbol, octave, left), self._lattice(symbol, octave, left + 1)
            millionths += (low * (period - rest) + high * rest) * reach // period // 1_000
        return base * millionths // 1_000_000

    def _draw_lattice(self, symbol: str, octave: int, place: int) -> int:
        """A point of the noise, -1000 to 1000."""
        return self._draw(symbol, f"price{octave}", place) % 2001 - 1000

    def _draw(self, symbol: str, purpose: str, place: int) -> int:
        return _draw(f"{self._seed}/{symbol}/{purpose}/{place}")


def _draw(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())


def _divisor_of_minute(parts: int) -> int:
    """How many equal blocks to cut a minute into: about ``parts``, at most 1,000, each in whole microseconds."""
    return max(divisor for divisor in range(1, 1001) if MINUTE % divisor == 0 and divisor <= max(parts, 1))


def _deal(random: Random, count: int, extra: int) -> list[int]:
    """How many fills each of ``count`` aggregates has: one, and ``extra`` ones dealt in handfuls."""
    sizes = [1] * count
    while extra > 0:
        handful = min(extra, 1 + random.getrandbits(3))
        sizes[int(random.random() * count)] += handful
        extra -= handful
    return sizes


def _instants(random: Random, count: int, start: int, length: int, *, starts_minute: bool) -> list[int]:
    """Instants of ``count`` aggregates of a block, in order: some together, some in a rush, some on its edge."""
    draw = random.random
    rush = int(draw() * length) if draw() < 0.3 else None
    times = []
    for number in range(count):
        offset = int(draw() * length)
        if rush is not None and number & 1:
            offset = rush + (length - rush) * offset // length // 16
        times.append(start + offset)
    times.sort()
    for number in range(1, count):
        if draw() < 0.15:
            times[number] = min(times[number], times[number - 1] + (random.getrandbits(9) if draw() < 0.5 else 0))
    if starts_minute and draw() < 0.2:
        times[0] = start
    times.sort()
    return times


def _invent(seed: int, symbol: str) -> _Character:
    """A character for a symbol that nobody described."""
    draw = _draw(f"{seed}/{symbol}/character")
    decimals = 2 + draw % 5
    quote = next((quote for quote in ("USDT", "USDC", "BTC", "ETH", "BUSD") if symbol.endswith(quote)), "USDT")
    rules = SymbolRules(
        symbol, symbol.removesuffix(quote) or symbol, quote, 10 ** (8 - decimals), 10 ** (2 + decimals)
    )
    aggregates = 2_000 + draw % 9_000
    return _Character(rules, 5_000 + draw % 500_000, aggregates, aggregates * 13 // 10, 10, (5, 8, 11, 14), 1)
