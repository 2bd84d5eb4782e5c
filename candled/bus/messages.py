"""Subjects and payloads of the bus.

Every payload begins with the version of its form, one byte. Bars are positional MessagePack: 130 bytes an event. A
payload that is not of this form raises ``PayloadError``: its reader drops and counts it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from candled.bus.roster import IngesterStatus
from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.domain.interval import MINUTE, ONE_MINUTE
from candled.domain.limits import is_symbol, is_time

VERSION: Final = b"\x01"
PREFIX: Final = "candled.v1"
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

_BarFields = tuple[  # in the order of the fields of ``Bar``
    str, str, int, int, int, int, int, int, int, int, int, int, int, int, int, int, bool, bool, int, int
]
_KINDS: Final = {int(kind): kind for kind in BarEventKind}
_encoder: Final = msgspec.msgpack.Encoder()
_events: Final = msgspec.msgpack.Decoder(list[tuple[int, int, _BarFields]])
_report: Final = msgspec.msgpack.Decoder(IngesterStatus)


class PayloadError(ValueError):
    """A payload is malformed, or of another version; the text says which."""


def token_of(name: str) -> str:
    """Escape a name as one token of a subject: a symbol may hold dots and characters of any script."""
    return "".join(
        letter if letter in _PLAIN else "".join(f"={byte:02X}" for byte in letter.encode()) for letter in name
    )


class Subjects:
    """Subjects of one exchange.

    Args:
        exchange: the exchange's name, as the setting has it.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = token_of(exchange)

    @property
    def stream(self) -> str:
        """Name of the stream that is the log."""
        return f"CANDLED_{self._exchange.upper()}"

    @property
    def every_close(self) -> str:
        """Subjects of the log."""
        return f"{PREFIX}.closed.{self._exchange}.>"

    def close(self, symbol: str) -> str:
        """Return the subject of a symbol's closed bars."""
        return f"{PREFIX}.closed.{self._exchange}.{token_of(symbol)}"

    def update(self, symbol: str, rank: int) -> str:
        """Return the subject of a symbol's updates by an ingester of this rank."""
        return f"{PREFIX}.update.{self._exchange}.{token_of(symbol)}.{rank}"

    def updates(self, rank: int | None = None) -> str:
        """Return the subject of every symbol's updates, of one rank or of all."""
        return f"{PREFIX}.update.{self._exchange}.*.{'*' if rank is None else rank}"

    @property
    def status(self) -> str:
        """Subject of the ingesters' reports."""
        return f"{PREFIX}.status.{self._exchange}"

    @property
    def forming(self) -> str:
        """Subject of requests for the forming bars."""
        return f"{PREFIX}.forming.{self._exchange}"


def encode_events(events: Sequence[BarEvent]) -> bytes:
    """Encode 1-minute bar events; positions are the log's and are left out."""
    fields = msgspec.structs.astuple
    return VERSION + _encoder.encode([(int(each.kind), each.exchange_time, fields(each.bar)) for each in events])


def decode_events(payload: bytes, position: int = 0) -> list[BarEvent]:
    """Decode 1-minute bar events.

    Args:
        payload: what ``encode_events`` made.
        position: given to each event.

    Raises:
        PayloadError: it is not of this form, or of another version.
    """
    try:
        rows = _events.decode(_content(payload))
        events = [BarEvent(_KINDS[kind], Bar(*fields), time, position) for kind, time, fields in rows]
    except (msgspec.DecodeError, KeyError) as error:
        raise PayloadError(f"not bar events: {error}") from None
    for event in events:
        bar = event.bar
        if not (
            bar.interval == ONE_MINUTE.name
            and is_time(bar.open_time)
            and bar.open_time % MINUTE == 0
            and bar.close_time == bar.open_time + MINUTE
            and is_symbol(bar.symbol)
        ):
            raise PayloadError("an event is not of a 1-minute bar")
    return events


def encode_report(report: IngesterStatus) -> bytes:
    """Encode an ingester's report of itself."""
    return VERSION + _encoder.encode(report)


def decode_report(payload: bytes) -> IngesterStatus:
    """Decode an ingester's report of itself.

    Raises:
        PayloadError: it is not of this form, or of another version.
    """
    try:
        return _report.decode(_content(payload))
    except msgspec.DecodeError as error:
        raise PayloadError(f"not a report: {error}") from None


def _content(payload: bytes) -> memoryview:
    if payload[:1] != VERSION:
        raise PayloadError(f"version {payload[:1].hex() or 'missing'} of the form is not known")
    return memoryview(payload)[1:]
