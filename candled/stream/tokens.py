"""The opaque tokens of the API: where a stream can go on after a break, and where the next page begins."""

import base64
import struct
import zlib
from typing import Final

import attrs

from candled.domain.event import BarEvent
from candled.domain.interval import INTERVALS

_LIVE: Final = 1
_REPLAY: Final = 2
_PAGE: Final = 3
_LIVE_FORM: Final = struct.Struct(">BQBq")
_REPLAY_FORM: Final = struct.Struct(">BQqBq")
_PAGE_FORM: Final = struct.Struct(">Bq")
_CHECK: Final = struct.Struct(">I")
_NAMES: Final = tuple(INTERVALS)
_RANKS: Final = {name: rank for rank, name in enumerate(_NAMES)}
_LAST_RANK: Final = 0xFE
_LENGTH_MAX: Final = 200


@attrs.frozen(slots=True, order=True)
class LivePoint:
    """Everything up to this event of the journal's order was told.

    One position may tell bars of several intervals, shortest first: so the point names the bar too.
    """

    position: int
    rank: int
    open_time: int

    @classmethod
    def of(cls, event: BarEvent) -> "LivePoint":
        """The point right after ``event``."""
        return cls(event.position, _RANKS[event.bar.interval], event.bar.open_time)

    @classmethod
    def claimed(cls, event: BarEvent) -> "LivePoint":
        """What a stream that was told ``event`` may claim: less, while longer bars of earlier events are owed."""
        return cls.before(event.owed_from) if 0 < event.owed_from <= event.position else cls.of(event)

    @classmethod
    def before(cls, position: int) -> "LivePoint":
        """The point right before the first event of ``position``."""
        return cls(position, -1, 0)

    @classmethod
    def after(cls, position: int) -> "LivePoint":
        """The point right after the last event of ``position``."""
        return cls(position, _LAST_RANK, 0)

    def token(self) -> str:
        """The opaque form."""
        return _seal(_LIVE_FORM.pack(_LIVE, self.position, self.rank & 0xFF, self.open_time))


@attrs.frozen(slots=True)
class ReplayPoint:
    """A replay of stored bars broke off after one bar: all of lower (interval, symbol, open time) were told."""

    position: int
    """Newest position when the replay began: bars told before the break may have changed since."""
    start_time: int
    interval: str
    open_time: int
    symbol: str

    def token(self) -> str:
        """The opaque form."""
        fixed = _REPLAY_FORM.pack(_REPLAY, self.position, self.start_time, _RANKS[self.interval], self.open_time)
        return _seal(fixed + self.symbol.encode())


def parse_token(token: str) -> LivePoint | ReplayPoint:
    """Read a resume token.

    Raises:
        ValueError: not a token that this server gave.
    """
    try:
        body = _unseal(token)
        if body[0] == _LIVE:
            _, position, rank, open_time = _LIVE_FORM.unpack(body)
            return LivePoint(position, -1 if rank == 0xFF else rank, open_time)
        if body[0] == _REPLAY:
            _, position, start_time, rank, open_time = _REPLAY_FORM.unpack(body[: _REPLAY_FORM.size])
            return ReplayPoint(position, start_time, _NAMES[rank], open_time, body[_REPLAY_FORM.size :].decode())
        raise ValueError  # noqa: TRY301 - one sentence for every way to be wrong
    except (ValueError, IndexError, struct.error):
        raise ValueError(
            "resume_token is not one that this service gave: pass one on unchanged, or use start_time"
        ) from None


def page_token(start_time: int) -> str:
    """The token of the page whose first bar opens at ``start_time`` or later."""
    return _seal(_PAGE_FORM.pack(_PAGE, start_time))


def parse_page_token(token: str) -> int:
    """Where the page begins.

    Raises:
        ValueError: not a token that this server gave.
    """
    try:
        kind, start_time = _PAGE_FORM.unpack(_unseal(token))
        if kind != _PAGE:
            raise ValueError  # noqa: TRY301 - one sentence for every way to be wrong
    except (ValueError, struct.error):
        raise ValueError(
            "page_token is not one that this service gave: pass next_page_token on unchanged"
        ) from None
    return int(start_time)


def _seal(body: bytes) -> str:
    return base64.urlsafe_b64encode(body + _CHECK.pack(zlib.crc32(body))).decode().rstrip("=")


def _unseal(token: str) -> bytes:
    if len(token) > _LENGTH_MAX:
        raise ValueError
    data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    body, check = data[: -_CHECK.size], data[-_CHECK.size :]
    if _CHECK.unpack(check)[0] != zlib.crc32(body):
        raise ValueError
    return body
