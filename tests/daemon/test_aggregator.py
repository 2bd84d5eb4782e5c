"""A longer bar that is built again from its minutes is built from what was emitted of them, stored or not."""

import trio
from msgspec.structs import replace

from candled.daemon.aggregator import Aggregator
from candled.domain.bar import NO_TRADE, Bar, merge_bars
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.feed_event import DecimalsStated, FeedEvent, SymbolAdded, TradesArrived, TradesRepaired
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.history.memory import MemoryHistory, MemoryStore
from candled.stream.unstored import UnstoredTail
from candled.telemetry.latency import LatencyHistograms
from tests.engine.oracle import agreed
from tests.stream.support import minute

START = 1_700_006_400_000_000 // (60 * MINUTE) * (60 * MINUTE)


class FullDisk(MemoryHistory):
    """A history that stores nothing for now."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.position = 0

    @property
    def stored_position(self) -> int:
        return self.position


def trade(minute: int, id_: int) -> Trade:
    return Trade("X", id_, id_, 100 * 10**8, 10**8, START + minute * MINUTE + 1, False)


async def test_late_repair_with_a_slow_disk(autojump_clock: object) -> None:
    """A repaired bar of an hour ago is right though the disk lags behind."""
    emitted: dict[tuple[str, int], BarEvent] = {}

    stored = FullDisk()
    unstored = UnstoredTail(stored)

    def publish(events: list[BarEvent]) -> None:
        emitted.update({(event.bar.interval, event.bar.open_time): event for event in events})
        closed_events = [event for event in events if event.bar.closed]
        if closed_events:
            unstored.append(closed_events, trio.current_time())

    aggregator = Aggregator(
        agreed(Engine(["X"]), START + 100 * MINUTE),
        publish=publish,  # type: ignore[arg-type]
        wake_repair=lambda: None,
        stored=stored,
        unstored=unstored,
        latency=LatencyHistograms(),
    )
    send, receive = trio.open_memory_channel[FeedEvent](1_000)
    closed, _unread = trio.open_memory_channel[list[BarEvent]](1_000)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(aggregator.run, receive, closed)
            for minute in range(100):
                if minute != 2:
                    await send.send(TradesArrived([trade(minute, minute)], {}, 0.0))
            await send.send(TradesRepaired("X", [trade(2, 2)]))
            await trio.sleep(1)
            await send.aclose()
    minutes = [emitted["1m", START + n * MINUTE].bar for n in range(5)]
    assert minutes[2].trade_count == 1
    expected = merge_bars([replace(bar, closed=True) for bar in minutes], INTERVALS["5m"])
    assert emitted["5m", START].bar == expected


async def test_a_rebuild_waits_for_the_history(autojump_clock: object) -> None:
    """While closed minutes are neither stored nor in the tail, no longer bar is built without them."""
    stored = FullDisk()
    unstored = UnstoredTail(stored, bars_max=1)
    aggregator = Aggregator(
        Engine(["X"]),
        publish=lambda _events: None,
        wake_repair=lambda: None,
        stored=stored,
        unstored=unstored,
        latency=LatencyHistograms(),
    )
    for position in (1, 2):
        bar = replace(minute(position), symbol="X", open_time=START + position * MINUTE)
        unstored.append([BarEvent(BarEventKind.CLOSE, bar, bar.close_time, position)], 0.0)
    found: list[Bar] = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            found.extend(await aggregator._minutes("X", START, START + 10 * MINUTE))

        nursery.start_soon(read)
        await trio.sleep(10)
        assert found == []
        stored.position = 1
    assert [bar.open_time for bar in found] == [START + 2 * MINUTE]


async def test_proof_at_the_start_is_published(autojump_clock: object) -> None:
    """A bar that its neighbours prove only now is revised by the first event, whatever that is."""
    first = replace(minute(0, trades=1), symbol="X", first_trade_id=1, last_trade_id=1, previous_trade_id=0)
    first = replace(first, closed=True, complete=True)
    empty = replace(
        first,
        open_time=first.close_time,
        close_time=first.close_time + MINUTE,
        trade_count=0,
        volume=0,
        complete=False,
    )
    empty = replace(empty, first_trade_id=NO_TRADE, last_trade_id=NO_TRADE, previous_trade_id=1, quote_volume=0)
    after = replace(first, open_time=empty.close_time, close_time=empty.close_time + MINUTE, previous_trade_id=1)
    after = replace(after, first_trade_id=2, last_trade_id=2)
    engine = Engine()
    engine.handle(SymbolAdded("X", [first, empty, after]), 0.0)
    stored = FullDisk()
    published: list[BarEvent] = []
    aggregator = Aggregator(
        engine,
        publish=published.extend,
        wake_repair=lambda: None,
        stored=stored,
        unstored=UnstoredTail(stored),
        latency=LatencyHistograms(),
        first=[DecimalsStated("X", 2, 5)],
    )
    send, receive = trio.open_memory_channel[FeedEvent](1)
    closed, handed_over = trio.open_memory_channel[list[BarEvent]](10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aggregator.run, receive, closed)
        with trio.fail_after(5):
            (event,) = await handed_over.receive()
        await send.aclose()
    assert (event.kind, event.bar.open_time, event.bar.complete) == (BarEventKind.REVISION, empty.open_time, True)
    assert event in published
