"""Resume points of streams, and the API's opaque tokens that encode them.

A client may keep a token for months and present it to another version of candled, or to another data directory.
So it has a version of its format, the identity of the history that its position belongs to, and the
interval by its name; ``tests/stream/test_resume_tokens.py`` holds the bytes of each kind.

A token is base64url without padding of version (1 byte), kind (1), fields by kind, and CRC-32 of all that (4).
Numbers are big-endian. Fields:

=========  =================================================================================================
BEFORE     history (8), position (8)
AT         history (8), position (8), open time (8), interval (the rest)
AFTER      history (8), position (8)
REPLAY     history (8), position (8), start time (8), open time (8), length of interval (1), interval, symbol
PAGE       start time (8): pages are by time, which is the same everywhere
=========  =================================================================================================
"""

import base64
import struct
import zlib
from enum import IntEnum
from typing import Final

import attrs

from candled.domain.event import BarEvent
from candled.domain.interval import INTERVALS
from candled.domain.limits import is_symbol, is_time

VERSION: Final = 0x10
"""Version of the format. Tokens of the first format began with 1, 2 or 3, without history and interval."""

HISTORY_ID_BYTES: Final = 8

_FIRST_FORM: Final = range(1, 4)
_HEAD: Final = struct.Struct(">BB")
_POSITION: Final = struct.Struct(f">{HISTORY_ID_BYTES}sQ")
_TIME: Final = struct.Struct(">q")
_REPLAY: Final = struct.Struct(">qqB")
_CHECK: Final = struct.Struct(">I")
_NAMES: Final = tuple(INTERVALS)
_RANKS: Final = {name: rank for rank, name in enumerate(_NAMES)}
"""Shortest first: the order of the events of one position. Ranks never leave the process."""
_BEFORE_ALL: Final = -1
_AFTER_ALL: Final = len(_NAMES)
_LENGTH_MAX: Final = 200


class _Kind(IntEnum):
    BEFORE = 1
    AT = 2
    AFTER = 3
    REPLAY = 4
    PAGE = 5


class ResumeTokenError(ValueError):
    """A resume token cannot be used here; the text says why and what to do."""


@attrs.frozen(slots=True, order=True)
class LivePoint:
    """Everything up to this event of the journal's order was sent.

    One position may have bars of several intervals, shortest first: so the point names the bar too.
    """

    position: int
    rank: int
    open_time: int

    @classmethod
    def of(cls, event: BarEvent) -> "LivePoint":
        """Return the point right after ``event``."""
        return cls(event.position, _RANKS[event.bar.interval], event.bar.open_time)

    @classmethod
    def at(cls, position: int, interval: str, open_time: int) -> "LivePoint":
        """Return the point after the bar that opens at ``open_time`` (microseconds), changed at ``position``."""
        return cls(position, _RANKS[interval], open_time)

    @classmethod
    def claimed(cls, event: BarEvent) -> "LivePoint":
        """Return the point that a stream may claim after ``event``: lower while longer bars are pending."""
        return cls.before(event.resume_floor) if 0 < event.resume_floor <= event.position else cls.of(event)

    @classmethod
    def before(cls, position: int) -> "LivePoint":
        """Return the point right before the first event of ``position``."""
        return cls(position, _BEFORE_ALL, 0)

    @classmethod
    def after(cls, position: int) -> "LivePoint":
        """Return the point right after the last event of ``position``."""
        return cls(position, _AFTER_ALL, 0)


@attrs.frozen(slots=True)
class ReplayPoint:
    """A replay was interrupted after one bar: all stored bars of lower (interval, symbol, open time) were sent."""

    position: int
    """Newest position when the replay began: bars sent before the break may have changed since."""
    start_time: int
    interval: str
    open_time: int
    symbol: str


class ResumeTokens:
    """Writes and reads the resume tokens of one history.

    Args:
        history_id: identity of the history, 16 hexadecimal digits.
    """

    def __init__(self, history_id: str) -> None:
        self._history = bytes.fromhex(history_id)
        if len(self._history) != HISTORY_ID_BYTES:
            raise ValueError(f"history_id must be {2 * HISTORY_ID_BYTES} hexadecimal digits, not {history_id!r}")

    def encode(self, point: LivePoint | ReplayPoint) -> str:
        """Encode a point as a token."""
        start = _POSITION.pack(self._history, point.position)
        if isinstance(point, ReplayPoint):
            interval = point.interval.encode()
            times = _REPLAY.pack(point.start_time, point.open_time, len(interval))
            return _seal(_Kind.REPLAY, start + times + interval + point.symbol.encode())
        if point.rank == _BEFORE_ALL:
            return _seal(_Kind.BEFORE, start)
        if point.rank == _AFTER_ALL:
            return _seal(_Kind.AFTER, start)
        return _seal(_Kind.AT, start + _TIME.pack(point.open_time) + _NAMES[point.rank].encode())

    def decode(self, token: str) -> LivePoint | ReplayPoint:
        """Decode a token to a point.

        Raises:
            ResumeTokenError: not a token, one of another version, or one of another history.
        """
        try:
            kind, fields = _unseal(token)
            history, position = _POSITION.unpack_from(fields)
            point = _read_point(kind, position, fields[_POSITION.size :])
        except _OtherVersionError as error:
            raise ResumeTokenError(f"resume_token {error}: use start_time.") from None
        except (ValueError, struct.error):
            raise ResumeTokenError(
                "resume_token is not one that this service gave: pass one on unchanged, or use start_time."
            ) from None
        if history != self._history:
            raise ResumeTokenError(
                "resume_token is of another daemon's data directory: use it with that daemon, or use start_time."
            )
        return point


def page_token(start_time: int) -> str:
    """Encode the token of the page whose first bar opens at ``start_time`` or later, in microseconds."""
    return _seal(_Kind.PAGE, _TIME.pack(start_time))


def parse_page_token(token: str) -> int:
    """Decode the start of a page from its token, in microseconds.

    Raises:
        ValueError: not a token that this server issued.
    """
    try:
        kind, fields = _unseal(token)
        (start_time,) = _TIME.unpack(fields)
        _check(kind is _Kind.PAGE, is_time(start_time))
    except _OtherVersionError as error:
        raise ValueError(f"page_token {error}: ask for the first page again.") from None
    except (ValueError, struct.error):
        raise ValueError(
            "page_token is not one that this service gave: pass next_page_token on unchanged."
        ) from None
    return int(start_time)


class _OtherVersionError(Exception):
    """A token of another format; the text says which."""


def _read_point(kind: _Kind, position: int, fields: bytes) -> LivePoint | ReplayPoint:
    # The checksum detects accidents only; a forged token can contain anything.
    if kind is _Kind.REPLAY:
        start_time, open_time, length = _REPLAY.unpack_from(fields)
        names = fields[_REPLAY.size :]
        interval, symbol = names[:length].decode(), names[length:].decode()
        _check(is_time(start_time), is_time(open_time), interval in _RANKS, is_symbol(symbol))
        return ReplayPoint(position, start_time, interval, open_time, symbol)
    if kind is _Kind.AT:
        (open_time,) = _TIME.unpack_from(fields)
        interval = fields[_TIME.size :].decode()
        _check(is_time(open_time), interval in _RANKS)
        return LivePoint.at(position, interval, open_time)
    _check(kind is not _Kind.PAGE, not fields)
    return LivePoint.before(position) if kind is _Kind.BEFORE else LivePoint.after(position)


def _check(*conditions: bool) -> None:
    if not all(conditions):
        raise ValueError


def _seal(kind: _Kind, fields: bytes) -> str:
    body = _HEAD.pack(VERSION, kind) + fields
    return base64.urlsafe_b64encode(body + _CHECK.pack(zlib.crc32(body))).decode().rstrip("=")


def _unseal(token: str) -> tuple[_Kind, bytes]:
    _check(len(token) <= _LENGTH_MAX)
    data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    body, check = data[: -_CHECK.size], data[-_CHECK.size :]
    _check(len(body) >= _HEAD.size)
    _check(_CHECK.unpack(check)[0] == zlib.crc32(body))
    version, kind = _HEAD.unpack_from(body)
    if version in _FIRST_FORM:
        raise _OtherVersionError("is of an earlier version of candled")
    if version != VERSION:
        raise _OtherVersionError("is of a newer version of candled")
    return _Kind(kind), body[_HEAD.size :]
