"""Latency of live updates around the end of a minute, by number of symbols.

usage: python -m benchmarks.minute_end [--rate TRADES_PER_SECOND] [--output FILE]

Aggregator, engine, hub and one encoding subscriber run for some seconds across the end of a minute, at one total
rate of trades. Half of the symbols trade, so that their next trade closes their minute; the others traded once,
and the clock closes theirs. An update's latency is that from when its batch was due to be sent: what holds the
loop counts for all that should have come meanwhile. Bars to be stored are taken at once and dropped. Long-lived
objects are set aside from garbage collections as the daemon does, before the time that counts.

Latencies need a quiet machine. The longest step, the CPU time for which one task held the loop, does not.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
import trio.testing

from benchmarks.header import header, publish
from benchmarks.ingest import NoHistory
from candled.daemon.aggregator import Aggregator
from candled.daemon.garbage import set_aside_long_lived
from candled.domain.event import BarEvent
from candled.domain.feed_event import DecimalsStated, FeedEvent, TradesArrived
from candled.domain.interval import MICROSECONDS, MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.stream.grpc.encoder import encode_shared
from candled.stream.hub import Hub
from candled.stream.message import Message
from candled.stream.subscription import Selection
from candled.stream.unstored import UnstoredTail
from candled.telemetry.latency import LatencyHistograms

SYMBOLS: Final = (3, 500, 2_000)
SECONDS: Final = 14.0
END_AFTER: Final = 8.0
"""Seconds from the start to the end of the minute; those before ``WARM_SECONDS`` do not count."""
WARM_SECONDS: Final = 4.0
AROUND: Final = (0.0, 2.5)
"""Seconds from the minute's end that count as around it: the clock closes after a grace of one."""
BATCH_SECONDS: Final = 0.005
END: Final = 1_790_000_100_000_000 // MINUTE * MINUTE


class Steps(trio.abc.Instrument):
    """How much CPU time each step of a task takes."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float]] = []
        """When a step ended, and the CPU seconds that it took."""
        self._begun = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See Trio."""
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See Trio."""
        self.taken.append((time.perf_counter(), time.thread_time() - self._begun))


class Client:
    """Encodes each message, and notes how late each update is."""

    def __init__(self) -> None:
        self.due: dict[tuple[str, int], float] = {}
        """When the batch of a trade was to be sent, by symbol and id."""
        self.latencies: list[tuple[float, float]] = []
        """When it was due, and how late it was published."""

    def send_now(self, messages: Sequence[Message]) -> bool:
        for message in messages:
            encode_shared(message)
        now = time.perf_counter()
        for message in messages:
            bar = message.bar
            if bar is not None and not bar.closed:
                due = self.due.pop((bar.symbol, bar.last_trade_id), None)
                if due is not None:
                    self.latencies.append((due, now - due))
        return True

    def wake(self) -> None:
        """Nothing waits, since everything is taken at once."""


async def run(symbols: int, rate: float, steps: Steps) -> tuple[list[tuple[float, float]], float]:
    """Latencies of updates, each with its time from the minute's end, and the longest step around it; seconds."""
    names = [f"S{number:04}" for number in range(symbols)]
    engine, client, stored = Engine(names), Client(), NoHistory()
    hub = Hub(clock=trio.current_time, snapshot=engine.forming, symbols=lambda: names, stored=stored)
    engine.wanted = hub.wanted
    subscription = hub.subscribe(Selection(), client)
    hub.go_live(subscription)
    while subscription.take(trio.current_time(), 1_000):
        pass
    aggregator = Aggregator(
        engine,
        publish=hub.publish,
        wake_repair=lambda: None,
        stored=stored,
        unstored=UnstoredTail(stored),
        latency=LatencyHistograms(),
        first=[DecimalsStated(name, 2, 6) for name in names],
    )
    send, receive = trio.open_memory_channel[FeedEvent](10_000)
    closed, closes = trio.open_memory_channel[list[BarEvent]](10_000)
    async with trio.open_nursery() as attendants:
        live = trio.Event()
        live.set()
        attendants.start_soon(set_aside_long_lived, live, WARM_SECONDS / 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(aggregator.run, receive, closed)
            nursery.start_soon(_drop, closes)
            await trio.testing.wait_all_tasks_blocked()
            begun = time.perf_counter()
            async with send:
                await _feed(names, rate, send, client, begun)
        attendants.cancel_scope.cancel()
    end = begun + END_AFTER
    longest = max(taken for ended, taken in steps.taken if AROUND[0] <= ended - end < AROUND[1])
    return [(due - end, latency) for due, latency in client.latencies], longest


async def _drop(closes: trio.MemoryReceiveChannel[list[BarEvent]]) -> None:
    async for _ in closes:
        pass


async def _feed(
    names: Sequence[str], rate: float, send: trio.MemorySendChannel[FeedEvent], client: Client, begun: float
) -> None:
    """Send batches of trades, in real time; all symbols trade at first, then half of them."""
    each = max(1, round(rate * BATCH_SECONDS))
    ids, number = dict.fromkeys(names, 0), 0
    busy = names[: (len(names) + 1) // 2]
    await send.send(_batch(names, ids, begun, begun))
    for step in range(round(SECONDS / BATCH_SECONDS)):
        due = begun + (step + 1) * BATCH_SECONDS
        await trio.sleep(max(0.0, due - time.perf_counter()))
        chosen = [busy[(number + at) % len(busy)] for at in range(each)]
        number += each
        batch = _batch(chosen, ids, due, begun)
        client.due.update({(trade.symbol, trade.last_id): due for trade in batch.trades})
        await send.send(batch)


def _batch(names: Sequence[str], ids: dict[str, int], due: float, begun: float) -> TradesArrived:
    moment = END + round((due - begun - END_AFTER) * MICROSECONDS)
    trades = []
    for name in names:
        ids[name] += 1
        trades.append(
            Trade(name, ids[name], ids[name], 9_600_012_000_000, 123_456_700, moment, ids[name] % 2 == 0)
        )
    return TradesArrived(trades, dict.fromkeys(names, moment), trio.current_time())


def _p99(latencies: Sequence[float]) -> float:
    return sorted(latencies)[math.ceil(len(latencies) * 0.99) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2_000.0, help="trades a second of all symbols")
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    options = parser.parse_args()
    columns = f"{'ms':>8}{'p50':>8}{'p99 else':>10}{'p99 around':>12}{'ratio':>8}{'longest step':>14}"
    lines = [*header("minute_end"), "", columns]
    for symbols in SYMBOLS:
        steps = Steps()
        latencies, longest = trio.run(run, symbols, options.rate, steps, instruments=[steps])
        found = [each for each in latencies if each[0] >= WARM_SECONDS - END_AFTER]
        around = [latency * 1e3 for at, latency in found if AROUND[0] <= at < AROUND[1]]
        others = [latency * 1e3 for at, latency in found if not AROUND[0] <= at < AROUND[1]]
        figures = f"{statistics.median(others):>8.2f}{_p99(others):>10.2f}{_p99(around):>12.2f}"
        lines.append(f"{symbols:>8}{figures}{_p99(around) / _p99(others):>8.2f}{longest * 1e3:>14.2f}")
    publish("\n".join([*lines, "", ""]), options.output)


if __name__ == "__main__":
    main()
