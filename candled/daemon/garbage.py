"""Garbage collection, kept from holding the loop.

A full collection visits every object that may be part of a cycle, 45 for each symbol and as many as 80,000 of the
modules: it takes 60 ms at 2,000 symbols. Nearly all of them live as long as the daemon, so they are set aside, and
later collections visit only what came since.
"""

import gc
from typing import Final

import trio

SETTLE_SECONDS: Final = 90.0
"""After going live, until each symbol has closed a minute and so has all objects that it keeps."""


async def set_aside_long_lived(live: trio.Event, settle_seconds: float = SETTLE_SECONDS) -> None:
    """Take what exists once the daemon is live, and again when it has settled, out of later collections.

    Runs until cancelled; what was set aside is collected after that like anything else.
    """
    await live.wait()
    try:
        gc.collect()  # no update is late yet
        gc.freeze()
        await trio.sleep(settle_seconds)
        gc.collect(1)
        gc.freeze()
        await trio.sleep_forever()
    finally:
        gc.unfreeze()
