"""The synthetic market: a pure function of seed, symbol and time, so any moment of it can be computed at any time.

Every UTC day has the same number of fills and aggregates per symbol, so the ids of a day follow from its number. A
seeded draw spreads them over its minutes, with bursts and quiet minutes; a second one lays the day's price path,
with calm and wild hours, and trends; a third one, per block, gives each aggregate its instant, price, side and
fills. A restarted exchange with the same seed has the same past.

The price is a random walk pinned to a slow drift at each midnight. How far it swings in a minute is drawn as
markets show it: persistent on several scales at once (as in the Markov-switching multifractal of Calvet and
Fisher), kicked up by bursts of trades and calming down after them, higher in some hours of the day. The sizes of
trades grow with it. All of it is integer arithmetic, so it is the same on every machine.
"""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from math import isqrt
from operator import add
from random import Random
from statistics import NormalDist
from typing import Final

import attrs

from candled.embedded_exchange.market import DAY, MINUTE, Fill, SymbolRules

LISTING: Final = 18_262 * DAY
"""2020-01-01: the first day of every symbol; ids start at 0 there."""

_LAST_DAY: Final = 36_500
_BLOCK_TARGET: Final = 500
"""Aggregates in a block of the busiest minutes, about."""

_DRIFT: Final = ((1, 10_000), (4, 15_000), (16, 30_000), (64, 60_000), (256, 100_000))
"""Price at midnight: for each layer of noise its period in days and its reach in millionths of the price."""

_EDGE_LEVELS: Final = 7
"""Halvings of a minute down to which its path is drawn at the edges of blocks."""

_ONE: Final = 10**8

_NORMAL: Final = [round(1024 * NormalDist().inv_cdf((place + 0.5) / 256)) for place in range(256)]
"""Draws from the bell curve in units of 1/1024, each as likely as the other."""

_MOODS: Final = [
    round(1000 * slow * middle * fast) for slow in (0.75, 1.3) for middle in (0.7, 1.35) for fast in (0.8, 1.25)
]
"""Swing of a minute, in thousandths of the usual one, by the state of its three scales."""

_HOURS: Final = (
    850, 900, 850, 750, 700, 700, 750, 900, 1100, 1100, 1000, 950,
    1000, 1250, 1500, 1450, 1300, 1200, 1100, 1000, 950, 900, 900, 850,
)  # fmt: skip
"""The same by the hour of the day."""

_SIZE_MAX: Final = 4 << 10
"""Maximum size of trades in a wild minute relative to usual ones, in 1/1024."""


@attrs.frozen(slots=True)
class _Character:
    """Trading characteristics of a symbol."""

    rules: SymbolRules
    price_ticks: int
    """Price that it moves about."""
    aggregates_per_day: int
    fills_per_day: int
    quiet_percent: int
    """Minutes of a hundred without any trade."""
    quantity_bits: tuple[int, ...]
    """Sizes are drawn below 2 to the power of one of these, in steps."""
    spread_ticks: int
    swing: int
    """Standard deviation of the price in a usual minute, millionths."""


def _dollar(base: str, tick: int, step: int) -> SymbolRules:
    return SymbolRules(f"{base}-USD", base, "USD", tick, step)


def _usdt(base: str, tick: int, step: int) -> SymbolRules:
    return SymbolRules(f"{base}USDT", base, "USDT", tick, step)


_KNOWN: Final = {
    character.rules.symbol: character
    for character in (
        _Character(
            _usdt("BTC", _ONE // 100, _ONE // 10**5), 9_600_000, 120_000, 180_000, 1, (6, 9, 12, 15, 17), 1, 380
        ),
        _Character(
            _usdt("ETH", _ONE // 100, _ONE // 10**4), 340_000, 90_000, 130_000, 2, (7, 10, 13, 15, 17), 1, 480
        ),
        _Character(_dollar("BTC", _ONE // 100, 1), 9_600_000, 60_000, 90_000, 1, (16, 19, 22, 25, 27), 1, 380),
        _Character(_dollar("ETH", _ONE // 100, 1), 340_000, 45_000, 65_000, 2, (20, 23, 26, 28, 30), 1, 480),
        _Character(_dollar("PEPE", 1, _ONE // 10), 712, 3_600, 4_400, 35, (20, 23, 26, 30, 34), 1, 900),
        _Character(_usdt("PEPE", 1, _ONE), 712, 3_600, 4_400, 35, (20, 23, 26, 30, 34), 1, 900),
    )
}


@attrs.frozen(slots=True)
class _Path:
    """A day of prices, in hundred-millionths of the price about which a symbol moves."""

    prices: "array[int]"
    """At the start of each minute, and at the day's end."""
    swings: "array[int]"
    """Standard deviation of each minute's change."""
    sizes: "array[int]"
    """Sizes of each minute's trades, in 1/1024 of the usual ones."""


class SyntheticMarket:
    """A market without end for the default symbols and any other name; see the module."""

    def __init__(self, seed: int, symbols: Sequence[str], *, rate: float = 1.0) -> None:
        """Make a market of ``symbols``; ``rate`` multiplies the number of trades and is part of its identity."""
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
        self._day_path = lru_cache(maxsize=max(16, 2 * len(symbols)))(self._lay_path)

    @property
    def identity(self) -> str:
        """Seed and rate, which determine the trades."""
        return f"synthetic seed={self._seed}" + (f" rate={self._rate:g}" if self._rate != 1 else "")

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Every symbol traded here."""
        return self._rules

    def blocks(self, symbol: str) -> range:
        """Return block indexes from the listing on, practically without end."""
        per_day = 1440 * self._per_minute[symbol]
        return range(LISTING // DAY * per_day, _LAST_DAY * per_day)

    def block_start(self, symbol: str, index: int) -> int:
        """Return the time at which a block begins."""
        return index * (MINUTE // self._per_minute[symbol])

    def block_at(self, symbol: str, time: int) -> int:
        """Return the index of the block that holds ``time``."""
        blocks = self.blocks(symbol)
        return min(max(time // (MINUTE // self._per_minute[symbol]), blocks.start), blocks.stop - 1)

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Return the index of the block that holds the trade id."""
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
        """Return the index of the block that holds the aggregate id."""
        return self._block_of_place(symbol, *divmod(max(aggregate_id, 0), self._aggregates[symbol]))

    def is_trading(self, symbol: str, start: int, end: int) -> bool:
        """Return True from the listing on."""
        return end > LISTING

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """Return True from the listing on."""
        return start >= LISTING

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """Return the fills of one block."""
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
        return self._trade(symbol, random, aggregate_id, trade_id, sizes, times, start, length)

    def _trade(
        self,
        symbol: str,
        random: Random,
        aggregate_id: int,
        trade_id: int,
        sizes: list[int],
        times: list[int],
        start: int,
        length: int,
    ) -> list[Fill]:
        character = self._characters[symbol]
        tick, step = character.rules.tick_size, character.rules.step_size
        bits, spread, count = character.quantity_bits, character.spread_ticks, len(sizes)
        draw = random.getrandbits
        path, minute = self._day_path(symbol, start // DAY), start % DAY // MINUTE
        swing, size_factor = path.swings[minute], path.sizes[minute]
        # A walk of one step for each aggregate, bent so that it ends where the day's path has the block's end.
        # In thousandths of a tick, so that a cheap symbol moves by less than one at a time.
        scale = character.price_ticks
        begin, end = (self._price(symbol, time) * scale // 100_000 for time in (start, start + length))
        stride = isqrt((swing * scale // 100_000) ** 2 * length // (MINUTE * count))
        noises = [draw(18) for _ in range(count)]
        walk = list(accumulate(_NORMAL[noise & 255] * stride >> 10 for noise in noises))
        bend = end - begin - walk[-1]
        fills = []
        for number, (size, time) in enumerate(zip(sizes, times, strict=True)):
            noise = noises[number]
            # Takers sell into a falling price, mostly.
            sells = noise & 255 < 128 if noise & 0x300 else bool(noise & 0x400)
            place = begin + walk[number] + bend * (number + 1) // count
            price = max(1, place // 1000 + (0 if sells else spread)) * tick
            limit = bits[(noise >> 11) % len(bits)]
            for _ in range(size):
                quantity = ((draw(limit) * size_factor >> 10) + 1) * step
                fills.append(Fill(trade_id, trade_id, aggregate_id, price, quantity, time, sells))
                trade_id += 1
            aggregate_id += 1
        return fills

    def _first_fill(self, symbol: str, place: int) -> int:
        """Return the day's place of an aggregate's first fill, for evenly spread fills; exact at block edges."""
        aggregates = self._aggregates[symbol]
        return place + (self._fills[symbol] - aggregates) * place // aggregates

    def _places(self, symbol: str, day: int, block: int) -> tuple[int, int]:
        """Return the places in their day of the first aggregate of a block and of the next block."""
        plan = self._day_plan(symbol, day)
        per_minute = self._per_minute[symbol]
        minute, part = divmod(block, per_minute)
        first, count = plan[minute], plan[minute + 1] - plan[minute]
        return first + count * part // per_minute, first + count * (part + 1) // per_minute

    def _block_of_place(self, symbol: str, number: int, place: int) -> int:
        """Return the index of the block that holds an aggregate, by days since listing and place in its day."""
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

    def _weights(self, symbol: str, day: int) -> list[int]:
        """Return how busy each minute of a day is."""
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
        return weights

    def _plan_day(self, symbol: str, day: int) -> "array[int]":
        """Return the place of the first aggregate of each minute of a day, and the total at the end."""
        weights = self._weights(symbol, day)
        total = sum(weights)
        aggregates = self._aggregates[symbol]
        return array("q", (aggregates * running // total for running in accumulate(weights, initial=0)))

    def _lay_path(self, symbol: str, day: int) -> _Path:
        """Compute the prices of a day, from its midnight to the next."""
        random = Random(self._draw(symbol, "path", day))  # noqa: S311
        weights = self._weights(symbol, day)
        usual = self._characters[symbol].swing * 100
        mean = sum(weights) // len(weights) + 1
        draw = random.getrandbits
        mood, trend, kick = draw(3), 0, 1000
        swings, sizes, changes = array("i"), array("i"), []
        for minute, weight in enumerate(weights):
            noise = draw(40)
            if noise & 0x7 == 0:  # each scale keeps its mood for 16 minutes, for two hours, for eight, about
                mood = mood & 0b110 | noise >> 3 & 1
            if noise & 0x3F0 == 0:
                mood = mood & 0b101 | noise >> 9 & 2
            if noise & 0xFF000 == 0:
                mood = mood & 0b011 | noise >> 18 & 4
            if noise >> 21 & 31 == 0:
                trend = (noise >> 26 & 7) * 60 - 210
            # A burst is a crowd of small trades; after it come fewer and larger ones for a while.
            crowd = isqrt(1_000_000 * weight // mean)
            kick = max(1000 + (kick - 1000) * 7 // 10, crowd)
            climate = _MOODS[mood] * _HOURS[minute // 60] // 1000
            swing = usual * climate // 1000 * (kick if weight else 500) // 1000
            swings.append(swing)
            sizes.append(
                min((climate * kick // max(crowd, 700) << 10) // isqrt(1000 * max(crowd, 1000)), _SIZE_MAX)
            )
            changes.append(swing * (_NORMAL[noise >> 32] + trend) >> 10)
        begin, end = self._price_at_midnight(symbol, day), self._price_at_midnight(symbol, day + 1)
        # The error at the day's end is spread over the minutes in proportion to their swing.
        bend, whole = end - begin - sum(changes), sum(swings)
        bends = (bend * part // whole for part in accumulate(swings, initial=0))
        walk = accumulate(changes, initial=begin)
        return _Path(array("i", map(add, walk, bends)), swings, sizes)

    def _price_at_midnight(self, symbol: str, day: int) -> int:
        price = _ONE
        for octave, (period, reach) in enumerate(_DRIFT):
            left, rest = divmod(day, period)
            low, high = (self._draw(symbol, f"drift{octave}", left + side) % 2001 - 1000 for side in (0, 1))
            price += (low * (period - rest) + high * rest) * reach // period // 10
        return price

    def _price(self, symbol: str, time: int) -> int:
        """Return the price at an instant, in hundred-millionths of the usual one."""
        day, rest = divmod(time, DAY)
        minute, rest = divmod(rest, MINUTE)
        path = self._day_path(symbol, day)
        price = path.prices[minute]
        if rest:  # between two minutes: halve by halve, as a walk would go
            price += (path.prices[minute + 1] - price) * rest // MINUTE
            swing = path.swings[minute]
            for level in range(_EDGE_LEVELS):
                part, within = divmod(rest << level, MINUTE)
                draw = self._draw(symbol, f"edge{level}", (time // MINUTE << level) + part)
                height = min(within, MINUTE - within) * 2  # a tent over that part of the minute
                price += _NORMAL[draw & 255] * swing // (1024 * isqrt(4 << level)) * height // MINUTE
        return price

    def _draw(self, symbol: str, purpose: str, place: int) -> int:
        return _draw(f"{self._seed}/{symbol}/{purpose}/{place}")


def _draw(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())


def _divisor_of_minute(parts: int) -> int:
    """Return the number of equal blocks in a minute: about ``parts``, at most 1,000, of whole microseconds."""
    return max(divisor for divisor in range(1, 1001) if MINUTE % divisor == 0 and divisor <= max(parts, 1))


def _deal(random: Random, count: int, extra: int) -> list[int]:
    """Draw the number of fills of each of ``count`` aggregates: one, plus ``extra`` ones dealt in handfuls."""
    sizes = [1] * count
    while extra > 0:
        handful = min(extra, 1 + random.getrandbits(3))
        sizes[int(random.random() * count)] += handful
        extra -= handful
    return sizes


def _instants(random: Random, count: int, start: int, length: int, *, starts_minute: bool) -> list[int]:
    """Draw the times of ``count`` aggregates of a block, in order: some equal, some close, some on its edge."""
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
    """Make up trading characteristics for an unknown symbol."""
    draw = _draw(f"{seed}/{symbol}/character")
    decimals = 2 + draw % 5
    quote = next((quote for quote in ("USDT", "USDC", "BTC", "ETH", "BUSD") if symbol.endswith(quote)), "USDT")
    base, dash, after = symbol.partition("-")
    if not dash:
        base, after = symbol.removesuffix(quote) or symbol, quote
    rules = SymbolRules(symbol, base, after, 10 ** (8 - decimals), 10 ** (2 + decimals))
    aggregates = 2_000 + draw % 9_000
    return _Character(
        rules, 5_000 + draw % 500_000, aggregates, aggregates * 13 // 10, 10, (5, 8, 11, 14), 1, 300 + draw % 700
    )
