"""Clocks that lie by seed, against ``ExchangeTime``: an oracle knows the true time.

usage: python -m tests.engine.lying_clocks SEEDS [FIRST]

Enough sources are always honest to decide: the exchange's clock, while all symbols may lie alike; or most of the
symbols, while the exchange's clock or a minority of them lies, or where there is no such clock.
"""

import random
import sys
from collections.abc import Callable
from typing import Final

import attrs

from candled.engine.exchange_time import ExchangeTime

SECOND: Final = 1_000_000
START: Final = 1_800_000_000 * SECOND
HEAL_SECONDS: Final = 150.0
"""Local seconds after the last lie in which everything must be well again."""
STEP_SECONDS: Final = 100.0
"""Local seconds that a step back of the exchange's own clock may stay unnoticed."""
LATE: Final = 3 * SECOND
"""By which the time may be behind the truth when nobody lies, at real speed."""

Lie = Callable[[int, float], int]
"""From the true time and the local time to what is said."""


@attrs.define
class Liar:
    """A source and what it says now."""

    name: str
    period: float
    latency: float
    lie: Lie | None = None
    next: float = 0.0

    def say(self, true: int, local: float) -> int:
        return true if self.lie is None else self.lie(true, local)


@attrs.define
class Outcome:
    """What came of one seed."""

    seed: int
    setting: str
    wrong: list[str] = attrs.Factory(list)
    early_max: int = 0
    """Most that the time shown was ahead of the truth, microseconds of exchange time."""
    first: float = float("inf")
    """Local seconds until the first agreement."""
    healed: float = float("inf")
    """Local seconds from the end of the lies until all was well."""
    quarantines: int = 0


UNSURE: Final = 0.3
"""Local seconds that the time of an accelerated exchange may be ahead while its clock drifts, or after a lie."""


def tolerance(rate: float) -> int:
    """How far the time shown may be ahead of the truth: one source's slack, and what is unsure at that rate."""
    return int((1.15 + (rate - 1) * UNSURE) * SECOND)


def drawn_lie(rng: random.Random, began: float, rate: float) -> Lie:
    """One of many ways to be wrong.

    At an accelerated exchange, which only the embedded one is, no lie is a matter of speed: the clock is the only
    measure of that speed, and nothing could contradict it.
    """
    size = rng.choice((2.5, 5, 16, 60, 1800, 3300, 86_400, 3.2e7, 3e10)) * rng.choice((-1, 1))
    offset = int(size * SECOND * max(1.0, rate / 4))
    frozen: list[int] = []
    drift = rng.choice((-0.9, -0.1, 0.05, 0.3, 2.0, 40.0))

    def freeze(true: int, _local: float) -> int:
        if not frozen:
            frozen.append(true)
        return frozen[0]

    if rate > 1:
        drift = 0.0
    return rng.choice(
        (
            lambda true, _local: true + offset,
            lambda true, local: true + int((local - began) * drift * rate * SECOND),
            freeze,
            lambda true, local: true + (offset if int(local / 3) % 2 else 0),
            lambda true, _local: true + rng.randint(-abs(offset), abs(offset)),
            lambda _true, _local: rng.choice((0, -1, 10**18, 32_503_680_000 * SECOND, 1)),
            lambda true, _local: true + (offset if rng.random() < 0.05 else 0),
        )
    )


class World:
    """The true clock, the sources, and what the daemon sees."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(f"{seed}/lying clocks")
        self.rate = rng.choice((1.0, 1.0, 1.0, 10.0, 60.0, 120.0))
        count = rng.choice((1, 2, 3, 3, 3, 6))
        self.has_clock = rng.random() < 0.75 or count == 1 or self.rate > 1
        # An accelerated exchange is one on the same machine.
        latencies = (0.001, 0.02, 0.1) if self.rate == 1 else (0.0005, 0.005, 0.02)
        self.symbols = [
            Liar(f"S{number}", rng.choice((0.02, 0.1, 0.3, 1.0, 2.0)), rng.choice(latencies))
            for number in range(count)
        ]
        self.server = Liar("server", 30.0, rng.choice(latencies))
        self.time = ExchangeTime()
        self.offset = START
        self.stepped = (float("-inf"), START)
        """When the clock was last set back, and its offset before."""
        self.asked_often, self.pause = 4, 0.3
        self.outcome = Outcome(
            seed, f"rate {self.rate:g}, {count} symbols, {'with' if self.has_clock else 'no'} clock"
        )

    def true(self, local: float) -> int:
        return self.offset + int(local * self.rate * SECOND)

    def latest(self, local: float) -> int:
        """The latest time that may be shown."""
        when, before = self.stepped
        offset = max(self.offset, before) if local < when + STEP_SECONDS else self.offset
        return offset + int(local * self.rate * SECOND)

    # -- the lies -----------------------------------------------------------------------------------------------

    def lie_a_while(self, local: float) -> None:
        """Sources that lie now: few enough that the honest ones can be distinguished."""
        rng, symbols = self.rng, self.symbols
        for source in (*symbols, self.server):
            source.lie = None
        kind = rng.choice(("symbols", "clock", "alike", "none"))
        if kind == "clock" and self.has_clock:
            self.server.lie = drawn_lie(rng, local, self.rate)
        elif kind == "alike" and self.has_clock and self.time.known and self.time.is_trusted("server clock"):
            same = drawn_lie(rng, local, self.rate)
            for source in symbols:
                source.lie = same
        elif kind == "symbols" and len(symbols) > 2:
            for source in rng.sample(symbols, rng.randint(1, (len(symbols) - 1) // 2)):
                source.lie = drawn_lie(rng, local, self.rate)
        elif local < self.stepped[0] + STEP_SECONDS:
            return  # a step back is not found out while somebody else lies
        elif kind == "symbols" and self.has_clock and self.time.known and self.time.is_trusted("server clock"):
            rng.choice(symbols).lie = drawn_lie(rng, local, self.rate)

    def end_lies(self) -> None:
        for source in (*self.symbols, self.server):
            source.lie = None

    def step(self, local: float) -> None:
        """The machine slept, or the clock was set; an accelerated one, which is no real one, is never set back."""
        sizes = (2, 4, 90, 3600, 40_000)
        size = self.rng.choice((-4, -2, *sizes) if self.rate == 1 else sizes)
        if size < 0:
            self.stepped = (local, max(self.offset, self.stepped[1]))
        self.offset += int(size * self.rate * SECOND) if size > 0 else size * SECOND

    # -- what happens -------------------------------------------------------------------------------------------

    def speak(self, local: float) -> None:
        """Let everyone speak who is due."""
        for source in self.symbols:
            if local >= source.next:
                source.next = local + source.period * self.rng.uniform(0.5, 1.5)
                sent = local - source.latency * self.rng.uniform(0.5, 1.5)
                stamp = source.say(self.true(sent), local)
                self.time.observe({source.name: stamp // 1000 * 1000}, local)
        if not self.has_clock:
            if local >= self.server.next:
                self.server.next = local + 5.0
                self.time.clock_unavailable()
        elif local >= self.server.next or (self.time.wants_clock(local) and self.asked_often <= 0):
            self.pause = min(self.server.period, self.pause * (1.0 if self.asked_often > 0 else 2.0))
            self.asked_often -= 1
            self.server.next = local + self.pause
            asked = local - self.server.latency * self.rng.uniform(0.5, 1.5)
            read = self.true(local - (local - asked) * self.rng.random())
            self.time.synchronise(self.server.say(read, local) // 1000 * 1000, asked, local)

    def look(self, local: float) -> None:
        """Judge the time that is shown."""
        shown = self.time.now(local)
        if not self.time.known:
            return
        self.outcome.first = min(self.outcome.first, local)
        early = shown - self.latest(local)
        self.outcome.early_max = max(self.outcome.early_max, early)
        if early > tolerance(self.rate):
            self.outcome.wrong.append(f"{early / SECOND:.2f} s early at {local:.1f}")

    def is_well(self, local: float) -> bool:
        late = self.true(local) - self.time.now(local)
        return self.time.known and late <= LATE * max(1.0, self.rate / 2) and not self.time.quarantined()


def simulate(seed: int, *, lying_seconds: float = 400.0) -> Outcome:
    """Live through lies, then through the truth, and judge."""
    world = World(seed)
    rng = world.rng
    local, next_lie, next_step = 0.0, rng.choice((0.0, 3.0, 20.0)), rng.expovariate(1 / 200)
    while local < lying_seconds:
        if local >= next_lie:
            next_lie = local + rng.expovariate(1 / rng.choice((2, 20, 100)))
            world.lie_a_while(local)
        if local >= next_step and all(source.lie is None for source in (*world.symbols, world.server)):
            next_step = local + rng.expovariate(1 / 200)
            world.step(local)
        world.speak(local)
        world.look(local)
        local += rng.choice((0.01, 0.05, 0.2))
        if world.outcome.wrong:
            return world.outcome
    world.end_lies()
    end = local
    while local < end + HEAL_SECONDS + 60 and not world.outcome.wrong:
        world.speak(local)
        world.look(local)
        if world.is_well(local):
            world.outcome.healed = min(world.outcome.healed, local - end)
        elif world.outcome.healed < float("inf") and local > end + HEAL_SECONDS:
            world.outcome.wrong.append(f"ill again {local - end:.0f} s after the last lie")
            break
        local += 0.1
    world.outcome.quarantines = world.time.disagreements.total()
    if world.outcome.healed > HEAL_SECONDS:
        late = (world.true(local) - world.time.now(local)) / SECOND
        world.outcome.wrong.append(
            f"not healed: known {world.time.known}, late {late:.1f} s, {world.time.quarantined()}, "
            f"{world.time.why_unknown()}"
        )
    return world.outcome


def main() -> int:
    """Run seeds and say what came of them; 1 if any was wrong."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    outcomes = [simulate(seed) for seed in range(first, first + count)]
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in wrong:
        print(f"seed {outcome.seed} ({outcome.setting}): {outcome.wrong[0]}")
    healed = sorted(outcome.healed for outcome in outcomes)
    begun = sorted(outcome.first for outcome in outcomes)
    print(
        f"{count} seeds, {len(wrong)} wrong, {sum(o.quarantines for o in outcomes)} quarantines; "
        f"first agreement median {begun[count // 2]:.2f} s, healed median {healed[count // 2]:.1f} s, "
        f"most {healed[-1]:.1f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
