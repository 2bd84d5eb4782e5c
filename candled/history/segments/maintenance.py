"""Carry out the layout's steps: merge, seal, join and remove files, one step at a time."""

import trio

from candled.history.hot_index import HotIndex
from candled.history.journal import JournalWriter
from candled.history.segments.layout import Delete, Expire, Fold, Layout, MergeRecents, Rewrite, Step
from candled.history.segments.store import Store


class Compactor:
    """Keeps the files of an open history in order."""

    def __init__(self, layout: Layout, store: Store, hot_index: HotIndex, journal_writer: JournalWriter) -> None:
        self.recent_bytes = self.sealed_bytes = self.superseded_bytes = 0
        """Sizes as they were when last measured."""
        self._layout = layout
        self._store = store
        self._hot_index = hot_index
        self._journal_writer = journal_writer
        self._lock = trio.Lock()

    async def step(self) -> bool:
        """Carry out one step; return False if there is nothing to do now.

        Raises:
            DamagedFilesError: files that the step reads are damaged.
            OSError, duckdb.Error, pyarrow.ArrowException: a write failed.
        """
        async with self._lock:
            step = self._layout.next_step(trio.current_time(), self._hot_index.newest_open_time)
            if step is None:
                return False
            await self._carry_out(step)
        return True

    async def measure(self) -> None:
        """Update the sizes of the files."""
        layout = self._layout
        kinds = (layout.recents, layout.segments, layout.superseded)
        self.recent_bytes, self.sealed_bytes, self.superseded_bytes = await trio.to_thread.run_sync(
            lambda: [self._store.bytes(files) for files in kinds]
        )

    async def _carry_out(self, step: Step) -> None:
        layout, store = self._layout, self._store
        match step:
            case Delete():
                await trio.to_thread.run_sync(store.delete, step.segments, step.recents)
            case MergeRecents():
                layout.add(trio.current_time(), await trio.to_thread.run_sync(store.merge, step))
                if step.drop_before is not None:
                    await self._journal_writer.drop_sealed(step.drop_before)
            case Fold():
                await self._fold(step)
            case Rewrite():
                layout.add(trio.current_time(), await trio.to_thread.run_sync(store.rewrite, step))
            case Expire():
                layout.add(trio.current_time(), await trio.to_thread.run_sync(store.expire, step))
        layout.done(step, trio.current_time())

    async def _fold(self, step: Fold) -> None:
        layout, store = self._layout, self._store
        days_by_symbol = await trio.to_thread.run_sync(
            store.days_to_fold, step.boundary, step.recents, layout.segments
        )
        for symbol, days in days_by_symbol.items():
            for target, inputs in layout.targets(symbol, days, step.boundary):
                folded = await trio.to_thread.run_sync(store.fold, target, inputs, step.recents)
                layout.add(trio.current_time(), folded)
