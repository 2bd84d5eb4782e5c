"""What README says of reading the history, word for word."""

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
import trio

from candled.domain.numbers import to_decimal
from candled.history import HistorySettings, connect, open_history
from tests.history.bars import events, minute

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
BARS = [minute(number) for number in range(0, 2 * 1440, 5)]
KEPT_HOW = HistorySettings(grace=0.0, seal_delay=0.0)


def blocks(language: str, word: str) -> list[str]:
    """Code blocks of README in that language that hold a word."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return [block for block in found if word in block]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a history where the recipes look for one; it has no bars yet."""
    monkeypatch.chdir(tmp_path)
    keep(tmp_path / "candled-data", [])
    return tmp_path / "candled-data"


def keep(path: Path, bars: Sequence[object]) -> None:
    async def main() -> None:
        async with open_history(path, exchange="x", settings=KEPT_HOW) as history:
            await history.store(events(bars, history.epoch << 32))  # type: ignore[arg-type]
            await history.publish()
            while await history.keep():
                pass

    trio.run(main)


def test_plain_duckdb_query(data: Path) -> None:
    """The query of the README gives every bar once, in its newest revision."""
    [recipe] = blocks("sql", "read_parquet")
    assert duckdb.execute(recipe).fetchall() == []
    keep(data, BARS)
    keep(data, [minute(5, revision=1, salt=1)])
    rows = duckdb.execute(f"SELECT epoch_us(open_time), revision, close FROM ({recipe.rstrip().rstrip(';')})")
    expected = [minute(5, revision=1, salt=1) if bar == minute(5) else bar for bar in BARS]
    assert [(bar.open_time, bar.revision, to_decimal(bar.close)) for bar in expected] == rows.fetchall()


def test_bars_between_gives_the_bars_of_its_time(data: Path) -> None:
    [recipe] = blocks("sql", "bars_between")
    keep(data, BARS)
    here = recipe.replace("2026-06-01", "2026-01-01 10:00").replace("2026-07-01", "2026-01-01 20:00")
    with connect(data) as connection:
        assert len(connection.execute(here).fetchall()) == 10


@pytest.mark.parametrize(
    ("method", "library"),
    [
        (".to_arrow_table()", "pyarrow"),
        (".pl()", "polars"),
        ("(types_mapper=pd.ArrowDtype)", "pandas"),
        (".df()", "pandas"),
    ],
)
def test_query_as_data_frames(data: Path, method: str, library: str) -> None:
    """A query becomes an Arrow, Polars or pandas table in one line."""
    pytest.importorskip(library, reason=f"{library} is not installed: `make examples-test` has it")
    keep(data, BARS)
    [recipe] = blocks("python", "candled.history")
    *preparation, arrow, polars, exact, floats = recipe.strip().splitlines()
    if library != "pandas":
        preparation.remove("import pandas as pd")
    [line] = [line for line in (arrow, polars, exact, floats) if line.partition("#")[0].rstrip().endswith(method)]
    names: dict[str, object] = {}
    exec("\n".join(preparation), names)
    assert len(eval(line.partition("#")[0], names)) == 47
