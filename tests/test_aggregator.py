"""A longer bar that is built again from its minutes is built from what was told of them, stored or not."""

import trio
from msgspec.structs import replace

from candled.aggregator import Aggregator
from candled.domain.bar import Bar, merge_bars
from candled.domain.event import BarEvent
from candled.domain.feed_event import FeedEvent, TradesArrived, TradesRepaired
from candled.domain.interval import INTERVALS, MINUTE
from candled.domain.trade import Trade
from candled.engine.engine import Engine
from candled.engine.rollup import RollUp
from candled.lags import Lags

START = 1_700_006_400_000_000 // (60 * MINUTE) * (60 * MINUTE)


class FullDisk:
    """A history that stores nothing for now."""

    stored_position = 0

    async def bars(self, symbol: str, interval: str, start: int, end: int, limit: int) -> list[Bar]:
        await trio.lowlevel.checkpoint()
        return []


def trade(minute: int, id_: int) -> Trade:
    return Trade("X", id_, id_, 100 * 10**8, 10**8, START + minute * MINUTE + 1, False)


async def test_a_repaired_bar_of_an_hour_ago_is_right_though_the_disk_lags_behind(autojump_clock: object) -> None:
    told: dict[tuple[str, int], BarEvent] = {}

    def publish(events: list[BarEvent]) -> None:
        told.update({(event.bar.interval, event.bar.open_time): event for event in events})

    aggregator = Aggregator(
        Engine(["X"]),
        RollUp(),
        publish=publish,  # type: ignore[arg-type]
        wanted=lambda _symbol: (),
        wake_repair=lambda: None,
        stored=FullDisk(),
        lags=Lags(),
    )
    send, receive = trio.open_memory_channel[FeedEvent](1_000)
    closed, _unread = trio.open_memory_channel[list[BarEvent]](1_000)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(aggregator.run, receive, closed)
            for minute in range(100):
                if minute != 2:
                    await send.send(TradesArrived([trade(minute, minute)], START + minute * MINUTE + 1, 0.0))
            await send.send(TradesRepaired("X", [trade(2, 2)]))
            await trio.sleep(1)
            await send.aclose()
    minutes = [told["1m", START + n * MINUTE].bar for n in range(5)]
    assert minutes[2].trade_count == 1
    expected = merge_bars([replace(bar, closed=True) for bar in minutes], INTERVALS["5m"])
    assert told["5m", START].bar == expected
