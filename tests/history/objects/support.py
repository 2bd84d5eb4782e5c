"""Stored histories in a folder, and a store that fails on request."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import trio

from candled.domain.bar import Bar
from candled.history import DurableHistory, HistorySettings, connect, open_history
from candled.history.objects.bucket import Bucket, StoredObject, open_bucket
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.uploader import Uploader, open_uploader
from tests.history.bars import events

EXCHANGE = "an exchange"
SETTINGS = HistorySettings(publish_delay=0.01, grace=0.0)
DAY = 1440
_PATIENCE = 300.0
"""Seconds for anything that is waited for: on a busy machine pytest's own limit comes first."""


class FlakyBucket(Bucket):
    """A store that counts requests, and fails while ``fails`` says so."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket._store, bucket.url)
        self.fails: Callable[[str, str], bool] = lambda _what, _key: False
        """Told what is asked (list, get, put, delete) and the key or prefix."""
        self.asked: list[tuple[str, str]] = []

    def _ask(self, what: str, key: str) -> None:
        self.asked.append((what, key))
        if self.fails(what, key):
            raise ObjectStoreError(f"Cannot {what} {key}: the test says so.")

    def list(self, prefix: str = "", after: str | None = None) -> list[StoredObject]:
        self._ask("list", prefix)
        return super().list(prefix, after)

    def get(self, key: str) -> bytes | None:
        self._ask("get", key)
        return super().get(key)

    def put(self, key: str, content: bytes) -> bool:
        self._ask("put", key)
        return super().put(key, content)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._ask("delete", key)
            super().delete([key])


def url_of(folder: Path) -> str:
    return folder.absolute().as_uri()


def flaky(folder: Path) -> FlakyBucket:
    return FlakyBucket(open_bucket(url_of(folder)))


@asynccontextmanager
async def open_copied(
    data_dir: Path,
    bucket: Bucket,
    *,
    epoch_min: int = 0,
    nonce: str = "here",
    exchange: str = EXCHANGE,
    restored: bool = True,
) -> AsyncIterator[tuple[DurableHistory, Uploader]]:
    """A history with its copy, as the daemon opens them."""
    async with (
        open_history(data_dir, exchange=exchange, settings=SETTINGS, epoch_min=epoch_min) as history,
        open_uploader(bucket, history, grace=0.0, nonce=nonce, restored=restored, rng=Random(1)) as uploader,
    ):
        yield history, uploader


async def keep(history: DurableHistory, bars: Sequence[Bar], position: int = 1) -> None:
    """Store and publish bars, and carry out every step that is due."""
    await history.store(events(bars, (history.epoch << 32) + position))
    await history.publish()
    while await history.keep():
        pass


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(_PATIENCE):
        while not condition():
            await trio.sleep(0.01)


async def caught_up(history: DurableHistory, uploader: Uploader, bucket: Bucket) -> None:
    """Wait until the store has every live file."""
    from candled.history.objects.restoring import list_files

    with trio.fail_after(_PATIENCE):
        while True:
            stored = await trio.to_thread.run_sync(list_files, bucket)
            if set(history.live_files) <= set(stored) and uploader.statistics().files_waiting == 0:
                return
            await trio.sleep(0.01)


def rows(source: Path | str, cache_dir: Path | None = None) -> list[tuple[Any, ...]]:
    """Every bar of every interval, all columns, in a fixed order."""
    with connect(source, cache_dir=cache_dir) as connection:
        return connection.execute("FROM bars ORDER BY symbol, interval, open_time").fetchall()
