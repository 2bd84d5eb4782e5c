"""Clients of a real daemon, killed and resumed at random moments while it is killed and started again."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from candled.client import Bar, ClientError, Kind, Message, open_trio_client
from tests.acceptance.processes import RunningDaemon, open_daemon, open_exchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
INTERVALS = ("1m", "3m", "5m")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
Key = tuple[str, str, float]


class Listener:
    """Keeps the newest revision of each bar received, and the order in which bars first arrived."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.token = ""
        self.bars: dict[Key, Bar] = {}
        self.closes: dict[tuple[str, str], list[float]] = {}
        self.lives = 0

    def hear(self, message: Message) -> None:
        self.token = message.resume_token or self.token
        bar = message.bar
        if bar is None or not bar.closed:
            return
        where, time = (bar.symbol, bar.interval), bar.open_time.timestamp()
        key = (*where, time)
        if key not in self.bars and message.kind is Kind.CLOSE:
            self.closes.setdefault(where, []).append(time)
        before = self.bars.get(key)
        if before is None or bar.revision >= before.revision:
            self.bars[key] = bar

    async def stay(self) -> None:
        """One stream that is never left, though the daemon ends beneath it."""
        async with (
            open_trio_client(self.address) as client,
            client.stream_bars(intervals=INTERVALS, closed_only=True) as stream,
        ):
            async for message in stream:
                self.hear(message)

    async def wander(self, rng: random.Random) -> None:
        """Many short streams, each cut at a random moment and resumed from the last message."""
        longest = 1.5
        while True:
            before = self.token
            with trio.move_on_after(rng.random() * longest):
                await self.listen()
            # On a slow machine lives have to be longer to get anywhere at all.
            longest = longest * 1.5 if self.token == before else 1.5
            self.lives += 1

    async def listen(self) -> None:
        async with open_trio_client(self.address) as client:
            try:
                async with client.stream_bars(
                    intervals=INTERVALS, closed_only=True, resume_token=self.token, reconnect=False
                ) as stream:
                    async for message in stream:
                        self.hear(message)
            except ClientError as error:
                assert error.code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}, error  # noqa: PT017
                await trio.sleep(0.2)


def state(bars: dict[Key, Bar], keys: set[Key]) -> dict[Key, tuple[Any, ...]]:
    return {
        key: (bar.revision, bar.trade_count, bar.complete, bar.close) for key, bar in bars.items() if key in keys
    }


async def stored(address: str) -> dict[Key, Bar]:
    async with open_trio_client(address) as client:
        return {
            (symbol, interval, bar.open_time.timestamp()): bar
            for symbol in SYMBOLS
            for interval in INTERVALS
            for bar in await client.get_bars(symbol, interval)
        }


async def until_minutes(listener: Listener, count: int) -> None:
    """Until every symbol has closed ``count`` more minutes."""
    begun = {symbol: len(listener.closes.get((symbol, "1m"), ())) for symbol in SYMBOLS}
    with trio.fail_after(60):
        while any(len(listener.closes.get((s, "1m"), ())) < begun[s] + count for s in SYMBOLS):
            await trio.sleep(0.05)


async def test_resumed_client_ends_with_the_same_bars(tmp_path: Path) -> None:
    """A client that leaves and resumes ends with the same bars as one that stayed."""
    rng = random.Random(4)
    async with open_exchange("--speed=40", "--seed=4", "--faults=lose=0.01") as exchange:
        listeners: list[Listener] = []
        async with trio.open_nursery() as clients:
            address: tuple[str, ...] = ()
            for end in (signal.SIGKILL, signal.SIGTERM, None):
                async with open_daemon(exchange, tmp_path / "data", *address) as daemon:
                    address = (f"--grpc-address={daemon.grpc}",)
                    if not listeners:
                        listeners = await begin(clients, daemon, rng)
                    stayed, *wanderers = listeners
                    await until_minutes(stayed, 4)
                    if end is not None:
                        await daemon.stop(end)
                        continue
                    await agree(daemon, stayed, wanderers)
            clients.cancel_scope.cancel()
    assert all(listener.lives > 5 for listener in wanderers)
    for listener in listeners:
        for times in listener.closes.values():
            assert times == sorted(times)


async def begin(clients: trio.Nursery, daemon: RunningDaemon, rng: random.Random) -> list[Listener]:
    """One that stays and four that wander, all from the same point on."""
    async with (
        open_trio_client(daemon.grpc) as client,
        client.stream_bars(intervals=INTERVALS, closed_only=True) as stream,
    ):
        async for message in stream:
            if message.resume_token:
                break
    listeners = [Listener(daemon.grpc) for _ in range(5)]
    stayed, *wanderers = listeners
    clients.start_soon(stayed.stay)
    for listener in wanderers:
        listener.token = message.resume_token
        clients.start_soon(listener.wander, random.Random(rng.random()))
    return listeners


async def agree(daemon: RunningDaemon, stayed: Listener, wanderers: list[Listener]) -> None:
    """All know the same newest revision of every bar that has closed by now, and it is the stored one."""
    keys = set(stayed.bars)
    deadline = trio.current_time() + 60
    while True:
        expected = state(await stored(daemon.grpc), keys)
        known = {listener.lives: state(listener.bars, keys) for listener in (stayed, *wanderers)}
        different = {
            lives: {key: (bars.get(key), expected.get(key)) for key in keys if bars.get(key) != expected.get(key)}
            for lives, bars in known.items()
            if bars != expected
        }
        if not different:
            break
        assert trio.current_time() < deadline, different
        await trio.sleep(0.3)
    revised = sum(bar.revision > 0 for bar in stayed.bars.values())
    print(f"{len(keys)} bars, {revised} of them revised")
    assert revised
    assert {interval for _, interval, _ in keys} == set(INTERVALS)
