"""Keys are the paths of a data directory, whatever characters a symbol has."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import DAY
from candled.history.objects.bucket import open_bucket
from candled.history.objects.keys import key_of, parse_key, parse_writer_key, writer_key
from candled.history.segments.names import Recent, Segment
from candled.history.segments.paths import file_path

SYMBOLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@given(SYMBOLS, st.integers(0, 20_000), st.integers(0, 2**32 - 1))
def test_a_key_names_its_file(symbol: str, day: int, crc: int) -> None:
    """Nothing but the key is needed to know what an object is."""
    segment = Segment(symbol, day * DAY, (day + 1) * DAY, 7, checksum=crc)
    parsed = parse_key(key_of(segment))
    assert parsed == segment
    assert parsed is not None
    assert parsed.checksum == crc
    assert key_of(segment) == file_path(Path(), segment).as_posix()


def test_recent_files_have_keys_too() -> None:
    recent = Recent(3, 9, 1, checksum=5)
    assert parse_key(key_of(recent)) == recent
    assert key_of(recent) == file_path(Path(), recent).as_posix()


@pytest.mark.parametrize(
    "key",
    [
        "candled.json",
        "recent/000000000000001_000000000000001_0.parquet",
        "bars/interval=5m/symbol=A/2026-01-01_2026-01-02_000000000000001_00000000.parquet",
        "bars/interval=1m/symbol=A/B/2026-01-01_2026-01-02_000000000000001_00000000.parquet",
        "set-aside/000000000000001_000000000000001_0_00000000.parquet",
        "recent/x.parquet",
    ],
)
def test_other_objects_are_no_files(key: str) -> None:
    """A name without a checksum proves nothing, so it is not read either."""
    assert parse_key(key) is None


def test_claims_sort_by_epoch() -> None:
    assert writer_key(9) < writer_key(10)
    assert parse_writer_key(writer_key(123)) == 123
    assert parse_writer_key("writers/x.json") is None


def test_odd_symbols_survive_the_store(tmp_path: Path) -> None:
    """The store's library escapes names in its own way: what is listed is what was put."""
    bucket = open_bucket(tmp_path.as_uri())
    files = [Segment(symbol, 0, DAY, 1, checksum=2) for symbol in ("BTC-USD", "币安", "A/B", "A%2FB", "100% #?&=")]
    for file in files:
        assert bucket.put(key_of(file), b"x")
    assert {parse_key(each.key) for each in bucket.list("bars")} == set(files)
    assert all(bucket.get(key_of(file)) == b"x" for file in files)
