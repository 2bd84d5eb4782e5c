"""Waiting for DuckDB from Trio."""

from collections.abc import Callable
from typing import TypeVar

import duckdb
import trio

_T = TypeVar("_T")


async def run_query(
    work: Callable[[], _T], connection: duckdb.DuckDBPyConnection, *, limiter: trio.CapacityLimiter | None = None
) -> _T:
    """Run ``work``, which uses ``connection``, in a thread; cancelling interrupts the query and awaits its end."""
    finished = trio.Event()
    outcome: list[_T] = []
    failure: duckdb.Error | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_when_cancelled, connection, finished)
        with trio.CancelScope(shield=True):
            try:
                outcome.append(await trio.to_thread.run_sync(work, limiter=limiter))
            except duckdb.Error as error:
                failure = error
            finally:
                finished.set()
    if failure is not None:
        # An interrupted query says so by an error; what the caller wants to hear is the cancellation.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise failure
    return outcome[0]


async def _interrupt_when_cancelled(connection: duckdb.DuckDBPyConnection, finished: trio.Event) -> None:
    try:
        await finished.wait()
    except trio.Cancelled:
        connection.interrupt()
        raise
