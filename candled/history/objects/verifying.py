"""Verify a stored history, object by object, and set damaged objects aside. Blocking."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Final

from candled.domain.bar import Bar
from candled.history.checksums import checksum
from candled.history.objects.bucket import Bucket
from candled.history.objects.cache import HistoryCache
from candled.history.objects.keys import SET_ASIDE, key_of
from candled.history.objects.restoring import list_files, select_live
from candled.history.objects.unfillable_record import read_stored
from candled.history.segments.names import Recent, Segment
from candled.history.verify import NINE_FIELDS, Finding, FindingKind, Guard, check_files

Progress = Callable[[int, int, str], None]
_DIGITS: Final = 16


def verify_stored(
    bucket: Bucket,
    cache: HistoryCache,
    *,
    klines: Iterable[Bar] = (),
    compared: Sequence[str] = NINE_FIELDS,
    progress: Progress = lambda _done, _all, _what: None,
    guard: Guard = nullcontext,
) -> list[Finding]:
    """Read every live object, whatever the cache has, and return every finding; empty if the history is intact.

    Args:
        bucket: The stored history.
        cache: Its cache, in which the files are checked together.
        klines: The exchange's own 1-minute bars, to compare the stored ones with.
        compared: Names of the fields that its klines state.
        progress: Called for each object.
        guard: Entered while the bars are checked.

    Raises:
        ObjectStoreError: the store does not answer, or the cache cannot be written to.
    """
    damaged: list[Finding] = []
    whole: list[Segment | Recent] = []
    for file, content in _live_contents(bucket, progress):
        if is_whole(file, content):
            cache.add(file, content)
            whole.append(file)
        else:
            damaged.append(_finding(bucket, file))
    unfillable = read_stored(bucket)
    return damaged + check_files(cache.root, cache.listing(whole), list(klines), compared, unfillable, guard)


def set_damaged_objects_aside(bucket: Bucket, progress: Progress = lambda _done, _all, _what: None) -> list[str]:
    """Move damaged objects to ``set-aside/``: the daemon that writes the history puts whole ones in their place.

    Returns:
        Their keys.

    Raises:
        ObjectStoreError: the store does not answer.
    """
    found = []
    for file, content in _live_contents(bucket, progress):
        if not is_whole(file, content):
            digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
            bucket.put(f"{SET_ASIDE}/{digest}-{file.name}", content)
            bucket.delete([key_of(file)])
            found.append(key_of(file))
    return found


def is_whole(file: Segment | Recent, content: bytes) -> bool:
    """Return whether content is what the checksum in the name says."""
    return checksum(content) == file.checksum


def _live_contents(bucket: Bucket, progress: Progress) -> Iterator[tuple[Segment | Recent, bytes]]:
    live = select_live(list_files(bucket))
    for number, file in enumerate(live):
        progress(number, len(live), file.name)
        content = bucket.get(key_of(file))
        if content is not None:  # else superseded and deleted since the listing
            yield file, content
    progress(len(live), len(live), "")


def _finding(bucket: Bucket, file: Segment | Recent) -> Finding:
    text = (
        f"Object {key_of(file)} in {bucket.url} is damaged (its content does not match the checksum in its name): "
        "`candled repair --history` sets it aside."
    )
    if isinstance(file, Segment):
        return Finding(FindingKind.DAMAGED_FILE, text, file.symbol, file.start, file.end)
    return Finding(FindingKind.DAMAGED_FILE, text)
