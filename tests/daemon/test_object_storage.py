"""A start with a history in an object store: what it waits for, and what it claims."""

import subprocess
import sys
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from candled.config.settings import DaemonSettings
from candled.daemon import object_storage
from candled.daemon.lifecycle import Lifecycle, ServingParts
from candled.daemon.object_storage import claim_history
from candled.daemon.readiness import Readiness
from candled.history import DataDirectoryError, open_history
from candled.history.directory import read_identity
from candled.history.objects.errors import OtherHistoryError
from candled.history.objects.restoring import bind_bucket
from candled.history.objects.statistics import UploadStatistics
from candled.history.objects.writers import claim_epoch, newest_writer
from tests.history.bars import minute
from tests.history.objects.support import EXCHANGE, FlakyBucket, caught_up, flaky, keep, open_copied, until, url_of


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlakyBucket:
    """The store that the daemon opens."""
    opened = flaky(tmp_path / "store")
    monkeypatch.setattr(object_storage, "open_bucket", lambda _url, _endpoint: opened)
    return opened


def settings(tmp_path: Path) -> DaemonSettings:
    return DaemonSettings(data_dir=tmp_path / "data", history_url=url_of(tmp_path / "store"))


async def test_a_first_start_claims_an_empty_store(tmp_path: Path, bucket: FlakyBucket) -> None:
    claim = await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))
    assert (claim.epoch, newest_writer(bucket)) == (1, 1)


async def test_the_claim_is_above_every_other(tmp_path: Path, bucket: FlakyBucket) -> None:
    """Above those in the store, and above the directory's own openings."""
    for _ in range(3):
        async with open_history(tmp_path / "data", exchange=EXCHANGE) as history:
            history_id = history.history_id
    bind_bucket(bucket, EXCHANGE, history_id)
    assert (await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))).epoch == 4
    claim_epoch(bucket, 9, "elsewhere")
    assert (await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))).epoch == 10


async def test_a_new_directory_is_restored_first(tmp_path: Path, bucket: FlakyBucket) -> None:
    async with open_copied(tmp_path / "lost", bucket) as (history, uploader):
        await keep(history, [minute(1)])
        await caught_up(history, uploader, bucket)
    claim = await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))
    assert claim.epoch == 2
    async with open_history(tmp_path / "data", exchange=EXCHANGE, epoch_min=claim.epoch) as history:
        assert history.epoch == 2
        assert await history.newest_bars() == {"BTCUSDT": minute(1)}


async def test_a_new_directory_waits_for_the_store(tmp_path: Path, bucket: FlakyBucket) -> None:
    """It would begin another history. Readiness says what it waits for."""
    bucket.fails = lambda _what, _key: True
    lifecycle = Lifecycle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(claim_history, settings(tmp_path), EXCHANGE, lifecycle.open_store, Random(1))
        await until(lambda: len(bucket.asked) > 2)
        assert "the test says so" in " ".join(Readiness(lifecycle, {}).not_ready_reasons())
        bucket.fails = lambda _what, _key: False
    assert newest_writer(bucket) == 1
    assert read_identity(tmp_path / "data") is None


async def test_directory_with_bars_does_not_wait(
    tmp_path: Path, bucket: FlakyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few seconds: live bars come first."""
    async with open_history(tmp_path / "data", exchange=EXCHANGE):
        pass
    monkeypatch.setattr(object_storage, "PATIENCE_SECONDS", 0.3)
    bucket.fails = lambda _what, _key: True
    claim = await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))
    assert claim.epoch == 0
    async with open_history(tmp_path / "data", exchange=EXCHANGE, epoch_min=claim.epoch) as history:
        assert history.epoch == 2


async def test_failing_request_is_retried(tmp_path: Path, bucket: FlakyBucket) -> None:
    """A start repeats a request that failed once."""
    async with open_history(tmp_path / "data", exchange=EXCHANGE) as history:
        bind_bucket(bucket, EXCHANGE, history.history_id)
    bucket.asked.clear()
    bucket.fails = lambda _what, _key: len(bucket.asked) in (1, 4)
    claim = await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))
    assert claim.epoch == 2


async def test_another_history_ends_the_start(tmp_path: Path, bucket: FlakyBucket) -> None:
    """Waiting would not help."""
    bind_bucket(bucket, EXCHANGE, "0123456789abcdef")
    async with open_history(tmp_path / "data", exchange=EXCHANGE):
        pass
    with pytest.raises(OtherHistoryError, match="use another prefix"):
        await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))


async def test_directory_in_use_ends_the_start(tmp_path: Path, bucket: FlakyBucket) -> None:
    """A directory that another process holds ends the start, with who holds it."""
    async with open_history(tmp_path / "data", exchange=EXCHANGE) as history:
        bind_bucket(bucket, EXCHANGE, history.history_id)
        with pytest.raises(DataDirectoryError, match="is held by another"):
            await claim_history(settings(tmp_path), EXCHANGE, Lifecycle().open_store, Random(1))


class Serving:
    """As much of the serving parts as notices need."""

    def __init__(self, upload: UploadStatistics) -> None:
        self.upload = upload

    def upload_statistics(self) -> UploadStatistics:
        return self.upload


def notices(upload: UploadStatistics) -> tuple[str, ...]:
    lifecycle = Lifecycle()
    serving: ServingParts = Serving(upload)  # type: ignore[assignment]
    lifecycle.serve_stored(serving)
    return Readiness(lifecycle, {}).summary().notices


def test_status_says_how_far_behind_the_copy_is() -> None:
    """From two minutes on, with the reason; it is no reason to be not ready."""
    upload = UploadStatistics(url="s3://b/p", behind_seconds=90.0, files_waiting=2)
    assert notices(upload) == ()
    late = attrs.evolve(upload, behind_seconds=1234.5, problem="Cannot write x: it is away.")
    assert notices(late) == ("The history in s3://b/p is 1,234 s behind: Cannot write x: it is away.",)
    assert notices(attrs.evolve(late, problem=None))[0].endswith("behind: 2 files are being put.")


def test_status_names_a_fenced_copy() -> None:
    """Status says that another process writes the copy."""
    assert notices(UploadStatistics(fenced=True, problem="Another process writes.")) == (
        "Another process writes.",
    )


def test_without_a_url_the_library_is_not_imported() -> None:
    """The daemon, the commands and readers pay nothing for it."""
    code = (
        "import sys, candled.daemon.root, candled.daemon.store, candled.cli.sql_command, candled.cli.parts\n"
        "import candled.cli.verify_command, candled.history.connection, candled.history.durable\n"
        "sys.exit('obstore' in sys.modules or 'candled.history.objects.bucket' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
