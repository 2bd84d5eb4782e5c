"""Which process may write a history: one object for each opening of a data directory, created once.

Every opening has a number of its own, the epoch, which is in the names of its files. A process claims it by
creating ``writers/<epoch>.json``, and only one can. The highest claim is the writer: a process that sees a
higher one than its own stops writing. So files of two processes never have the same name, and what a process
still puts before it sees the claim harms nobody: its bars are as good, and those of the later writer stand in
files of their own.

Only the highest claim decides, so a writer may delete those below its own: a process that claims such a number
again sees the higher one before it puts anything.
"""

import json

from candled.history.objects.bucket import Bucket
from candled.history.objects.keys import WRITERS, parse_writer_key, writer_key


def newest_writer(bucket: Bucket, after: int = 0) -> int:
    """Return the highest epoch that is claimed; ``after`` if none above it is.

    Raises:
        ObjectStoreError: the store cannot be read.
    """
    found = (parse_writer_key(each.key) for each in bucket.list(WRITERS, writer_key(after)))
    return max((epoch for epoch in found if epoch is not None), default=after)


def claim_epoch(bucket: Bucket, epoch: int, nonce: str) -> bool:
    """Claim an epoch; return False if another process has it.

    Args:
        bucket: The history.
        epoch: Number of this opening.
        nonce: Random text of this process: an earlier try, whose answer was lost, counts.

    Raises:
        ObjectStoreError: it may or may not be claimed.
    """
    content = json.dumps({"epoch": epoch, "nonce": nonce}).encode()
    if bucket.put(writer_key(epoch), content):
        return True
    return bucket.get(writer_key(epoch)) == content


def older_claims(bucket: Bucket, epoch: int) -> list[str]:
    """Return the keys of the claims below an epoch.

    Raises:
        ObjectStoreError: the store cannot be read.
    """
    found = ((each.key, parse_writer_key(each.key)) for each in bucket.list(WRITERS))
    return [key for key, claimed in found if claimed is not None and claimed < epoch]
