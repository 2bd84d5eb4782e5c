"""Older bars of an edge: its log's in memory, and before them those of the history in an object store."""

from typing import Final

from candled.config.settings import DaemonSettings
from candled.domain.storage import BarSource
from candled.history.layered import LayeredBars
from candled.history.replica import Replica

PATIENCE_SECONDS: Final = 5.0
"""That an edge waits for the store before it serves without it."""


async def with_older_bars(settings: DaemonSettings, replica: Replica, exchange: str) -> BarSource:
    """Return the bars of a log, with what the object store has before them if ``history_url`` is set.

    Args:
        settings: where the store and its cache are.
        replica: the bars of the log.
        exchange: identity of the exchange that they are of.

    Raises:
        UserError: the store holds another history, or cannot be used as it is set.
    """
    if settings.history_url is None:
        return replica
    # Not before they are needed: a library of its own.
    from candled.history.objects.bucket import open_bucket
    from candled.history.objects.cache import HistoryCache
    from candled.history.objects.stored_bars import StoredBars

    older = StoredBars(
        open_bucket(settings.history_url, settings.history_endpoint),
        exchange,
        lambda bucket: HistoryCache(bucket, settings.cache_dir, settings.cache_bytes),
    )
    await older.open(PATIENCE_SECONDS)
    return LayeredBars(replica, older)
