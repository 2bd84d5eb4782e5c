"""Put the files of an open history into the object store, beside everything else.

One task, which no other waits for: it looks at the data directory after each change, puts what the store lacks
by ``upload_plan``, and tries again without end while the store does not answer. What waits is only names;
contents are read when they are put, a few at a time.

Before files are put or deleted, the store is asked whether a later process has taken over (``writers``). If so,
or if the store turns out to hold another history, the task stops for good and says so in status and metrics.
"""

import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import structlog
import trio

from candled.history.checksums import checksum
from candled.history.durable import DurableHistory
from candled.history.objects.bucket import Bucket
from candled.history.objects.errors import ObjectStoreError, OtherHistoryError
from candled.history.objects.keys import key_of
from candled.history.objects.restoring import bind_bucket, list_files, select_live
from candled.history.objects.statistics import UploadStatistics
from candled.history.objects.unfillable_record import older_records, put_record, read_stored
from candled.history.objects.upload_plan import File, OldObjects, UploadPlan
from candled.history.objects.writers import claim_epoch, newest_writer, older_claims
from candled.history.unfillable import Unfillable
from candled.retry import Backoff

_PUTS_AT_ONCE: Final = 4
_LOOK_SECONDS: Final = 60.0
"""Maximum seconds between two looks at the data directory, and between two tries to delete."""
_LIST_SECONDS: Final = 3600.0
"""Seconds after which the store is listed again, to find objects that are gone."""
_LAST_SECONDS: Final = 3.0
"""Seconds that a stopping daemon takes for its last files."""
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


@attrs.define
class _Record:
    """What the store has of the record of unfillable trades."""

    stored: tuple[Unfillable, ...] = ()
    number: int = 1
    """Of the next state that is put."""
    due_time: float = -math.inf
    """Before it, no other state is put."""


class Uploader:
    """The upload of one history."""

    def __init__(
        self,
        bucket: Bucket,
        history: DurableHistory,
        *,
        grace: float,
        nonce: str,
        restored: bool,
        rng: random.Random,
    ) -> None:
        """Begin with nothing known of the store.

        Args:
            bucket: The object store.
            history: The open history.
            grace: Seconds that superseded objects stay.
            nonce: Random text of this process, with which its epoch is, or will be, claimed.
            restored: Whether the history got what the store has before it was opened.
            rng: Source of jitter.
        """
        self._bucket = bucket
        self._history = history
        self._plan = UploadPlan(grace)
        self._old = OldObjects(grace)
        self._record = _Record()
        self._nonce = nonce
        self._backoff = Backoff(rng)
        self._putting = trio.CapacityLimiter(_PUTS_AT_ONCE)
        self._restored = restored
        self._bound = False
        self._list_time = float("-inf")
        self._problem: str | None = None
        self._fenced = False
        self._files_put = self._bytes_put = self._deleted = self._errors = 0

    def statistics(self) -> UploadStatistics:
        """Return the figures of this moment."""
        return UploadStatistics(
            url=self._bucket.url,
            behind_seconds=self._plan.behind(trio.current_time()),
            files_waiting=self._plan.pending,
            files_put=self._files_put,
            bytes_put=self._bytes_put,
            objects_deleted=self._deleted,
            errors=self._errors,
            problem=self._problem,
            fenced=self._fenced,
        )

    async def run(self) -> None:
        """Upload until cancelled, or until another process takes over."""
        await self._history.wait_bound()  # nothing is put before it is known whose bars these are
        while not self._fenced:
            changed = self._history.next_change()
            if await self._tried_round():
                with trio.move_on_at(min(trio.current_time() + _LOOK_SECONDS, self._wake_time())):
                    await changed.wait()

    def _wake_time(self) -> float:
        return min(self._plan.wake_time(), self._old.due_time)

    async def finish(self) -> None:
        """Put the last files, within a few seconds; what is left is put after the next start."""
        if self._bound and not self._fenced and self._problem is None:
            with trio.move_on_after(_LAST_SECONDS, shield=True):
                await self._tried_round()

    async def _tried_round(self) -> bool:
        """Do one round; return False, after a pause, if it failed."""
        try:
            await self._round()
        except OtherHistoryError as error:
            self._stop(str(error))
        except ObjectStoreError as error:
            self._errors += 1
            self._problem = str(error)
            delay = self._backoff.next()
            _log.warning("cannot upload, trying again", reason=str(error), retry_in_seconds=round(delay, 1))
            await trio.sleep(delay)
            return False
        else:
            self._backoff.reset()
            if not self._fenced:
                self._problem = None
        return True

    async def _round(self) -> None:
        """Put and delete all that is due now.

        Raises:
            ObjectStoreError: the store did not answer; the rest is due in the next round.
            OtherHistoryError: it holds another history.
        """
        await self._look()
        if not self._bound:
            await self._bind()
            if self._fenced:
                return
        if trio.current_time() >= self._list_time:
            await self._list()
        while puts := await trio.to_thread.run_sync(self._plan.next_puts):
            if await self._is_overtaken():
                return
            await self._put_all(puts)
            await self._look()
        while deletions := self._plan.deletions(trio.current_time()):
            if await self._is_overtaken():
                return
            await self._in_thread(lambda: self._bucket.delete(key_of(file) for file in deletions))
            self._plan.deleted(deletions)
            self._deleted += len(deletions)
        await self._put_record()
        if old := self._old.due(trio.current_time()):
            await self._in_thread(lambda: self._bucket.delete(old))
            self._old.found(trio.current_time(), [])
            self._deleted += len(old)

    async def _bind(self) -> None:
        """Claim the store for this opening of the history."""
        history = self._history
        await self._in_thread(lambda: bind_bucket(self._bucket, history.exchange, history.history_id))
        if not await self._in_thread(lambda: claim_epoch(self._bucket, history.epoch, self._nonce)):
            self._stop(self._overtaken())
            return
        self._bound = True

    async def _list(self) -> None:
        objects = await self._in_thread(lambda: list_files(self._bucket))
        if not self._restored and await trio.to_thread.run_sync(_lacks, objects, self._history.live_files):
            self._stop(
                f"The history in {self._bucket.url} has files that this data directory lacks, which was opened "
                "while the store was away: nothing is uploaded until a restart has fetched them."
            )
            return
        self._restored = True
        await trio.to_thread.run_sync(self._plan.listed, trio.current_time(), objects)
        epoch = self._history.epoch
        old = await self._in_thread(lambda: older_claims(self._bucket, epoch) + older_records(self._bucket))
        self._old.found(trio.current_time(), old)
        self._record.stored = await self._in_thread(lambda: read_stored(self._bucket))
        self._list_time = trio.current_time() + _LIST_SECONDS
        await self._look()

    async def _put_record(self) -> None:
        """Put the record of unfillable trades if it has grown, once a minute at most."""
        record, ranges, epoch = self._record, self._history.unfillable, self._history.epoch
        if set(ranges) <= set(record.stored) or trio.current_time() < record.due_time:
            return
        if await self._is_overtaken():
            return
        await self._in_thread(lambda: put_record(self._bucket, epoch, record.number, ranges))
        record.stored, record.number = ranges, record.number + 1
        record.due_time = trio.current_time() + _LOOK_SECONDS

    async def _look(self) -> None:
        """Compare the live files of the data directory with the store's, in a thread: there may be many."""
        await trio.to_thread.run_sync(self._plan.looked, trio.current_time(), self._history.live_files)

    async def _is_overtaken(self) -> bool:
        if self._fenced:
            return True
        epoch = self._history.epoch
        if await self._in_thread(lambda: newest_writer(self._bucket, epoch)) == epoch:
            return False
        self._stop(self._overtaken())
        return True

    async def _put_all(self, files: Sequence[File]) -> None:
        """Put files, a few at once.

        Raises:
            ObjectStoreError: some were refused.
        """
        failures: list[ObjectStoreError] = []

        async def put(file: File) -> None:
            async with self._putting:
                try:
                    await self._put(file)
                except ObjectStoreError as error:
                    failures.append(error)

        async with trio.open_nursery() as nursery:
            for file in files:
                nursery.start_soon(put, file)
        if failures:
            raise failures[0]

    async def _put(self, file: File) -> None:
        path = self._history.path(file)
        try:
            content, found = await trio.to_thread.run_sync(_read, path)
        except FileNotFoundError:
            await self._drop(file)
            return
        except OSError as error:
            raise ObjectStoreError(f"Cannot read {path} to upload it ({error.strerror}).") from error
        if found != file.checksum:
            await self._drop(file)
            return
        await self._in_thread(lambda: self._bucket.put(key_of(file), content))
        self._plan.put(trio.current_time(), file)
        self._files_put += 1
        self._bytes_put += len(content)

    async def _drop(self, file: File) -> None:
        """Give up a file that was superseded and removed meanwhile, or that is damaged or lost if it is live."""
        if file in self._history.live_files:
            await self._history.remove_damaged(file)
        self._plan.dropped(file)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Run a request. A cancellation does not wait for its end: what it puts is there whole, or not at all."""
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _overtaken(self) -> str:
        return (
            f"Another process writes the history in {self._bucket.url}: this one uploads nothing any more. "
            "Let only one run; after a restart this one continues with what the other has stored."
        )

    def _stop(self, reason: str) -> None:
        self._fenced = True
        self._problem = reason
        _log.error("upload stopped", reason=reason)


@asynccontextmanager
async def open_uploader(
    bucket: Bucket, history: DurableHistory, *, grace: float, nonce: str, restored: bool, rng: random.Random
) -> AsyncIterator[Uploader]:
    """Upload an open history while inside; see ``Uploader``."""
    uploader = Uploader(bucket, history, grace=grace, nonce=nonce, restored=restored, rng=rng)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uploader.run)
        try:
            yield uploader
        finally:
            nursery.cancel_scope.cancel()
            await uploader.finish()


def _read(path: Path) -> tuple[bytes, int]:
    content = path.read_bytes()
    return content, checksum(content)


def _lacks(objects: Sequence[File], live: Sequence[File]) -> bool:
    """Return whether a directory with these live files lacks some that the store has, and that count."""
    return not set(select_live([*objects, *live])) <= set(live)
