"""Faults of a real cluster, by seed: what is done to which member, and how silent its subscribers are meanwhile.

Used by the slow tests, which cause a few faults, and by ``benchmarks.cluster_kills``, which causes hundreds.
"""

import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from tests.bus.ledger import compare, newest
from tests.bus.real_cluster import PATIENCE, SYMBOLS, Member, RealCluster
from tests.bus.subscriber import AsyncioSubscriber, Subscriber

KINDS: Final[Mapping[str, Sequence[str]]] = {
    "nats": ("kill", "kill", "kill", "kill", "term", "stop"),
    "ingest": ("kill", "kill", "kill", "kill", "term", "stop", "cut"),
    "edge": ("kill", "kill", "kill", "kill", "term", "stop", "cut"),
}
"""Faults of each kind of member, likely ones several times: SIGKILL, SIGTERM, SIGSTOP with SIGCONT, no network."""
NOTHING: Final = "no fault"
QUIET_EVERY: Final = 10
"""Faults after which one time passes without: what the machine itself does to the silence."""
SETTLE_MINUTES: Final = 2
"""Minutes of the market after the last fault that must be complete, too."""
STOPPED_SECONDS: Final = (0.5, 3.0)
DEAD_SECONDS: Final = (0.2, 1.0)
AFTER_SECONDS: Final = (1.0, 2.0)
_TICK: Final = 0.01


@attrs.frozen
class Fault:
    """One fault, and what was seen of it."""

    member: str
    kind: str
    silence: float
    """Seconds of the longest silence of a subscriber, from the fault until all was as before."""
    stall: float
    """Seconds that this process itself did not get on: the machine's part in the silence."""

    @property
    def label(self) -> str:
        """What was done to what."""
        return self.kind if self.kind == NOTHING else f"{self.kind} {self.member.partition('-')[0]}"

    def __str__(self) -> str:
        silence, stall = self.silence * 1000, self.stall * 1000
        return f"{self.kind} {self.member}: silence {silence:.0f} ms, this process stalled {stall:.0f} ms"


@attrs.define
class Stalls:
    """When this process did not get on: the times at which it woke too late."""

    _late: list[tuple[float, float]] = attrs.Factory(list)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before = time.monotonic()
            await trio.sleep(_TICK)
            now = time.monotonic()
            if now - before > 2 * _TICK:
                self._late.append((now, now - before))

    def longest(self, start: float, end: float) -> float:
        """Seconds of the longest one that ended between two times."""
        return max((late for at, late in self._late if start <= at <= end), default=0.0)


async def cause(cluster: RealCluster, name: str, kind: str, rng: random.Random) -> list[str]:
    """Cause one fault and undo it; return what was wrong with how the member ended."""
    member = cluster.members[name]
    if kind == NOTHING:
        await trio.sleep(rng.uniform(*STOPPED_SECONDS))
    elif kind == "cut":
        relays = rng.choice(cluster.links[name])
        for relay in relays:
            relay.cut()
        await trio.sleep(rng.uniform(*STOPPED_SECONDS))
        for relay in relays:
            relay.heal()
    elif kind == "stop":
        member.send(signal.SIGSTOP)
        await trio.sleep(rng.uniform(*STOPPED_SECONDS))
        member.send(signal.SIGCONT)
    else:
        wrong = await terminate(member) if kind == "term" else []
        member.kill()
        await trio.sleep(rng.uniform(*DEAD_SECONDS))
        member.start()
        await member.ready()
        return wrong
    return []


async def terminate(member: Member) -> list[str]:
    """Ask a member to end; return what was wrong with how it did."""
    process = member.process
    assert process is not None
    member.send(signal.SIGTERM)
    try:
        status = await trio.to_thread.run_sync(process.wait, PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"{member.name} did not end within {PATIENCE:.0f} s of SIGTERM"]
    if status and not member.name.startswith("nats"):
        return [f"{member.name} ended with status {status} after SIGTERM"]
    return []


def plan_faults(names: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    """Members and faults by a seed: every member in turn, in an order that changes; now and then no fault."""
    rng = random.Random(f"{seed}/plan")
    plan: list[tuple[str, str]] = []
    order: list[str] = []
    for number in range(count):
        order = order or rng.sample(names, len(names))
        name = order.pop()
        plan.append((name, rng.choice(KINDS[name.partition("-")[0]])))
        if number % QUIET_EVERY == QUIET_EVERY - 1:
            plan.append((name, NOTHING))
    return plan


@attrs.define(eq=False)
class Trial:
    """Subscribers of a cluster while faults are caused, and all that was seen."""

    cluster: RealCluster
    subscribers: Sequence[Subscriber]
    stalls: Stalls = attrs.Factory(Stalls)
    faults: list[Fault] = attrs.Factory(list)
    wrong: list[str] = attrs.Factory(list)
    """Whatever must not be."""
    until: dict[str, float] = attrs.Factory(dict)
    """Open time of each symbol's last bar that is compared, in seconds."""
    bars: int = 0
    """Compared with the exchange's ledger, of all subscribers together."""

    async def run(self, plan: Sequence[tuple[str, str]], seed: int, note: Callable[[Fault], None]) -> None:
        """Cause faults one after the other, wait until all is well again, and compare."""
        rng = random.Random(f"{seed}/times")
        for name, kind in plan:
            begin = time.monotonic()
            self.wrong += await cause(self.cluster, name, kind, rng)
            await trio.sleep(rng.uniform(*AFTER_SECONDS))
            end = time.monotonic()
            silence = max(subscriber.longest_silence(begin, end) for subscriber in self.subscribers)
            self.faults.append(Fault(name, kind, silence, self.stalls.longest(begin, end)))
            note(self.faults[-1])
        await self.settle()

    def judge(self) -> None:
        """Compare what the subscribers have with the ledger and with each other, once they have ended."""
        for number, subscriber in enumerate(self.subscribers):
            count, faults = compare(self.cluster, subscriber, self.until)
            self.bars += count
            self.wrong += [f"subscriber {number}: {fault}" for fault in (*subscriber.faults, *faults)]
        first, *others = self.subscribers
        for number, other in enumerate(others, 1):
            for key in first.revisions.keys() & other.revisions.keys():
                (bar, token), (bar_there, token_there) = first.revisions[key], other.revisions[key]
                if bar != bar_there:
                    self.wrong.append(f"subscribers 0 and {number}: {key} is {bar} and {bar_there}")
                elif token and token_there and token != token_there:
                    self.wrong.append(f"subscribers 0 and {number}: {key} has tokens {token} and {token_there}")

    @property
    def messages(self) -> int:
        """Received by all subscribers."""
        return sum(len(subscriber.times) for subscriber in self.subscribers)

    async def settle(self) -> None:
        """Wait until some more minutes closed and nothing is missing, unproven or wrong any more."""
        first = self.subscribers[0]
        self.until = {symbol: newest(first, symbol) + SETTLE_MINUTES * 60 for symbol in SYMBOLS}
        with trio.move_on_after(PATIENCE):
            for subscriber in self.subscribers:
                while (
                    any(newest(subscriber, symbol) < self.until[symbol] for symbol in SYMBOLS)
                    or (await trio.to_thread.run_sync(compare, self.cluster, subscriber, self.until))[1]
                ):
                    await trio.sleep(0.5)


@asynccontextmanager
async def open_trial(cluster: RealCluster) -> AsyncIterator[Trial]:
    """Subscribers at all edges while inside, each with some bars already; judged at the end."""
    edges = cluster.edges
    subscribers = [Subscriber(edges), Subscriber(edges[::-1]), AsyncioSubscriber(edges)]
    trial = Trial(cluster, subscribers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trial.stalls.run)
        for subscriber in subscribers:
            nursery.start_soon(subscriber.run)
        with trio.fail_after(PATIENCE):
            while not all(subscriber.closed for subscriber in subscribers):
                await trio.sleep(0.1)
        yield trial
        nursery.cancel_scope.cancel()
    trial.judge()
