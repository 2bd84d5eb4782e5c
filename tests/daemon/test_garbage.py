"""What lives as long as the daemon is not visited by garbage collections."""

import gc

import trio
from trio.testing import MockClock

from candled.daemon.garbage import SETTLE_SECONDS, set_aside_long_lived


async def test_collections_are_usual_before_live(autojump_clock: MockClock) -> None:
    """Nothing is set aside before the daemon is live."""
    before = gc.get_freeze_count()
    with trio.move_on_after(1000):
        await set_aside_long_lived(trio.Event())

    assert gc.get_freeze_count() == before


async def test_full_collection_visits_new_objects(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After going live a full collection visits only what was made since."""
    live, kept, came_later = trio.Event(), [[0]], [[1]]
    live.set()
    nursery.start_soon(set_aside_long_lived, live)
    await trio.sleep(1)
    came_later.append([2])

    visited = {id(each) for each in gc.get_objects()}
    assert id(kept) not in visited
    assert id(came_later[-1]) in visited

    await trio.sleep(SETTLE_SECONDS)
    assert id(came_later[-1]) not in {id(each) for each in gc.get_objects()}


async def test_set_aside_is_collected_at_the_end(autojump_clock: MockClock) -> None:
    """Otherwise objects in cycles would not be finalized at exit, database connections among them."""
    live = trio.Event()
    live.set()
    with trio.move_on_after(1):
        await set_aside_long_lived(live)

    assert gc.get_freeze_count() == 0
