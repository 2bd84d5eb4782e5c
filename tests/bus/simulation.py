"""A cluster in one thread and in its own time: ingesters, a log, edges and a subscriber, with faults by a seed.

The plain rules of ``candled.bus`` are the real ones; the network, the log and the market are made up. A minute of
the market takes a second. Faults: trades that an ingester misses and repairs later, appends that do not arrive,
acknowledgements that are lost or late, updates that are lost, processes that pause, are cut off, or restart.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from msgspec.structs import replace

from candled.bus.appends import Append, Appends
from candled.bus.hedge import Hedge, extent_of
from candled.bus.order import EdgeOrder
from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent, BarEventKind
from candled.domain.interval import MINUTE

SYMBOL: Final = "BTCUSDT"
BEGIN: Final = 30_000_000 * MINUTE
MINUTES: Final = 10
TICK: Final = 0.02
HEDGE: Final = 0.05
HOLD: Final = 0.25
END: Final = MINUTES + 8.0
"""Seconds: after the last minute everything heals and has time to settle."""
CALM: Final = MINUTES + 1.0
"""When the last fault ends."""


def bar_of(minute: int, known: int, total: int, *, closed: bool, proven: bool = True) -> Bar:
    """A bar of ``minute`` that knows ``known`` of its trades; its values follow from them."""
    start = BEGIN + minute * MINUTE
    return Bar(
        SYMBOL, "1m", start, start + MINUTE, 100, 100 + known, 100, 100, known * 7, known * 70, known, known,
        known, 1, known, 0, closed=closed, complete=closed and known == total and proven,
    )  # fmt: skip


@attrs.define(eq=False)
class World:
    """Time, chance, and what happens next."""

    rng: random.Random
    now: float = 0.0
    _next: list[tuple[float, int, Callable[[], None]]] = attrs.Factory(list)
    _count: int = 0

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Let something happen later."""
        self._count += 1
        heapq.heappush(self._next, (self.now + seconds, self._count, do))

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        while self._next and self._next[0][0] <= until:
            self.now, _, do = heapq.heappop(self._next)
            do()
        self.now = until

    def chance(self, probability: float) -> bool:
        """Whether a fault happens; none do once it is calm."""
        return self.now < CALM and self.rng.random() < probability

    def latency(self) -> float:
        """Seconds that a message takes."""
        return self.rng.uniform(0.001, 0.03)


@attrs.define(eq=False)
class Process:
    """What may pause, be cut off, or die. A life ends with a restart: what was meant for it is gone."""

    world: World
    life: int = 0
    paused: bool = False
    cut_off: bool = False
    _waiting: list[Callable[[], None]] = attrs.Factory(list)

    def deliver(self, do: Callable[[], None]) -> None:
        """Let this process do something now, or when it runs again."""
        if self.paused:
            self._waiting.append(do)
        else:
            do()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Let this process do something later, unless it restarts before."""
        life = self.life

        def if_alive() -> None:
            if life == self.life:
                self.deliver(do)

        self.world.after(seconds, if_alive)

    def go_on(self) -> None:
        """End a pause: everything that waited happens at once."""
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for do in waiting:
            do()

    def end_life(self) -> None:
        """Forget everything."""
        self.life += 1
        self.paused = False
        self._waiting = []


@attrs.define(eq=False)
class Log:
    """The log: entries in order, appended by compare-and-set, or by the naive rule: each revision once."""

    world: World
    is_naive: bool
    entries: list[BarEvent] = attrs.Factory(list)
    seen: set[tuple[int, int]] = attrs.Factory(set)

    def append(self, event: BarEvent, expected: int) -> int:
        """Store an entry; its sequence, or 0 if it is refused."""
        if self.is_naive:
            name = (event.bar.open_time, event.bar.revision)
            if name in self.seen:
                return len(self.entries)
            self.seen.add(name)
        elif expected != len(self.entries):
            return 0
        sequence = len(self.entries) + 1
        self.entries.append(BarEvent(event.kind, event.bar, event.exchange_time, sequence))
        return sequence


class NaiveAppends(Appends):
    """The planted fault: revisions are numbered by the ingester, and the log drops the ones it has."""

    def __init__(self) -> None:
        super().__init__()
        self._revisions: dict[int, int] = defaultdict(lambda: -1)
        self._queue: list[BarEvent] = []

    def offer(self, events: list[BarEvent], now: float) -> None:  # type: ignore[override]
        for event in events:
            self._revisions[event.bar.open_time] += 1
            bar = replace(event.bar, revision=self._revisions[event.bar.open_time])
            self._queue.append(BarEvent(event.kind, bar, 0))

    def take_due(self, now: float) -> list[Append]:
        queue, self._queue = self._queue, []
        return [Append(event, 0, 0) for event in queue]


class Ingester(Process):
    """Reads the market with losses, repairs them, and puts bars on the bus."""

    def __init__(self, cluster: "Cluster", rank: int) -> None:
        super().__init__(cluster.world)
        self.cluster = cluster
        self.rank = rank
        self.begin(0)

    def begin(self, minute: int) -> None:
        """Start with what the log has."""
        self.appends = NaiveAppends() if self.cluster.log.is_naive else Appends(self.rank * HEDGE)
        self.hedge = Hedge(self.rank * HEDGE)
        self.known: dict[int, int] = {}
        self.read = 0
        self.catch_up()
        logged = {event.bar.open_time: event.bar for event in self.cluster.log.entries}
        for earlier in range(minute):  # what the log lacks or has unproven is fetched again
            bar = logged.get(BEGIN + earlier * MINUTE)
            if bar is None or not bar.complete:
                self.later(self.world.rng.uniform(0.1, 2.0), lambda minute=earlier: self.repair(minute))  # type: ignore[misc]
        self.tick()

    def catch_up(self) -> None:
        for event in self.cluster.log.entries[self.read :]:
            self.read += 1
            self.appends.read(self.read, event.bar)

    def tick(self) -> None:
        if not self.cut_off:
            if self.world.rng.random() < 0.7:
                self.catch_up()
            for event in self.hedge.take_due(self.world.now):
                self.cluster.publish(self, event)
            self.send()
        self.later(TICK, self.tick)

    def trade(self, minute: int, number: int) -> None:
        """The market traded for the ``number``-th time in a minute."""
        if self.world.chance(self.cluster.loss):
            return
        self.known[minute] = self.known.get(minute, 0) + 1
        event = BarEvent(UPDATE, bar_of(minute, self.known[minute], self.cluster.totals[minute], closed=False), 0)
        for due in self.hedge.offer(event, self.world.now):
            self.cluster.publish(self, due)

    def close(self, minute: int) -> None:
        total = self.cluster.totals[minute]
        known = self.known.get(minute, 0)
        is_proven = not self.world.chance(0.3)  # it may have all and not know it yet
        self.offer(bar_of(minute, known, total, closed=True, proven=is_proven))
        if known < total or not is_proven:
            self.later(self.world.rng.uniform(0.1, 3.0), lambda: self.repair(minute))

    def repair(self, minute: int) -> None:
        total = self.cluster.totals[minute]
        known = self.known.get(minute, 0)
        if known < total and self.world.chance(0.5):  # a part of it first
            self.known[minute] = self.world.rng.randint(known, total)
            self.later(self.world.rng.uniform(0.1, 2.0), lambda: self.repair(minute))
        else:
            self.known[minute] = total
        self.offer(bar_of(minute, self.known[minute], total, closed=True))

    def offer(self, bar: Bar) -> None:
        self.appends.offer([BarEvent(BarEventKind.CLOSE, bar, 0)], self.world.now)
        self.send()

    def send(self) -> None:
        if self.cut_off:
            return
        for append in self.appends.take_due(self.world.now):
            if self.world.chance(0.05):
                continue  # it never arrives, and nobody says so
            self.world.after(self.world.latency(), lambda append=append: self.arrive(append))  # type: ignore[misc]

    def arrive(self, append: Append) -> None:
        """An append reaches the log, whether or not its sender is alive to hear the answer."""
        sequence = self.cluster.log.append(append.event, append.expected)
        if self.cut_off or self.world.chance(0.1):
            return  # the answer is lost
        delay = self.world.rng.uniform(2.0, 4.0) if self.world.chance(0.05) else self.world.latency()
        self.later(delay, lambda: self.answer(append, sequence))

    def answer(self, append: Append, sequence: int) -> None:
        if self.cluster.log.is_naive:
            return
        if sequence:
            self.appends.stored(append, sequence)
        else:
            self.appends.refused(append, self.world.now)
        self.send()


class Edge(Process):
    """Reads log and updates, and shows what passes to the judge."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        super().__init__(cluster.world)
        self.cluster = cluster
        self.number = number
        self.begin()

    def begin(self) -> None:
        """Start with what the log has."""
        self.order = EdgeOrder(HOLD)
        entries = self.cluster.log.entries
        closed = max((event.bar.close_time for event in entries), default=None)
        self.order.start_at(len(entries), {} if closed is None else {SYMBOL: closed})
        self.entries = list(entries)
        self.forming = (0, -1)
        self.first_heard: dict[int, float] = {}
        self.closed_revisions = {event.bar.open_time: event.bar.revision for event in entries}
        self.tick()

    def tick(self) -> None:
        if not self.cut_off and self.world.rng.random() < 0.7:
            for event in self.cluster.log.entries[len(self.entries) :]:
                self.entries.append(event)
                self.show(self.order.close(event))
                if self.world.chance(0.05):
                    self.show(self.order.close(event))  # delivered again
        self.show(self.order.take_overdue(self.world.now))
        self.later(TICK, self.tick)

    def receive(self, event: BarEvent) -> None:
        self.first_heard.setdefault(event.bar.open_time, self.world.now)
        self.show(self.order.update(event, self.world.now))

    def show(self, events: Sequence[BarEvent]) -> None:
        for event in events:
            self.judge(event)

    def judge(self, event: BarEvent) -> None:
        """What a subscriber of this edge must never see."""
        fault = self.cluster.faults.append
        bar, where = event.bar, f"edge {self.number} at {self.world.now:.2f}"
        if event.kind is UPDATE:
            if extent_of(bar) <= self.forming:
                fault(f"{where}: the forming bar went back")
            if bar.open_time in self.closed_revisions:
                fault(f"{where}: an update of a closed bar")
            is_early = self.forming[0] == bar.open_time - MINUTE not in self.closed_revisions
            if is_early and self.world.now - self.first_heard[bar.open_time] < HOLD:
                fault(f"{where}: an update before the close of the bar before")
            self.forming = extent_of(bar)
            return
        known = self.closed_revisions.get(bar.open_time)
        if known is not None and bar.revision <= known:
            fault(f"{where}: revision {bar.revision} after {known}")
        if event.kind is BarEventKind.CLOSE and bar.open_time <= max(self.closed_revisions, default=0):
            fault(f"{where}: a close of an earlier bar")
        self.closed_revisions[bar.open_time] = bar.revision


@attrs.define(eq=False)
class Subscriber:
    """Follows one edge, and resumes at the next one with its last token when that one dies."""

    cluster: "Cluster"
    edge: int = 0
    life: int = 0
    token: int = 0
    seen: dict[int, Bar] = attrs.Factory(dict)

    def look(self) -> None:
        edges = self.cluster.edges
        if edges[self.edge].life != self.life or edges[self.edge].paused:
            self.edge = (self.edge + 1) % len(edges)
        edge = edges[self.edge]
        self.life = edge.life
        for event in edge.entries[self.token :]:  # none while the edge lags behind the token
            known = self.seen.get(event.bar.open_time)
            if known is not None and event.bar.revision <= known.revision:
                self.cluster.faults.append(f"the subscriber got revision {event.bar.revision} again")
            self.seen[event.bar.open_time] = event.bar
            self.token = event.position
        self.cluster.world.after(0.05, self.look)


class Cluster:
    """Everything together, one run."""

    def __init__(self, seed: int, *, is_naive: bool = False) -> None:
        rng = random.Random(seed)
        self.world = World(rng)
        self.faults: list[str] = []
        self.loss = rng.choice((0.0, 0.1, 0.3))
        self.totals = {minute: rng.randint(1, 8) for minute in range(MINUTES)}
        self.log = Log(self.world, is_naive)
        self.ingesters = [Ingester(self, rank) for rank in range(rng.choice((2, 3)))]
        if rng.random() < 0.2:
            self.ingesters[1].rank = 0  # by mistake
        self.edges = [Edge(self, number) for number in range(2)]
        self.subscriber = Subscriber(self)

    def run(self) -> list[str]:
        """Run to the end; what was wrong, in sentences."""
        for minute, total in self.totals.items():
            for number in range(total):
                self.world.after(minute + self.world.rng.random() * 0.95, self._trade(minute, number))
            self.world.after(minute + 1.0, self._close(minute))
        for process in (*self.ingesters, *self.edges):
            self._plan_fault(process)
        self.subscriber.look()
        self.world.run(END)
        self._judge_end()
        return self.faults

    def publish(self, ingester: Ingester, event: BarEvent) -> None:
        """An update goes to every edge and to the ingesters of higher rank; each may miss it."""
        if ingester.cut_off:
            return
        for edge in self.edges:
            if not edge.cut_off and not self.world.chance(0.05):
                edge.later(self.world.latency(), lambda edge=edge: edge.receive(event))  # type: ignore[misc]
        for other in self.ingesters:
            if other.rank > ingester.rank and not other.cut_off:
                other.later(self.world.latency(), lambda other=other: other.hedge.observe(event.bar))  # type: ignore[misc]

    def _trade(self, minute: int, number: int) -> Callable[[], None]:
        def trade() -> None:
            for ingester in self.ingesters:
                ingester.later(self.world.latency(), lambda ingester=ingester: ingester.trade(minute, number))  # type: ignore[misc]

        return trade

    def _close(self, minute: int) -> Callable[[], None]:
        def close() -> None:
            for ingester in self.ingesters:
                delay = self.world.rng.uniform(0.05, 0.15)
                ingester.later(delay, lambda ingester=ingester: ingester.close(minute))  # type: ignore[misc]

        return close

    def _plan_fault(self, process: Process) -> None:
        self.world.after(self.world.rng.uniform(0.5, 8.0), lambda: self._fault(process))

    def _fault(self, process: Process) -> None:
        if self.world.now > CALM - 2.0:
            return
        seconds = self.world.rng.uniform(0.1, 2.0)
        match self.world.rng.choice(("pause", "cut", "restart")):
            case "pause":
                process.paused = True
                self.world.after(seconds, process.go_on)
            case "cut":
                process.cut_off = True
                self.world.after(seconds, lambda: setattr(process, "cut_off", False))
            case _:
                process.end_life()
                self.world.after(seconds, lambda: self._begin(process))
        self._plan_fault(process)

    def _begin(self, process: Process) -> None:
        process.end_life()
        if isinstance(process, Ingester):
            process.begin(min(int(self.world.now), MINUTES))
        elif isinstance(process, Edge):
            process.begin()

    def _judge_end(self) -> None:
        """Every minute is in the log, proven, once as such; every edge and the subscriber have its newest bar."""
        final: dict[int, Bar] = {}
        for event in self.log.entries:
            known = final.get(event.bar.open_time)
            if known is not None and replace(event.bar, revision=known.revision) == known:
                self.faults.append(f"minute {event.bar.open_time} twice in the log")
            final[event.bar.open_time] = event.bar
        for minute, total in self.totals.items():
            bar = final.get(BEGIN + minute * MINUTE)
            if bar is None:
                self.faults.append(f"minute {minute} is missing")
            elif not bar.complete or bar.trade_count != total:
                self.faults.append(f"minute {minute} ends with {bar.trade_count} of {total} trades")
        for edge in self.edges:
            if {event.bar.open_time: event.bar for event in edge.entries} != final:
                self.faults.append(f"edge {edge.number} differs from the log")
        if self.subscriber.seen != final:
            self.faults.append("the subscriber differs from the log")
