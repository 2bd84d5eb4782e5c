"""Migrations of a data directory, each to the next format. An interrupted one is called again."""

import re
from pathlib import Path
from typing import Final

from candled.history.checksums import checksum
from candled.history.durable_io import Files

_WITHOUT_CHECKSUM: Final = re.compile(
    r"(\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d_\d{1,18}|\d{1,18}_\d{1,18}_\d{1,9})\.parquet"
)


def name_checksums(root: Path, files: Files) -> None:
    """Migrate format 1 to 2: add the checksum of its content to the name of every Parquet file.

    A file whose page checksums show damage keeps its name, and the following start sets it aside.
    """
    for folder in ("bars", "recent"):
        for path in sorted((root / folder).rglob("*.parquet")):
            if _WITHOUT_CHECKSUM.fullmatch(path.name):
                content = path.read_bytes()
                if _is_whole(content):
                    files.rename(path, path.with_name(f"{path.stem}_{checksum(content):08x}.parquet"))
                    files.sync_folder(path.parent)


def _is_whole(content: bytes) -> bool:
    import pyarrow as pa  # not before it is needed: most directories have the newest format
    import pyarrow.parquet as pq

    try:
        pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, ValueError):
        return False
    return True
