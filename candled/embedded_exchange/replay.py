"""A recorded market: the fills of a file, and for a captured stream its messages in the order they arrived.

Supported files: REST ``aggTrades`` and ``trades`` answers (JSON arrays), captured combined streams (lines of
``{"recv": seconds, "msg": {"stream", "data"}}``) and the public archive's zips of trades and aggTrades.

The market opens with the first minute that the recording covers completely and halts at the end of the last such
minute. REST serves earlier fills as history; later ones are left out. A capture is replayed from its first message
to its last; only completely covered minutes have klines over REST.

A recorded aggregate of several fills does not say how its quantity was divided. Where price and quantity of
the symbol have at most eight decimals together, no sum depends on that (nothing is truncated), so it is split: one
step for each fill but the last, which takes the rest. Elsewhere it is not split, and the symbol has no single
trades: its ``@trade`` stream is silent, and REST ``trades`` is an error.
"""

import csv
import hashlib
import io
import re
import zipfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from candled.embedded_exchange.market import DAY, MINUTE, Fill, SymbolRules
from candled.embedded_exchange.units import to_units

_SYMBOL_IN_NAME: Final = re.compile(r"(?:^|[_\-])([A-Z0-9]{5,20})(?=[_\-.])")
_DATE_IN_NAME: Final = re.compile(r"-(\d{4})-(\d{2})(?:-(\d{2}))?\.zip$")
_QUOTES: Final = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL")
_MICROSECONDS_FROM: Final = 10**14


@attrs.frozen(slots=True)
class Frame:
    """A captured message and when it is due, microseconds of exchange time."""

    due: int
    stream: str
    data: dict[str, Any]

    def in_unit(self, unit: int) -> dict[str, Any]:
        """Return the payload with times in units of this number of microseconds; recorded are milliseconds."""
        factor = 1000 // unit
        if factor == 1:
            return self.data
        data = {key: value * factor if key in ("E", "T") else value for key, value in self.data.items()}
        if "k" in data:
            # The close time is the last unit before the end, whatever the unit is.
            end = (data["k"]["T"] + 1) * factor - 1
            data["k"] = data["k"] | {"t": data["k"]["t"] * factor, "T": end}
        return data


@attrs.frozen(slots=True)
class _Recording:
    fills: dict[str, list[Fill]]
    start: int
    """When the market opens."""
    end: int
    """When it halts."""
    whole_start: int
    """Every trade is known from this time ..."""
    whole_end: int
    """... up to this time."""
    frames: tuple[Frame, ...] = ()


class ReplayMarket:
    """The market of one recorded file."""

    def __init__(self, identity: str, recording: _Recording) -> None:
        self._identity = identity
        self._recording = recording
        self.frames = recording.frames
        """Messages to pass through unchanged; their streams are not made from fills."""
        self._fills: dict[str, list[Fill]] = {}
        self._minutes: dict[str, dict[int, list[Fill]]] = {}
        self._rules: dict[str, SymbolRules] = {}
        for symbol, fills in recording.fills.items():
            self._rules[symbol] = rules = _rules(symbol, fills)
            split = [part for fill in fills if fill.time < recording.end for part in _split(fill, rules)]
            self._fills[symbol] = split
            minutes = self._minutes[symbol] = {}
            for fill in split:
                minutes.setdefault(fill.time // MINUTE, []).append(fill)

    @property
    def identity(self) -> str:
        """The file's name and the beginning of its SHA-256."""
        return self._identity

    @property
    def symbols(self) -> Mapping[str, SymbolRules]:
        """Every symbol in the recording."""
        return self._rules

    @property
    def start(self) -> int:
        """When the market opens."""
        return self._recording.start

    @property
    def end(self) -> int:
        """When the market halts."""
        return self._recording.end

    def blocks(self, symbol: str) -> range:
        """Return one block for each minute that the recording touches."""
        fills = self._fills[symbol]
        first = min(self._recording.start, fills[0].time if fills else self._recording.start)
        return range(first // MINUTE, (self._recording.end - 1) // MINUTE + 1)

    def block(self, symbol: str, index: int) -> Sequence[Fill]:
        """Return the fills of one minute."""
        return self._minutes[symbol].get(index, ())

    def block_start(self, symbol: str, index: int) -> int:
        """Return the time at which a block begins."""
        return index * MINUTE

    def block_at(self, symbol: str, time: int) -> int:
        """Return the index of the minute that holds ``time``, or of the nearest one recorded."""
        blocks = self.blocks(symbol)
        return min(max(time // MINUTE, blocks.start), blocks.stop - 1)

    def block_of_trade(self, symbol: str, trade_id: int) -> int:
        """Return the index of the minute that holds the trade id."""
        return self._block_of(symbol, bisect_left(self._fills[symbol], trade_id, key=attrgetter("last_id")))

    def block_of_aggregate(self, symbol: str, aggregate_id: int) -> int:
        """Return the index of the minute that holds the aggregate id."""
        return self._block_of(
            symbol, bisect_left(self._fills[symbol], aggregate_id, key=attrgetter("aggregate_id"))
        )

    def _block_of(self, symbol: str, place: int) -> int:
        fills = self._fills[symbol]
        return fills[place].time // MINUTE if place < len(fills) else self.blocks(symbol).stop - 1

    def is_trading(self, symbol: str, start: int, end: int) -> bool:
        """Return whether the market is open at some time of this range."""
        return start < self._recording.end and end > self._recording.start

    def has_kline(self, symbol: str, start: int, end: int) -> bool:
        """Return whether the recording covers this range completely."""
        return self._recording.whole_start <= start and end <= self._recording.whole_end


def load_recording(path: Path) -> ReplayMarket:
    """Read a recorded file; see the module for the forms.

    Raises:
        ValueError: it cannot be read or has no trades; the text says why.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the recording {path}: {error.strerror}") from None
    identity = f"replay {path.name} {hashlib.sha256(content).hexdigest()[:12]}"
    try:
        if path.suffix == ".zip":
            recording = _read_archive(path.name, content)
        elif path.suffix == ".jsonl":
            recording = _read_capture(content)
        else:
            recording = _read_rows(path.name, msgspec.json.decode(content, type=list[dict[str, Any]]))
    except (msgspec.DecodeError, zipfile.BadZipFile, UnicodeDecodeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path} is not a recording of trades or aggTrades in a known form: {type(error).__name__} {error}"
        ) from None
    return ReplayMarket(identity, recording)


def _read_rows(name: str, rows: Iterable[dict[str, Any]]) -> _Recording:
    fills = _in_order(_fill(row) for row in rows)
    if not fills:
        raise ValueError(f"the recording {name} is empty")
    return _whole_minutes(_symbol_in(name), fills, -(-fills[0].time // MINUTE) * MINUTE, fills[-1].time)


def _whole_minutes(symbol: str, fills: list[Fill], start: int, last: int) -> _Recording:
    end = last // MINUTE * MINUTE
    if start < end:
        return _Recording({symbol: fills}, start, end, start, end)
    # No minute is covered completely: replay everything, without klines.
    return _Recording({symbol: fills}, fills[0].time, fills[-1].time + 1, start, start)


def _read_archive(name: str, content: bytes) -> _Recording:
    date = _DATE_IN_NAME.search(name)
    if date is None or not ("-trades-" in name or "-aggTrades-" in name):
        raise ValueError(
            f"{name} is not an archive of trades or aggTrades: it should be named SYMBOL-trades-DATE.zip"
        )
    aggregated = "-aggTrades-" in name
    with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(archive.namelist()[0]) as file:
        lines = csv.reader(io.TextIOWrapper(file, "ascii"))
        columns = (
            ("a", "p", "q", "f", "l", "T", "m")
            if aggregated
            else ("id", "price", "qty", "", "time", "isBuyerMaker")
        )
        fills = _in_order(
            _fill(dict(zip(columns, line, strict=False))) for line in lines if line and line[0].isdigit()
        )
    if not fills:
        raise ValueError(f"the archive {name} is empty")
    year, month, day = int(date[1]), int(date[2]), int(date[3] or 1)
    start = int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    end = start + DAY if date[3] else int(following.timestamp()) * 1_000_000
    return _Recording({_symbol_in(name): fills}, start, end, start, end)


def _read_capture(content: bytes) -> _Recording:
    fills: dict[str, dict[int, Fill]] = {}
    seen_from: dict[str, int] = {}
    received: list[tuple[int, str, dict[str, Any]]] = []
    for line in content.splitlines():
        if not line.strip():
            continue
        entry = msgspec.json.decode(line)
        data = entry["msg"]["data"]
        received.append((int(entry["recv"] * 1_000_000), entry["msg"]["stream"], data))
        symbol = data["s"]
        seen_from.setdefault(symbol, _microseconds(data["E"]))
        by_id = fills.setdefault(symbol, {})
        if data["e"] in ("aggTrade", "trade"):
            fill = _fill(data)
            by_id[fill.first_id] = fill
    if not received:
        raise ValueError("the capture is empty")
    shift = _microseconds(received[0][2]["E"]) - received[0][0]
    frames = tuple(Frame(arrival + shift, stream, data) for arrival, stream, data in received)
    whole_start = -(-max(seen_from.values()) // MINUTE) * MINUTE
    whole_end = max(whole_start, frames[-1].due // MINUTE * MINUTE)
    ordered = {symbol: _in_order(by_id.values()) for symbol, by_id in fills.items()}
    newest = max((fill.time for symbol_fills in ordered.values() for fill in symbol_fills), default=0)
    end = max(frames[-1].due, newest) + 1
    return _Recording(ordered, frames[0].due, end, whole_start, whole_end, frames)


def _fill(row: Mapping[str, Any]) -> Fill:
    """Convert one recorded row or message: an aggregate, a trade of REST, or a trade of the stream."""
    if "f" in row:
        first, last, aggregate = int(row["f"]), int(row["l"]), int(row["a"])
    elif "t" in row:
        first = last = aggregate = int(row["t"])
    else:
        first = last = aggregate = int(row["id"])
    price, quantity = row.get("p", row.get("price")), row.get("q", row.get("qty"))
    maker = row["m"] if "m" in row else row["isBuyerMaker"]
    return Fill(
        first,
        last,
        aggregate,
        to_units(str(price)),
        to_units(str(quantity)),
        _microseconds(row["T"] if "T" in row else row["time"]),
        maker is True or str(maker).lower() == "true",
    )


def _in_order(fills: Iterable[Fill]) -> list[Fill]:
    """Sort fills by id and remove duplicates.

    Raises:
        ValueError: ids overlap or times go back, because the file is damaged or mixes symbols.
    """
    ordered = sorted({(fill.first_id, fill.last_id): fill for fill in fills}.values(), key=attrgetter("first_id"))
    for before, after in pairwise(ordered):
        if after.first_id <= before.last_id or after.time < before.time:
            raise ValueError(
                f"the recording is out of order at trade {after.first_id}: it is damaged or mixes symbols"
            )
    return ordered


def _split(fill: Fill, rules: SymbolRules) -> Iterator[Fill]:
    count = fill.last_id - fill.first_id + 1
    step = rules.step_size
    if count == 1 or rules.tick_size * step < 10**8 or fill.quantity < count * step:
        yield fill
        return
    for trade_id in range(fill.first_id, fill.last_id + 1):
        quantity = step if trade_id < fill.last_id else fill.quantity - step * (count - 1)
        yield msgspec.structs.replace(fill, first_id=trade_id, last_id=trade_id, quantity=quantity)


def _rules(symbol: str, fills: Sequence[Fill]) -> SymbolRules:
    """Derive tick and step from the finest numbers recorded."""
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote) and symbol != quote), "")
    tick = _finest(fill.price for fill in fills)
    step = _finest(fill.quantity for fill in fills)
    return SymbolRules(symbol, symbol.removesuffix(quote) if quote else symbol, quote or symbol, tick, step)


def _finest(numbers: Iterable[int]) -> int:
    step = 10**8
    for number in numbers:
        while number % step:
            step //= 10
    return step


def _symbol_in(name: str) -> str:
    found = _SYMBOL_IN_NAME.search(name)
    if found is None:
        raise ValueError(
            f"the name of the recording {name} does not hold a symbol: name it like BTCUSDT_trades.json"
        )
    return found[1]


def _microseconds(time: int | str) -> int:
    number = int(time)
    return number * 1000 if number < _MICROSECONDS_FROM else number
