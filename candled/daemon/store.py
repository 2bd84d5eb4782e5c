"""The open data directory with its writer, and with its copy in an object store where there is one."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon.history_settings import history_settings
from candled.daemon.writer import open_writer
from candled.domain.event import BarEvent, positions_of
from candled.history import DurableHistory, open_history
from candled.history.objects.statistics import UploadStatistics
from candled.stream.unstored import UnstoredTail
from candled.telemetry.latency import LatencyHistograms

if TYPE_CHECKING:
    from candled.daemon.object_storage import Claim


@attrs.frozen(kw_only=True)
class Store:
    """The open data directory."""

    history: DurableHistory
    unstored: UnstoredTail
    """Closed bars on the way to it."""
    closed: trio.MemorySendChannel[list[BarEvent]]
    """Takes closed bars to the writer."""
    next_position: Callable[[], int]
    """Numbers them."""
    uploads: Callable[[], UploadStatistics] | None
    """Figures of the copy in an object store; None without one."""


@asynccontextmanager
async def open_store(
    settings: DaemonSettings, identity: str, claim: "Claim | None", latency: LatencyHistograms, rng: random.Random
) -> AsyncIterator[Store]:
    """Hold the data directory and run the writer while inside.

    Args:
        settings: Where the directory is, and how bars are kept.
        identity: Identity of the exchange; empty if it is not known yet.
        claim: The copy in an object store; None without one.
        latency: Records how long storing takes.
        rng: Source of jitter.

    Raises:
        DataDirectoryError: the directory cannot be used as it is.
    """
    async with _open_history(settings, identity, claim, rng) as (history, uploads):
        unstored = UnstoredTail(history, observe=latency.stored.observe)
        async with open_writer(history, lambda _position: unstored.prune(trio.current_time())) as closed:
            yield Store(
                history=history,
                unstored=unstored,
                closed=closed,
                next_position=positions_of(history.epoch),
                uploads=uploads,
            )


@asynccontextmanager
async def _open_history(
    settings: DaemonSettings, identity: str, claim: "Claim | None", rng: random.Random
) -> AsyncIterator[tuple[DurableHistory, Callable[[], UploadStatistics] | None]]:
    kept = history_settings(settings)
    if claim is None:
        async with open_history(settings.data_dir, exchange=identity, settings=kept) as history:
            yield history, None
        return
    from candled.history.objects.uploader import open_uploader  # not before it is needed: a library of its own

    async with (
        open_history(settings.data_dir, exchange=identity, settings=kept, epoch_min=claim.epoch) as history,
        open_uploader(
            claim.bucket,
            history,
            grace=settings.superseded_grace,
            nonce=claim.nonce,
            restored=claim.epoch > 0,
            rng=rng,
        ) as uploader,
    ):
        yield history, uploader.statistics
