"""Restore the history from an object store, and claim it, before a run opens its data directory.

Imported only where ``history_url`` is set. Before the data directory is opened, it gets what the store has and
it lacks, and this run claims the store. A directory that has bars does not wait for a store that is away: it is
opened after a few seconds, and the uploader claims the store later. A new one waits, since it would begin
another history.
"""

import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import structlog
import trio

from candled.config.settings import DaemonSettings
from candled.history.directory import read_identity
from candled.history.objects.bucket import Bucket, open_bucket
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.restoring import Restored, bind_bucket, read_history_identity, restore
from candled.history.objects.writers import claim_epoch, newest_writer
from candled.retry import Backoff

PATIENCE_SECONDS: Final = 5.0
"""Seconds that a data directory with bars waits for the store."""
_log = structlog.get_logger(__name__)


@attrs.frozen
class Claim:
    """The store, as far as it answered before the data directory was opened."""

    bucket: Bucket
    nonce: str
    epoch: int
    """The epoch that was claimed for this opening; 0 if the store did not answer."""


async def claim_history(
    settings: DaemonSettings, exchange: str, show: Callable[[str], None], rng: random.Random
) -> Claim:
    """Restore what the data directory lacks, and claim the store for its next opening.

    Args:
        settings: Where the data directory and the store are.
        exchange: Identity of the exchange; empty if it is not known yet.
        show: Takes what the start waits for, in a sentence.
        rng: Source of jitter.

    Raises:
        UserError: the store holds another history, or cannot be used as it is set.
    """
    assert settings.history_url is not None
    show(f"Reading the history in {settings.history_url}.")
    bucket = await trio.to_thread.run_sync(open_bucket, settings.history_url, settings.history_endpoint)
    nonce = secrets.token_hex(8)
    has_bars = read_identity(settings.data_dir) is not None
    backoff = Backoff(rng)

    async def pause(error: ObjectStoreError) -> None:
        delay = backoff.next()
        show(str(error))
        _log.warning("cannot read the history", reason=str(error), retry_in_seconds=round(delay, 1))
        await trio.sleep(delay)

    async def until_answered(work: Callable[[], int]) -> int:
        while True:
            try:
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            except ObjectStoreError as error:
                await pause(error)

    def restore_and_claim() -> int:
        return _restore_and_claim(settings.data_dir, bucket, exchange, nonce)

    # Only questions can be given up at the deadline: what restores must end before the directory is opened.
    deadline = trio.current_time() + PATIENCE_SECONDS if has_bars else float("inf")
    while trio.current_time() < deadline:
        with trio.move_on_at(deadline) as patience:
            await until_answered(lambda: newest_writer(bucket))
        if patience.cancelled_caught:
            break
        try:
            epoch = await trio.to_thread.run_sync(restore_and_claim, abandon_on_cancel=True)
            return Claim(bucket, nonce, epoch)
        except ObjectStoreError as error:
            await pause(error)
    _log.warning("opening the data directory without the object store", url=bucket.url)
    return Claim(bucket, nonce, 0)


def _restore_and_claim(root: Path, bucket: Bucket, exchange: str, nonce: str) -> int:
    """Restore, then claim an epoch above every other; return it. Blocking."""
    newest = newest_writer(bucket)
    _log_restored(bucket, restore(root, bucket, exchange=exchange, epoch=newest))
    while True:
        known = read_identity(root) or {}
        epoch = max(newest_writer(bucket), int(known.get("epoch", 0))) + 1
        if known.get("exchange") and known.get("id") and read_history_identity(bucket) is None:
            bind_bucket(bucket, str(known["exchange"]), str(known["id"]))
        if claim_epoch(bucket, epoch, nonce):
            return epoch


def _log_restored(bucket: Bucket, restored: Restored) -> None:
    for file in restored.damaged:
        _log.error("object is damaged", url=bucket.url, name=file.name)
    if restored.files:
        _log.info("history restored", url=bucket.url, files=restored.files)
