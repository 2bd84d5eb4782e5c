"""Keys of objects. Plain: no I/O.

Below the prefix of a history, keys are the paths of a data directory: the same names decide which files are
live.

* ``bars/interval=1m/symbol=<symbol>/<name>`` and ``recent/<name>``: Parquet, see ``segments.names``.
* ``candled.json``: which history it is; written once.
* ``writers/<epoch>.json``: the claim of a writer, see ``writers``.
* ``unfillable/<epoch>-<number>.json``: a state of the record of unfillable trades, see ``unfillable_record``.
"""

import re
import urllib.parse
from typing import Final

from candled.history.segments.names import Recent, Segment, parse_recent, parse_segment

IDENTITY: Final = "candled.json"
WRITERS: Final = "writers"
UNFILLABLE: Final = "unfillable"
SEALED: Final = "bars"
RECENT: Final = "recent"
SET_ASIDE: Final = "set-aside"

_SYMBOL: Final = f"{SEALED}/interval=1m/symbol="
_WRITER: Final = re.compile(rf"{WRITERS}/(\d{{9}})\.json", re.ASCII)


def key_of(file: Segment | Recent) -> str:
    """Return the key of a Parquet file."""
    if isinstance(file, Recent):
        return f"{RECENT}/{file.name}"
    return f"{_SYMBOL}{urllib.parse.quote(file.symbol, safe='')}/{file.name}"


def parse_key(key: str) -> Segment | Recent | None:
    """Parse the key of a Parquet file whose name has a checksum; None for any other object."""
    folder, _, name = key.rpartition("/")
    file: Segment | Recent | None = None
    if folder == RECENT:
        file = parse_recent(name)
    elif folder.startswith(_SYMBOL) and "/" not in folder.removeprefix(_SYMBOL):
        file = parse_segment(urllib.parse.unquote(folder.removeprefix(_SYMBOL)), name)
    return None if file is None or file.checksum is None else file


def writer_key(epoch: int) -> str:
    """Return the key of the claim to an epoch; keys sort by epoch."""
    return f"{WRITERS}/{epoch:09d}.json"


def unfillable_key(epoch: int, number: int) -> str:
    """Return the key of a state of the record of unfillable trades; keys sort by writer and number."""
    return f"{UNFILLABLE}/{epoch:09d}-{number:09d}.json"


def parse_writer_key(key: str) -> int | None:
    """Parse the key of a claim; None for any other object."""
    match = _WRITER.fullmatch(key)
    return None if match is None else int(match[1])
