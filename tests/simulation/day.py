"""A day of trading with everything going wrong, in one process, decided by a seed.

The real feed, repair, engine, roll-up and hub run against the real core of the embedded exchange, over in-memory
connections, on a mock clock. Faults, their times and the daemon's restarts are drawn from the seed. When the day
is over the faults end, and every stored bar must equal the exchange's ledger and be complete, or need ids that
the exchange really does not have.
"""

import math
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.pipeline import Pipeline, open_pipeline
from candled.daemon.restore import restore
from candled.domain.event import BarEvent, positions_of
from candled.domain.interval import DAY
from candled.embedded_exchange.clock import ExchangeClock
from candled.embedded_exchange.core import Exchange, Limits
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.embedded_exchange.synthetic import SyntheticMarket
from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.feed.registry import find_adapter
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.hub import Hub
from tests.simulation.adversary import Adversary
from tests.simulation.judge import judge_bars, judge_listener
from tests.simulation.listeners import Wanderer, Witness
from tests.simulation.mishaps import Mishaps, StingyRest
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import Scenario

FIRST_DAY: Final = 20_400 * DAY


async def simulate(scenario: Scenario) -> Outcome:
    """Live through the day and judge it."""
    rng = random.Random(f"{scenario.seed}/day")
    outcome = Outcome()
    exchange = Exchange(
        SyntheticMarket(scenario.seed, scenario.symbols, rate=scenario.rate),
        ExchangeClock(FIRST_DAY + rng.randrange(DAY), trio.current_time, speed=scenario.speed),
        seed=scenario.seed,
        faults=",".join(filter(None, (scenario.market_faults, scenario.lasting_lies))),
        limits=Limits(lifetime_s=scenario.lifetime_s, weight_per_minute=20_000),
        form=scenario.form,
    )
    single_trades = scenario.stream == "trade" and scenario.ways.aggregates_from > scenario.rate * 10**6
    async with open_memory_exchange(exchange, seed=scenario.seed) as network:
        mishaps = Mishaps(
            rng,
            scenario.mean_pause,
            exchange,
            network,
            outcome,
            seconds_between=scenario.seconds_between,
            time_lies=scenario.time_lies,
            named=scenario.named,
        )
        lies = random.Random(f"{scenario.seed}/adversary")
        adversary = Adversary(lies, scenario, exchange, outcome)
        world = _World(
            scenario=scenario,
            rng=rng,
            exchange=exchange,
            network=network,
            mishaps=mishaps,
            adversary=adversary,
            store=MemoryStore(),
            witness=Witness(
                outcome,
                latest=lambda: exchange.clock.now() + mishaps.lie,
                is_fooled=lambda bar: adversary.fools(bar.symbol, bar.open_time, bar),
                single_trades=single_trades,
            ),
            wanderer=Wanderer(outcome, random.Random(f"{scenario.seed}/wanderer")),
            outcome=outcome,
        )
        if scenario.piecemeal:
            mishaps.begin_piecemeal()
        await _live(world)
        mishaps.end_all()
        world.adversary.end_all()
        await _finish(world)
    return outcome


@attrs.frozen(kw_only=True)
class _World:
    scenario: Scenario
    rng: random.Random
    exchange: Exchange
    network: MemoryExchange
    mishaps: Mishaps
    adversary: Adversary
    store: MemoryStore
    witness: Witness
    wanderer: Wanderer
    outcome: Outcome


@attrs.frozen
class _Daemon:
    pipeline: Pipeline
    hub: Hub
    history: "_History"


async def _live(world: _World) -> None:
    """The hours of mishaps, with one daemon after another."""
    scenario, rng = world.scenario, world.rng
    end = trio.current_time() + scenario.hours * 3600 / scenario.speed
    absent = scenario.absence_hours
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.mishaps.run)
        if scenario.lie_pause is not None:
            nursery.start_soon(world.adversary.run)
        while trio.current_time() < end:
            lifetime = (
                rng.expovariate(1 / rng.choice((20, 200, 1200))) if rng.random() < 0.8 else rng.uniform(0, 3)
            )
            death = trio.current_time() + min(lifetime, end - trio.current_time())
            crashes = rng.random() < 0.5
            with trio.CancelScope(deadline=death if crashes else math.inf):
                async with _daemon(world) as daemon, trio.open_nursery() as audience:
                    audience.start_soon(world.wanderer.wander, daemon.hub, daemon.history)
                    audience.cancel_scope.deadline = death
                    await trio.sleep_forever()
            world.outcome.restarts += 1
            if rng.random() < 0.3:
                await trio.sleep(rng.expovariate(1 / 60))
            if absent and rng.random() < 0.5:
                world.mishaps.run_ahead(absent * 3600)
                absent = 0.0
        nursery.cancel_scope.cancel()


async def _finish(world: _World) -> None:
    """All is well: the last daemon gets what is to be had, and everything is judged."""
    scenario, outcome = world.scenario, world.outcome
    async with _daemon(world) as daemon, trio.open_nursery() as audience:
        audience.start_soon(world.wanderer.listen, daemon.hub, daemon.history)
        engine = daemon.pipeline.engine
        with trio.move_on_after(scenario.patience_s) as patience:
            await trio.sleep(30)
            while engine.symbols_to_repair:
                await trio.sleep(5)
        if patience.cancelled_caught:
            for name in sorted(engine.symbols_to_repair):
                symbol = engine.symbols[name]
                lacks = (
                    symbol.continuity.missing,
                    symbol.unsettled(),
                    symbol.wanted_start,
                    symbol.minutes.waits_for_reload,
                )
                outcome.wrong.append(f"{name} still lacks {lacks}")
        await daemon.history.settle()
        judge_bars(world.exchange, world.adversary, world.store, engine, scenario, outcome)
        await judge_listener(world.wanderer, daemon.history, world.adversary, scenario, outcome)
        audience.cancel_scope.cancel()


class _Audience:
    """The witness and the hub, which both get everything."""

    def __init__(self, witness: Witness, hub: Hub) -> None:
        self._witness = witness
        self._hub = hub

    def publish(self, events: Sequence[BarEvent]) -> None:
        self._witness.publish(events)
        self._hub.publish(events)

    def wanted(self, symbol: str) -> Collection[str]:
        return self._hub.wanted(symbol)


class _History(MemoryHistory):
    """A history whose disk may be slow."""

    def __init__(self, world: _World) -> None:
        super().__init__(world.store)
        self._world = world
        self._busy = 0

    async def store(self, events: Sequence[BarEvent]) -> None:
        self._busy += 1
        while self._world.mishaps.disk.is_slow:
            await trio.sleep(0.5)
        await super().store(events)
        self._busy -= 1

    async def settle(self) -> None:
        """Wait until what is on its way is stored."""
        await trio.sleep(2)
        while self._busy:
            await trio.sleep(1)


@asynccontextmanager
async def _daemon(world: _World) -> AsyncIterator[_Daemon]:
    """The daemon but for its ports and its disk. Cancelled from outside, it loses what is not stored."""
    scenario, network = world.scenario, world.network
    adapter = find_adapter(scenario.form)
    settings = DaemonSettings(
        exchange=scenario.form,
        symbols=scenario.symbols,
        stream=scenario.stream,
        stream_urls=("ws://a", "ws://b"),
        rest_urls=("http://a", "http://b"),
        connections=scenario.connections,
    )
    world.store.epoch += 1
    history = _History(world)
    world.witness.begin_life(world.store)
    world.mishaps.begin_life()
    async with (
        adapter.open_rest(settings.rest_urls, adapter.defaults.rest_weight_per_minute, network.backend()) as rest,
        trio.open_nursery() as writer,
    ):
        source = StingyRest(rest, world.mishaps.moods)
        send, receive = trio.open_memory_channel[list[BarEvent]](scenario.closed_batches)
        await writer.start(history.serve, receive)
        while True:
            try:
                description = await source.describe(settings.symbols)
                break
            except (SourceUnavailableError, SourceRefusedError):
                await trio.sleep(1)
        engine = await restore(settings, history, positions_of(history.epoch))
        world.mishaps.knows_time = lambda: engine.time.known
        hub = Hub(
            clock=trio.current_time, snapshot=engine.forming, symbols=lambda: list(engine.symbols), stored=history
        )
        async with (
            send,
            open_pipeline(
                settings,
                description,
                engine,
                source=source,
                stored=history,
                hub=_Audience(world.witness, hub),
                unstored=hub.unstored,
                closed=send.clone(),
                connect=network.connect,
                rng=world.rng,
                feed_events=scenario.feed_events,
                ways=scenario.ways,
            ) as pipeline,
        ):
            try:
                yield _Daemon(pipeline, hub, history)
            finally:
                for symbol in engine.statistics().symbols:
                    world.outcome.gaps += symbol.gaps_found
                    world.outcome.overlaps += symbol.overlaps
                    world.outcome.duplicates += symbol.duplicates
                world.outcome.roll_overs += pipeline.feed.counts.roll_overs
