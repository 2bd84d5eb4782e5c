"""A process that stores bars and copies them into an object store, to be killed by its test.

It continues from what it finds, as the daemon does by the exchange's trades: bars are a function of their number,
and every fifth one is revised once, twenty bars later. Each line of standard input is one life, run in a fork of
this process, so that nothing is imported again.
"""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final
from unittest import mock

import attrs
import trio

from candled.config.settings import DaemonSettings
from candled.daemon import object_storage
from candled.domain.bar import Bar
from candled.history import DurableHistory, HistorySettings, open_history
from candled.history.objects.bucket import Bucket, StoredObject, open_bucket
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.restoring import list_files
from candled.history.objects.uploader import Uploader, open_uploader
from tests.history.bars import START, events, minute

EXCHANGE: Final = "an exchange"
STEP: Final = 45
"""Minutes from one bar to the next: 32 a day."""
_BATCH: Final = 8
_GRACE: Final = 0.5
_IN_SECONDS: Final = 0.3
"""That a request runs before a kill in the middle of it."""
_MINUTE: Final = 60_000_000


@attrs.frozen
class Life:
    """What one life does."""

    data_dir: str
    url: str
    endpoint: str
    bars: int
    """How many bars there are in the end."""
    moment: str = ""
    """``before``, ``in`` or ``after`` the request at which the process kills itself; empty: it does not."""
    what: str = ""
    """``list``, ``get``, ``put`` or ``delete``."""
    where: str = ""
    """Beginning of the request's key."""
    number: int = 1
    """Which of these requests, from 1 on."""


class KillingBucket(Bucket):
    """A store at which the process kills itself."""

    def __init__(self, bucket: Bucket, life: Life) -> None:
        super().__init__(bucket._store, bucket.url)
        self._life = life
        self._left = life.number
        self._lock = threading.Lock()

    def list(self, prefix: str = "", after: str | None = None) -> list[StoredObject]:
        with self._killing("list", prefix):
            return super().list(prefix, after)

    def get(self, key: str) -> bytes | None:
        with self._killing("get", key):
            return super().get(key)

    def put(self, key: str, content: bytes) -> bool:
        with self._killing("put", key):
            return super().put(key, content)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._killing("delete", key):
                super().delete([key])

    @contextmanager
    def _killing(self, what: str, key: str) -> Iterator[None]:
        if self._is_due("before", what, key):
            _kill()
        if self._is_due("in", what, key):
            threading.Timer(_IN_SECONDS, _kill).start()
        yield
        if self._is_due("after", what, key):
            _kill()

    def _is_due(self, moment: str, what: str, key: str) -> bool:
        life = self._life
        if (moment, what) != (life.moment, life.what) or not key.startswith(life.where):
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def bar(number: int) -> Bar:
    """The bar as it is first stored."""
    return minute(number * STEP)


def revised(number: int) -> Bar:
    """The bar as it is in the end."""
    return minute(number * STEP, revision=1, salt=1) if number % 5 == 0 else bar(number)


def is_revised_at(number: int, newest: int) -> bool:
    """Whether a bar has been revised when ``newest`` is the newest one."""
    return number % 5 == 0 and number + 20 <= newest


def due(stored: Mapping[int, int], newest: int) -> list[Bar]:
    """The revisions that are missing, when ``stored`` gives the revision of each bar by its number."""
    return [revised(n) for n, revision in stored.items() if revision == 0 and is_revised_at(n, newest)]


async def write(history: DurableHistory, bars: int) -> None:
    """Store bars until all are there."""
    found = await history.bars("BTCUSDT", "1m", START, None, 2 * bars)
    stored = {(each.open_time - START) // _MINUTE // STEP: each.revision for each in found}
    position = history.stored_position
    while True:
        first = max(stored, default=-1) + 1
        added = [bar(number) for number in range(first, min(first + _BATCH, bars))]
        stored |= dict.fromkeys(range(first, first + len(added)), 0)
        revisions = due(stored, max(stored))
        if not added and not revisions:
            return
        stored |= {(each.open_time - START) // _MINUTE // STEP: 1 for each in revisions}
        await history.store(events([*added, *revisions], position + 1))
        position += len(added) + len(revisions)
        await history.publish()
        await _keep(history)


async def _keep(history: DurableHistory) -> None:
    """Do the maintenance that is due: a step is due some time after the one before, however short the life."""
    while await history.keep():
        pass


async def is_done(history: DurableHistory, uploader: Uploader, bucket: Bucket) -> bool:
    """Whether files are in order, the store has all, and nothing is left to delete.

    Another process may have put it before.
    """
    try:
        stored = await trio.to_thread.run_sync(list_files, bucket)
    except ObjectStoreError:
        return False
    return (
        set(history.live_files) <= set(stored)
        and history._layout.wake_time() == math.inf
        and uploader._wake_time() == math.inf
    )


async def main(life: Life) -> None:
    rng = Random()
    data_dir, bucket = Path(life.data_dir), open_bucket(life.url, life.endpoint)
    settings = DaemonSettings(data_dir=data_dir, history_url=life.url, history_endpoint=life.endpoint)
    with mock.patch.object(object_storage, "open_bucket", return_value=KillingBucket(bucket, life)):
        claim = await object_storage.claim_history(settings, EXCHANGE, lambda _reason: None, rng)
    kept = HistorySettings(publish_delay=0.01, grace=_GRACE, seal_delay=0.0, compact_files=4, refold_delay=0.5)
    async with (
        open_history(data_dir, exchange=EXCHANGE, settings=kept, epoch_min=claim.epoch) as history,
        open_uploader(
            claim.bucket, history, grace=_GRACE, nonce=claim.nonce, restored=claim.epoch > 0, rng=rng
        ) as uploader,
    ):
        print("open", os.getpid(), flush=True)
        await write(history, life.bars)
        while not await is_done(history, uploader, bucket):
            if uploader.statistics().fenced:
                print("fenced", flush=True)
                return
            await trio.sleep(0.05)
            await _keep(history)
        print("done", flush=True)


def serve() -> None:
    """Live one life after the other."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            trio.run(main, Life(**json.loads(line)))
            return
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
