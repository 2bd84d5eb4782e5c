"""What docs/object-storage.md says of reading a bucket without candled, word for word, on a folder."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from candled.domain.numbers import to_decimal
from tests.history.bars import minute
from tests.history.objects.support import DAY, caught_up, flaky, keep, open_copied, url_of

PAGE = (Path(__file__).parents[3] / "docs" / "object-storage.md").read_text("utf-8")
URL = "s3://my-bucket/candled"
BARS = [minute(number) for number in range(0, 2 * DAY, 5)]
REVISED = minute(5, revision=1, salt=1)
EXPECTED = [REVISED if bar.open_time == REVISED.open_time else bar for bar in [*BARS, minute(3 * DAY)]]
ROWS = [(bar.symbol, bar.revision, to_decimal(bar.close)) for bar in EXPECTED]


def block(language: str, word: str) -> str:
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if word in text]
    assert isinstance(found, str)
    return found


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """A folder with sealed and recent files, and a revision of a sealed bar."""
    bucket = flaky(tmp_path / "store")
    async with open_copied(tmp_path / "data", bucket) as (history, uploader):
        await keep(history, [*BARS, minute(3 * DAY)])
        await keep(history, [REVISED], 10_000)
        await caught_up(history, uploader, bucket)
    return tmp_path / "store"


async def test_duckdb_reads_the_newest_revision_of_every_bar(store: Path) -> None:
    recipe = block("sql", "read_parquet").replace(URL, str(store)).strip().rstrip(";")
    rows = duckdb.execute(f"SELECT symbol, revision, close FROM ({recipe})").fetchall()
    assert rows == ROWS


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
async def test_libraries_read_the_newest_revision_of_every_bar(store: Path, library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed: `make examples-test` has it")
    here = url_of(store) if library == "pyarrow" else str(store)
    names: dict[str, Any] = {}
    exec(block("python", f"import {library}").replace(URL, here), names)
    columns = ("symbol", "revision", "close")
    found = [names["bars"][name] for name in columns]
    rows = zip(*(each.to_pylist() if library == "pyarrow" else each.to_list() for each in found), strict=True)
    assert list(rows) == ROWS
