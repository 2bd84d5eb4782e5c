"""Archive files that are not what they should be: refused by name, or taken as they are meant."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from candled.backfill import binance_archive
from candled.backfill.from_archive import ImportReport, import_archives
from candled.domain.bar import Bar
from candled.domain.interval import MINUTE
from candled.errors import UserError
from candled.history import open_history
from tests.history.bars import START

MILLISECOND = START // 1000
DAY = "2026-01-01"
TRADES_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n"


def pack(
    folder: Path,
    name: str,
    text: str,
    *,
    member: str | None = None,
    checksum: str | None = None,
    extra: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """An archive file of this text; ``checksum`` may use ``{digest}`` and ``{name}``."""
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(member or f"{name}.csv", text.encode())
        for extra_name, content in extra.items():
            packed.writestr(extra_name, content)
    if checksum is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / f"{name}.zip.CHECKSUM").write_text(checksum.format(digest=digest, name=path.name), "utf-8")
    return path


def trades(first_id: int, count: int, *, day: int = 0) -> str:
    """A trade a minute."""
    return "".join(
        f"{first_id + number},4.50000000,2.00000000,9.00000000,"
        f"{MILLISECOND + day * 86_400_000 + number * 60_000 + 5},false,true\n"
        for number in range(count)
    )


def kline(minute: float, *, low: str = "1.5", high: str = "2.5", volume: str = "10.0", quote: str = "20.0") -> str:
    """A kline that opens ``minute`` minutes after the start."""
    opened = MILLISECOND + round(minute * 60_000)
    return f"{opened},2.0,{high},{low},2.0,{volume},{opened + 59_999},{quote},7,1.0,2.0,0\n"


async def take(folder: Path, *paths: Path) -> tuple[ImportReport, list[Bar]]:
    """Import files into a fresh directory."""
    report = await import_archives(folder / "data", paths, exchange="x")
    async with open_history(folder / "data", exchange="x") as history:
        return report, [bar for symbol in await history.symbols() for bar in await history.bars(symbol, "1m")]


@pytest.mark.parametrize("header", ["", TRADES_HEADER], ids=["no header", "header"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
async def test_first_trade_is_kept(tmp_path: Path, header: str, ends: str, mark: str) -> None:
    """Neither a byte order mark nor a header nor the ends of lines cost a trade."""
    text = mark + (header + trades(100, 4)).replace("\n", ends)
    _, bars = await take(tmp_path, pack(tmp_path, f"AAAUSDT-trades-{DAY}", text))
    assert [bar.first_trade_id for bar in bars] == [100, 101, 102, 103]


@pytest.mark.parametrize("before", [" ", "'", "+", "-", "\0", "\t", '"'])
async def test_first_row_that_cannot_be_is_no_header(tmp_path: Path, before: str) -> None:
    """It is refused and counted: a header begins with a letter."""
    text = before + trades(100, 4).replace(",", f"{before if before == chr(34) else ''},", 1)
    report, bars = await take(tmp_path, pack(tmp_path, f"AAAUSDT-trades-{DAY}", text))
    assert [bar.first_trade_id for bar in bars] == [101, 102, 103]
    assert report.rows_refused == 1


async def test_half_a_row_at_the_end_is_counted(tmp_path: Path) -> None:
    """Where a file ends within a row, that row is refused by name."""
    text = trades(100, 4)[:-17]
    report, bars = await take(tmp_path, pack(tmp_path, f"AAAUSDT-trades-{DAY}", text))
    assert [bar.first_trade_id for bar in bars] == [100, 101, 102]
    assert report.rows_refused == 1


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
async def test_other_packing_is_refused(tmp_path: Path, packing: int) -> None:
    """The archive's files are deflated."""
    path = tmp_path / f"AAAUSDT-trades-{DAY}.zip"
    with zipfile.ZipFile(path, "w", packing) as packed:
        packed.writestr(f"AAAUSDT-trades-{DAY}.csv", trades(100, 4))
    with pytest.raises(UserError, match="compressed by a method"):
        await take(tmp_path, path)


@pytest.mark.parametrize(
    ("offsets", "change"),
    [((6, 8), 1), ((8, 10), 90), ((8, 10), 9)],
    ids=["encrypted", "unknown packing", "deflate64"],
)
async def test_file_that_cannot_be_unpacked_is_refused(
    tmp_path: Path, offsets: tuple[int, int], change: int
) -> None:
    """With a sentence: its flags and its packing stand in two places of a zip file."""
    path = pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(100, 4))
    content = bytearray(path.read_bytes())
    content[offsets[0]] ^= change
    content[content.index(b"PK\x01\x02") + offsets[1]] ^= change
    path.write_bytes(content)
    with pytest.raises(UserError, match="encrypted"):
        await take(tmp_path, path)


@pytest.mark.parametrize("place", [0, 3, 11])
async def test_broken_packing_is_refused(tmp_path: Path, place: int) -> None:
    """With a sentence, whatever the library makes of it."""
    path = pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(100, 40))
    content = bytearray(path.read_bytes())
    begin = content.index(b".csv") + 4 + place
    for at in range(begin, begin + 9):
        content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="download it again"):
        await take(tmp_path, path)


def test_unpacking_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to very much is none of the archive's."""
    monkeypatch.setattr(binance_archive, "_UNPACKED_BYTES_MIN", 1 << 12)
    path = pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(100, 1) * 20_000)
    with pytest.raises(UserError, match="not a complete archive file"):
        binance_archive.read_minutes(binance_archive.parse_archive(path), tmp_path)


@pytest.mark.parametrize("quote", ["14.9", "25.00000001"])
async def test_klines_whose_quote_volume_lies_outside_their_range_are_refused(tmp_path: Path, quote: str) -> None:
    """No trades between lowest and highest price add up to it."""
    text = kline(0) + kline(1, quote=quote) + kline(2)
    report, bars = await take(tmp_path, pack(tmp_path, "AAAUSDT-1m-2026-01", text))
    assert [bar.open_time for bar in bars] == [START, START + 2 * MINUTE]
    assert [(refusal.reason, refusal.count) for refusal in report.refused] == [
        ("its numbers contradict each other", 1)
    ]


async def test_klines_off_the_minute_are_refused(tmp_path: Path) -> None:
    """Klines that do not open on a minute are left out, counted and named; the others are taken."""
    text = kline(0) + kline(5.25) + kline(6.25) + kline(8)
    report, bars = await take(tmp_path, pack(tmp_path, "AAAUSDT-1m-2026-01", text))
    assert [bar.open_time for bar in bars] == [START, START + 8 * MINUTE]
    [refusal] = report.refused
    assert (refusal.reason, refusal.count) == ("its open time is not on the minute", 2)
    assert refusal.first_open_time == START + 5 * MINUTE + MINUTE // 4


@pytest.mark.parametrize(
    "impossible",
    [
        kline(1, low="2.1"),
        kline(1, high="1.9"),
        kline(1, low="0.0"),
        kline(1, volume="0.5"),
        kline(1, quote="1.5", volume="1.0"),
        kline(1, volume="0.0", quote="0.0").replace(",1.0,2.0,0\n", ",0.0,0.0,0\n"),
    ],
    ids=["low", "high", "zero", "taker", "taker quote", "trades without volume"],
)
async def test_impossible_klines_are_refused(tmp_path: Path, impossible: str) -> None:
    """A kline whose own numbers contradict each other is left out and counted."""
    report, bars = await take(tmp_path, pack(tmp_path, "AAAUSDT-1m-2026-01", kline(0) + impossible + kline(2)))
    assert [bar.open_time for bar in bars] == [START, START + 2 * MINUTE]
    assert [(refusal.reason, refusal.count) for refusal in report.refused] == [
        ("its numbers contradict each other", 1)
    ]


@pytest.mark.parametrize("symbol", ["BTCUSD_PERP", "ETHUSD_260327", "BTCUSDT_260626"])
async def test_futures_symbols_are_refused(tmp_path: Path, symbol: str) -> None:
    """The name alone says that a file is of the futures market."""
    with pytest.raises(UserError, match=r"futures market.*spot market"):
        await take(tmp_path, pack(tmp_path, f"{symbol}-1m-{DAY}", kline(0)))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("volume", "quote"), [("409953", "1202.97118037"), ("12", "0.00012")])
async def test_volumes_in_contracts_are_refused(tmp_path: Path, volume: str, quote: str) -> None:
    """A file whose quote volumes are nowhere near price times volume is of another market, whatever its name."""
    text = "".join(kline(n, low="30000.5", high="35000.0", volume=volume, quote=quote) for n in range(3))
    text = text.replace(",2.0,35000.0,", ",34000.0,35000.0,").replace(",30000.5,2.0,", ",30000.5,34000.0,")
    with pytest.raises(UserError, match="is of another market"):
        await take(tmp_path, pack(tmp_path, f"BTCUSDT-1m-{DAY}", text))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("trades", f"100,10.0,1.0,10.0,{MILLISECOND},true\n"),
        ("aggTrades", f"7,10.0,1.0,100,101,{MILLISECOND},true\n"),
    ],
)
@pytest.mark.parametrize("header", ["", "names,of,columns\n"], ids=["no header", "header"])
async def test_columns_of_futures_are_refused(tmp_path: Path, kind: str, row: str, header: str) -> None:
    """Rows without the last column of spot files are named as those of another market."""
    with pytest.raises(UserError, match="as files of the futures market do"):
        await take(tmp_path, pack(tmp_path, f"AAAUSDT-{kind}-{DAY}", header + row))


async def test_repeated_aggregate_ids_are_distinguished(tmp_path: Path) -> None:
    """Two aggregates with the same id are distinguished by their trade ids."""
    first_day = (
        f"554,2.0,3.0,667,668,{MILLISECOND + 86_340_000},true,true\n"
        f"555,2.0,8.0,669,669,{MILLISECOND + 86_399_000},true,true\n"
    )
    second_day = (
        f"555,3.0,9.0,670,670,{MILLISECOND + 86_400_000},true,true\n"
        f"556,3.0,1.0,671,681,{MILLISECOND + 86_460_000},true,true\n"
    )
    days = [first_day, second_day]
    names = [f"AAAUSDT-aggTrades-2026-01-0{number}" for number in (1, 2)]
    _, bars = await take(tmp_path, *(pack(tmp_path, *each) for each in zip(names, days, strict=True)))
    assert [(bar.first_trade_id, bar.last_trade_id, bar.trade_count) for bar in bars] == [
        (667, 669, 3),
        (670, 670, 1),
        (671, 681, 11),
    ]


async def test_another_files_table_is_refused(tmp_path: Path) -> None:
    """A zip that was renamed holds what its table's name says."""
    path = pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(1, 2), member=f"BBBUSDT-trades-{DAY}.csv")
    with pytest.raises(UserError, match=r"holds BBBUSDT-trades-2026-01-01\.csv"):
        await take(tmp_path, path)


async def test_files_beside_the_table_are_ignored(tmp_path: Path) -> None:
    """Files that a system puts beside the table do not keep it from being read."""
    path = pack(
        tmp_path,
        f"AAAUSDT-trades-{DAY}",
        trades(1, 2),
        extra={f"__MACOSX/._AAAUSDT-trades-{DAY}.csv": b"\0\5\26\7"},
    )
    _, bars = await take(tmp_path, path)
    assert len(bars) == 2


@pytest.mark.parametrize(
    "form",
    ["{digest}  {name}\n", "{digest} *{name}\n", "\ufeff{digest}  {name}\n", "SHA256 ({name}) = {digest}\n"],
    ids=["plain", "binary", "marked", "bsd"],
)
async def test_checksums_are_read_in_every_form(tmp_path: Path, form: str) -> None:
    """The form of a checksum file depends on the program that wrote it."""
    report, bars = await take(tmp_path, pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(1, 2), checksum=form))
    assert len(bars) == 2
    assert report.files_without_checksum == []


@pytest.mark.parametrize("text", ["", "not found\n", "{name}\n"])
async def test_checksum_file_without_checksum_is_refused(tmp_path: Path, text: str) -> None:
    """A checksum file that holds none is no reason to skip the check."""
    with pytest.raises(UserError, match="holds no SHA-256"):
        await take(tmp_path, pack(tmp_path, f"AAAUSDT-trades-{DAY}", trades(1, 2), checksum=text))
