"""Bring a data directory up to what the object store has, before it is opened. Blocking.

An empty directory becomes a copy of the stored history. One that is there already gets the files that another
writer has put meanwhile, and those that it has lost itself. Files come under their own names, whole, sealed ones
first; a restore that was interrupted continues. Only at its end is an empty directory made a data directory.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs

from candled.history.checksums import checksum
from candled.history.directory import FORMAT, HISTORY_ID, lock_directory, read_identity, write_restored_identity
from candled.history.durable_io import Files
from candled.history.errors import not_writable
from candled.history.lost import LostMinutes, read_lost, write_lost
from candled.history.objects.bucket import Bucket
from candled.history.objects.empty_files import add_empty_files
from candled.history.objects.errors import ObjectStoreError, OtherHistoryError
from candled.history.objects.keys import IDENTITY, RECENT, SEALED, key_of, parse_key
from candled.history.objects.unfillable_record import restore_record
from candled.history.segments import paths
from candled.history.segments.names import Recent, Segment, live_recents, live_segments

Progress = Callable[[int, int, str], None]
"""Called with files done, files in total, and the name of the current file."""

LISTINGS_MAX: Final = 10
"""Listings in turn of which some object is gone by the time that it is read: writers keep them for minutes."""
_DOWNLOADS_AT_ONCE: Final = 8


@attrs.frozen
class HistoryIdentity:
    """Which history an object store holds."""

    exchange: str
    history_id: str


@attrs.frozen
class Restored:
    """What a restore did."""

    files: int
    """Files that were fetched."""
    objects: tuple[Segment | Recent, ...]
    """Every Parquet object of the listing."""
    damaged: tuple[Segment | Recent, ...]
    """Live objects whose content does not match the checksum in their names: not restored."""


def read_history_identity(bucket: Bucket) -> HistoryIdentity | None:
    """Return which history the store holds; None if it holds none.

    Raises:
        ObjectStoreError: it cannot be read.
        OtherHistoryError: it was written by another version, or is not a history.
    """
    content = bucket.get(IDENTITY)
    if content is None:
        return None
    try:
        document = json.loads(content)
        identity = HistoryIdentity(str(document["exchange"]), str(document["id"]))
        found_format = int(document["format"])
    except (ValueError, TypeError, KeyError):
        identity, found_format = HistoryIdentity("", ""), FORMAT
    if HISTORY_ID.fullmatch(identity.history_id) is None:  # it is in paths of the cache
        raise OtherHistoryError(
            f"Object {IDENTITY} in {bucket.url} is not candled's: use another prefix for the history."
        )
    if found_format != FORMAT:
        raise OtherHistoryError(
            f"The history in {bucket.url} has format {found_format}, and this candled writes {FORMAT}: "
            "use the candled that wrote it, or another prefix."
        )
    return identity


def bind_bucket(bucket: Bucket, exchange: str, history_id: str) -> None:
    """Make sure that the store holds this history, or make it so where it holds none.

    Raises:
        ObjectStoreError: the store does not answer.
        OtherHistoryError: it holds another one.
    """
    identity = read_history_identity(bucket)
    if identity is None:
        document = {"format": FORMAT, "exchange": exchange, "id": history_id}
        bucket.put(IDENTITY, (json.dumps(document, indent=2) + "\n").encode())
        identity = read_history_identity(bucket)
    if identity is None:
        raise ObjectStoreError(f"Object {IDENTITY} in {bucket.url} is not there after it was written.")
    _check(bucket, identity, exchange, history_id)


def restore(
    root: Path,
    bucket: Bucket,
    *,
    exchange: str = "",
    epoch: int = 0,
    files: Files | None = None,
    progress: Progress = lambda _done, _all, _what: None,
) -> Restored:
    """Fetch what the store has and a data directory lacks.

    Args:
        root: The data directory; it may be new.
        bucket: The stored history; where it holds none, nothing happens.
        exchange: Identity of the exchange whose bars are wanted; empty: any.
        epoch: Highest number that any opening of this history had.
        files: File operations.
        progress: Called for each file.

    Raises:
        ObjectStoreError: the store does not answer; what was fetched stays.
        OtherHistoryError: the store holds another history than the directory, or another exchange's.
        DataDirectoryError: the directory cannot be used.
    """
    identity = read_history_identity(bucket)
    if identity is None:
        return Restored(0, (), ())
    writing = files or Files()
    with lock_directory(root, writing):
        known = read_identity(root)
        _check(bucket, identity, exchange, "" if known is None else str(known.get("id", "")))
        if known is not None:
            _check(bucket, identity, str(known.get("exchange", "")), "")
        try:
            restored = _fetch_all(root, bucket, writing, progress)
            _record_lost(root, restored.damaged, writing)
            restore_record(root, bucket, writing)
            example = next((paths.file_path(root, file) for file in _there(root)), None)
            add_empty_files(root, example, writing.publish)
            if known is None:
                write_restored_identity(root, identity.exchange, epoch, identity.history_id, writing)
        except OSError as error:
            raise not_writable(root, error) from error
    return restored


def list_files(bucket: Bucket) -> list[Segment | Recent]:
    """Return the Parquet objects of a history, superseded ones too.

    Recent files are listed first: what leaves them between the two lists is in sealed files by then.

    Raises:
        ObjectStoreError: the store does not answer.
    """
    found = [*bucket.list(RECENT), *bucket.list(SEALED)]
    return [file for each in found if (file := parse_key(each.key)) is not None]


def select_live(files: Iterable[Segment | Recent]) -> list[Segment | Recent]:
    """Return the files that no other one supersedes, sealed ones first."""
    listed = list(files)
    segments = live_segments(file for file in listed if isinstance(file, Segment))
    return [*segments, *live_recents(file for file in listed if isinstance(file, Recent))]


def _missing(root: Path, objects: Sequence[Segment | Recent]) -> list[Segment | Recent]:
    """Return the files that would be live in the directory and are not there, in the order to fetch them."""
    there = set(_there(root))
    return [file for file in select_live([*there, *objects]) if file not in there]


def _there(root: Path) -> Iterator[Segment | Recent]:
    yield from paths.find_segments(root)
    yield from paths.find_recents(root)


def _fetch_all(root: Path, bucket: Bucket, files: Files, progress: Progress) -> Restored:
    """Fetch what is missing; list again while a writer deletes what was listed."""
    fetched = 0
    damaged: set[Segment | Recent] = set()
    for _ in range(LISTINGS_MAX):
        objects = list_files(bucket)
        missing = [file for file in _missing(root, objects) if file not in damaged]
        whole = gone = 0
        segments = [file for file in missing if isinstance(file, Segment)]
        recents = [file for file in missing if isinstance(file, Recent)]
        for group in (segments, recents):  # a recent file may lack rows that sealed ones have
            for file, content in _contents(bucket, group):
                if content is None:
                    gone += 1
                elif checksum(content) != file.checksum:
                    damaged.add(file)
                else:
                    files.publish(paths.file_path(root, file), content)
                    whole += 1
                progress(fetched + whole, fetched + len(missing), file.name)
        fetched += whole
        if not gone:
            return Restored(fetched, tuple(objects), tuple(sorted(damaged, key=key_of)))
    raise ObjectStoreError(f"Objects that {bucket.url} lists cannot be read: they do not exist.")


def _contents(
    bucket: Bucket, wanted: Sequence[Segment] | Sequence[Recent]
) -> Iterator[tuple[Segment | Recent, bytes | None]]:
    """Yield files with what the store has of them, a few at a time."""
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for start in range(0, len(wanted), _DOWNLOADS_AT_ONCE):
            part = wanted[start : start + _DOWNLOADS_AT_ONCE]
            yield from zip(part, pool.map(lambda file: bucket.get(key_of(file)), part), strict=True)


def _record_lost(root: Path, damaged: Iterable[Segment | Recent], files: Files) -> None:
    """Record the minutes of damaged sealed objects, to be fetched from the exchange again.

    Those of a damaged recent object are found missing when the engine is restored.
    """
    lost = {LostMinutes(each.symbol, each.start, each.end) for each in damaged if isinstance(each, Segment)}
    if lost:
        write_lost(root, sorted(lost.union(read_lost(root))), files)


def _check(bucket: Bucket, identity: HistoryIdentity, exchange: str, history_id: str) -> None:
    if exchange and identity.exchange != exchange:
        raise OtherHistoryError(
            f"The history in {bucket.url} has bars of {identity.exchange}, not of {exchange}: use another prefix."
        )
    if history_id and identity.history_id != history_id:
        raise OtherHistoryError(
            f"The history in {bucket.url} is another one than that of the data directory (identity "
            f"{identity.history_id}, not {history_id}): use another prefix, or an empty data directory, which is "
            "restored from it."
        )
