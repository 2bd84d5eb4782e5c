"""The record of unfillable and disputed trades in the store: a restore needs it. Blocking.

An object is never replaced, so each state of the record is an object of its own, named by the writer's epoch and a
number; the last name counts. A state has what those before it had, so a restore adds it to what a directory knows.
"""

from collections.abc import Sequence
from pathlib import Path

from candled.history.durable_io import Files
from candled.history.objects.bucket import Bucket
from candled.history.objects.keys import UNFILLABLE, unfillable_key
from candled.history.unfillable import (
    Unfillable,
    encode_unfillable,
    parse_unfillable,
    read_unfillable,
    write_unfillable,
)


def read_stored(bucket: Bucket) -> tuple[Unfillable, ...]:
    """Return the record in the store; empty if there is none, or it cannot be parsed.

    Raises:
        ObjectStoreError: the store does not answer.
    """
    keys = [each.key for each in bucket.list(UNFILLABLE)]
    content = bucket.get(keys[-1]) if keys else None
    return () if content is None else tuple(parse_unfillable(content))


def put_record(bucket: Bucket, epoch: int, number: int, ranges: Sequence[Unfillable]) -> None:
    """Put a state of the record.

    Args:
        bucket: The history.
        epoch: Of the writer, which has claimed it.
        number: Higher than those of this writer before.
        ranges: What it has.

    Raises:
        ObjectStoreError: it may or may not be there.
    """
    bucket.put(unfillable_key(epoch, number), encode_unfillable(ranges))


def older_records(bucket: Bucket) -> list[str]:
    """Return the keys of all states but the last.

    Raises:
        ObjectStoreError: the store does not answer.
    """
    return [each.key for each in bucket.list(UNFILLABLE)][:-1]


def restore_record(root: Path, bucket: Bucket, files: Files) -> None:
    """Add what the store has to the record of a data directory.

    Raises:
        ObjectStoreError: the store does not answer.
        OSError: the directory cannot be written to.
    """
    known = read_unfillable(root)
    missing = [each for each in read_stored(bucket) if each not in set(known)]
    if missing:
        write_unfillable(root, [*missing, *known], files)
