"""An edge that started later emits the same bars at the same positions as one that ran all along."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from candled.bus.incarnation import LogState
from candled.config.settings import DaemonSettings
from candled.daemon.edge import _Bars, _Edge
from candled.daemon.edge_status import EdgeStatus
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import INTERVALS, MINUTE
from candled.history.replica import Replica
from tests.history.bars import START, minute

if TYPE_CHECKING:
    from candled.bus.nats.connection import Nats

STATE = LogState("0123456789abcdef", "x", 1, 0)
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class NoBus:
    """Takes the place of the connection: nothing comes of it."""

    failure = ""
    is_connected = True

    def subscribe(self, *_arguments: object, **_more: object) -> None:
        """Subscribe to nothing."""


def make_log(seed: int, numbers: Sequence[int]) -> list[BarEvent]:
    """Entries of a log: minutes of two symbols, some left out, some revised soon or much later."""
    rng = Random(seed)
    end = START + numbers[-1] * MINUTE
    entries: list[BarEvent] = []
    revisions: Counter[tuple[str, int]] = Counter()

    def add(kind: BarEventKind, symbol: str, number: int) -> None:
        bar = minute(
            number, symbol, trades=rng.randint(0, 4), salt=rng.randint(0, 99), complete=rng.random() < 0.9
        )
        bar = replace(bar, revision=revisions[symbol, number])
        revisions[symbol, number] += 1
        entries.append(BarEvent(kind, bar, end, len(entries) + 1))

    for at, number in enumerate(numbers):
        for symbol in SYMBOLS:
            if rng.random() < 0.97:
                add(BarEventKind.CLOSE, symbol, number)
            if rng.random() < 0.1:
                age = rng.randint(1, rng.choice((1, 3, 30, 300, 2000)))
                add(BarEventKind.REVISION, symbol, numbers[max(0, at - age)])
    return entries


async def restored(entries: list[BarEvent]) -> tuple[_Bars, list[BarEvent]]:
    """An edge that has read entries at its start, and what it publishes from then on."""
    nats = cast("Nats", NoBus())
    edge = _Edge(settings=DaemonSettings(role="edge"), nats=nats, status=EdgeStatus(nats, "edge"))
    replica = Replica(STATE.identity, 1_000_000)
    replica.take(entries)
    bars = await _Bars.restore(edge, replica, STATE)
    published: list[BarEvent] = []
    publish = bars.hub.publish

    def record(events: Any) -> None:
        published.extend(events)
        publish(events)

    bars.hub.publish = record  # type: ignore[method-assign]
    return bars, published


@pytest.mark.parametrize("started", [300, 1_500])
async def test_later_edges_agree(started: int) -> None:
    """Bars, positions and resume floors after the start are the same, for every interval."""
    await compare(make_log(started, range(900)), started, {"1m", "3m", "15m", "1h"})


async def test_later_edges_agree_on_every_interval() -> None:
    """The same over five months, with some hours between two trades."""
    rng = Random(3)
    numbers = list(accumulate(rng.randint(1, 900) for _ in range(480)))
    await compare(make_log(3, numbers), 200, set(INTERVALS))


async def compare(entries: list[BarEvent], started: int, intervals: set[str]) -> None:
    """Compare what two edges publish, of which one has read some entries at its start."""
    ran, all_along = await restored([])
    for entry in entries[:started]:
        ran._publish([entry])
    late, since = await restored(entries[:started])
    all_along.clear()
    for entry in entries[started:]:
        ran._publish([entry])
        late._publish([entry])

    assert since == all_along
    assert {event.bar.interval for event in since} >= intervals
