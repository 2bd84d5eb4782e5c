"""Clients killed and resumed at random moments end with the same bars as one that never left."""

import random
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
import trio

from candled.client import Bar, ClientError, Kind, TrioClient, open_trio_client
from candled.domain.event import BarEvent, BarEventKind
from candled.engine.rollup import RollUp
from candled.stream.grpc.limits import Limits
from candled.stream.grpc.server import open_grpc_server
from tests.stream.support import SYMBOLS, World, minute

INTERVALS = ("1m", "3m", "5m")
Key = tuple[str, str, datetime]


class Market:
    """Minutes that close and are revised, rolled up as the daemon does, stored a little later."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.world = World(clock=trio.current_time)
        self.rollup = RollUp()
        self.position = 0
        self.index = 0
        self.minutes: dict[tuple[str, int], int] = {}
        self.unstored: deque[list[BarEvent]] = deque()
        self.newest: dict[tuple[str, str, int], tuple[int, int]] = {}

    def new_daemon(self) -> None:
        """All is stored, the hub starts anew; positions go on above."""
        self.store(0)
        world = World(clock=trio.current_time)
        world.stored = world.hub._stored = self.world.stored
        self.world = world
        self.position += 1 << 32

    def step(self) -> None:
        """Each symbol closes its next minute; some older minute changes."""
        events = []
        for symbol in SYMBOLS:
            self.minutes[symbol, self.index] = 3
            events.append((BarEventKind.CLOSE, minute(self.index, symbol=symbol)))
        self.index += 1
        if self.rng.random() < 0.4:
            symbol = self.rng.choice(SYMBOLS)
            index = self.rng.randrange(max(0, self.index - 12), self.index)
            self.minutes[symbol, index] += 1
            trades = self.minutes[symbol, index]
            events.append(
                (BarEventKind.REVISION, minute(index, symbol=symbol, trades=trades, revision=trades - 3))
            )
        for kind, bar in events:
            self.position += 1
            emitted = self.rollup.apply([BarEvent(kind, bar, bar.close_time, self.position)])
            for event in emitted:
                key = (event.bar.symbol, event.bar.interval, event.bar.open_time)
                if event.bar.interval in INTERVALS:
                    self.newest[key] = (event.bar.revision, event.bar.trade_count)
            self.world.publish(*emitted)
            self.unstored.append(emitted)
        self.store(self.rng.randrange(8))

    def store(self, left: int) -> None:
        while len(self.unstored) > left:
            self.world.stored.store(self.unstored.popleft())


class Follower:
    """Keeps the newest of each bar, whatever happens to its streams."""

    def __init__(self, address: str, rng: random.Random) -> None:
        self.address = address
        self.rng = rng
        self.token = ""
        self.bars: dict[Key, Bar] = {}
        self.closes: list[Bar] = []
        self.resumed = 0

    async def run(self) -> None:
        while True:
            life = self.rng.randrange(1, 60)
            # Longer and longer: on a busy machine 0.3 s may not be enough for anything.
            with trio.move_on_after(self.rng.random() * 0.3 * 1.02**self.resumed):
                async with open_trio_client(self.address) as client:
                    await self.follow(client, life)
            self.resumed += 1

    async def follow(self, client: TrioClient, life: int) -> None:
        start = None if self.token else minute_time(0)
        stream = client.stream_bars(
            intervals=INTERVALS, closed_only=True, start_time=start, resume_token=self.token, reconnect=False
        )
        try:
            async with stream as messages:
                async for message in messages:
                    if message.bar is None:
                        continue
                    self.token = message.resume_token
                    key = (message.bar.symbol, message.bar.interval, message.bar.open_time)
                    if key not in self.bars and message.kind is Kind.CLOSE:
                        self.closes.append(message.bar)
                    if key not in self.bars or message.bar.revision >= self.bars[key].revision:
                        self.bars[key] = message.bar
                    life -= 1
                    if not life:
                        return
        except ClientError as error:
            assert error.code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}, error  # noqa: PT017


def minute_time(index: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=minute(index).open_time)


def state(follower: Follower) -> dict[tuple[str, str, int], tuple[int, int]]:
    epoch = minute_time(0)
    first = minute(0).open_time
    return {
        (symbol, interval, first + round((open_time - epoch).total_seconds() * 1_000_000)): (
            bar.revision,
            bar.trade_count,
        )
        for (symbol, interval, open_time), bar in follower.bars.items()
    }


@pytest.mark.parametrize("seed", range(2))
async def test_resumed_clients_miss_nothing(seed: int) -> None:
    """Clients that are killed and resume miss neither a bar nor a revision."""
    rng = random.Random(seed)
    market = Market(rng)
    address = "127.0.0.1:0"
    followers: list[Follower] = []
    with trio.fail_after(50):
        async with trio.open_nursery() as nursery:
            for _daemon in range(3):
                world = market.world
                async with open_grpc_server(
                    address,
                    hub=world.hub,
                    stored=world.stored,
                    status=world.status,
                    limits=Limits(drain_seconds=1),
                ) as server:
                    address = server.address
                    if not followers:
                        followers = [Follower(address, random.Random(seed * 10 + n)) for n in range(4)]
                        for follower in followers:
                            nursery.start_soon(follower.run)
                    for _ in range(25):
                        market.step()
                        await trio.sleep(rng.random() * 0.02)
                market.new_daemon()
            async with open_grpc_server(
                address, hub=market.world.hub, stored=market.world.stored, status=market.world.status
            ):
                while any(state(follower) != market.newest for follower in followers):
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    for follower in followers:
        assert follower.resumed > 3
        for symbol in SYMBOLS:
            for interval in INTERVALS:
                times = [b.open_time for b in follower.closes if (b.symbol, b.interval) == (symbol, interval)]
                assert times == sorted(times)
