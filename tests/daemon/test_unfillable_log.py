"""What proves nothing is stored and logged once, with its reason."""

from collections.abc import Collection
from typing import TYPE_CHECKING, cast

import trio
import trio.testing
from structlog.testing import capture_logs

from candled.daemon.writer import LOGGED_AT_ONCE, RECORD_SECONDS, record_unfillable
from candled.engine.engine import Engine
from candled.history.unfillable import Unfillable

if TYPE_CHECKING:
    from candled.history import DurableHistory


class _History:
    """Takes the record, and remembers its size."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def record_unfillable(self, ranges: Collection[Unfillable]) -> None:
        self.sizes.append(len(ranges))


async def test_each_range_is_logged_once(autojump_clock: trio.testing.MockClock) -> None:
    """Of many at once the first few are, and each line says how many there were."""
    engine, history = Engine(["X"]), _History()
    continuity = engine.symbols["X"].continuity
    continuity.lower_floor(0)
    continuity.dispute(5, 5, "two truths: a, then b")
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record_unfillable, cast("DurableHistory", history), engine)
            await trio.sleep(3.5 * RECORD_SECONDS)
            for first in range(10, 10 + 4 * LOGGED_AT_ONCE, 2):
                continuity.dispute(first, first, "two truths: a, then b")
            await trio.sleep(2 * RECORD_SECONDS)
            nursery.cancel_scope.cancel()
    assert history.sizes == [1, 1, 1, 2 * LOGGED_AT_ONCE + 1, 2 * LOGGED_AT_ONCE + 1]
    assert [line["ranges"] for line in lines] == [1, *[2 * LOGGED_AT_ONCE] * LOGGED_AT_ONCE]
    assert (lines[0]["event"], lines[0]["first_id"], lines[0]["reason"]) == (
        "trade ids prove nothing",
        5,
        "two truths: a, then b",
    )
