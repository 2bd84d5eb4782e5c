"""A process that stores bars as fast as it can: made to be killed.

Says on its output the number of the newest bar that it found, and then each number that was acknowledged.
"""

import sys
from pathlib import Path

import trio

from candled.domain.event import BarEvent
from candled.domain.interval import MINUTE
from candled.history import HistorySettings, open_history
from tests.history.bars import START, events, minute

SYMBOLS = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
STEP = 60
"""Minutes from one stored bar to the next: days and months pass quickly, and much is sealed and joined."""
SETTINGS = HistorySettings(publish_delay=0.05, grace=3.0, seal_delay=0.0, compact_files=3, refold_delay=1.0)


async def main(path: Path) -> None:
    async with open_history(path, exchange="x", settings=SETTINGS) as history, trio.open_nursery() as nursery:
        _send, receive = trio.open_memory_channel[list[BarEvent]](0)
        await nursery.start(history.serve, receive)
        newest = await history.newest_bars()
        number = 0
        print((newest["BTCUSDT"].open_time - START) // MINUTE if newest else -1, flush=True)
        if newest:
            # A kill between two symbols of one batch is impossible: a batch is one transaction.
            assert len({bar.open_time for bar in newest.values()}) == 1
            number = (newest["BTCUSDT"].open_time - START) // MINUTE + STEP
        position = history.epoch << 32
        while True:
            batch = [minute(number, symbol) for symbol in SYMBOLS]
            late = number - 30 * STEP
            if number % 7 == 0 and late >= 0:
                batch.append(minute(late, revision=1, salt=1))
            await history.store(events(batch, position))
            position += len(batch)
            print(number, flush=True)
            number += STEP
            await trio.sleep(0.005)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
