"""Opaque tokens: their bytes, what comes back of them, and what is refused."""

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import INTERVALS
from candled.domain.limits import TIME_MAX, TIME_MIN, is_symbol
from candled.stream import resume
from candled.stream.resume import (
    LivePoint,
    ReplayPoint,
    ResumeTokenError,
    ResumeTokens,
    page_token,
    parse_page_token,
)
from tests.stream.support import HISTORY_ID

TOKENS = ResumeTokens(HISTORY_ID)
OTHER = ResumeTokens("fedcba9876543210")

times = st.integers(TIME_MIN, TIME_MAX)
not_times = st.integers(-(2**62), TIME_MIN - 1) | st.integers(TIME_MAX + 1, 2**62)
positions = st.integers(0, 2**63)
intervals = st.sampled_from(list(INTERVALS))
live_points = (
    st.builds(LivePoint.at, positions, intervals, times)
    | st.builds(LivePoint.before, positions)
    | st.builds(LivePoint.after, positions)
)
replay_points = st.builds(
    ReplayPoint, positions, times, intervals, times, st.text(min_size=1, max_size=20).filter(is_symbol)
)


def sealed(body: bytes) -> str:
    """A token of these bytes with a valid checksum, as anybody can make one."""
    return base64.urlsafe_b64encode(body + struct.pack(">I", zlib.crc32(body))).decode().rstrip("=")


HISTORY = "01 23 45 67 89 ab cd ef"
POSITION = "00 00 00 05 00 00 00 07"
START_TIME, OPEN_TIME = "00 06 5b c9 38 c8 00 00", "00 06 5b c9 3c 5b 87 00"
SYMBOL = "03 31 35 6d e5 b8 81 e5 ae 89 55 53 44 54"
GOLDEN = [
    (LivePoint.before(0x5_0000_0007), f"10 01 {HISTORY} {POSITION} 5e 2c 61 7f"),
    (
        LivePoint.at(0x5_0000_0007, "1m", 0x65BC93C5B8700),
        f"10 02 {HISTORY} {POSITION} {OPEN_TIME} 31 6d 5a 0f 0a 2f",
    ),
    (
        LivePoint.at(0x5_0000_0007, "1M", 0x65BC93C5B8700),
        f"10 02 {HISTORY} {POSITION} {OPEN_TIME} 31 4d 61 61 2a e7",
    ),
    (LivePoint.after(0x5_0000_0007), f"10 03 {HISTORY} {POSITION} 8a 10 f1 b8"),
    (
        ReplayPoint(0x5_0000_0007, 0x65BC938C80000, "15m", 0x65BC93C5B8700, "币安USDT"),
        f"10 04 {HISTORY} {POSITION} {START_TIME} {OPEN_TIME} {SYMBOL} dc 93 19 ef",
    ),
]
"""Points and their bytes; a token must mean the same to every later version that does not refuse it."""


@pytest.mark.parametrize(
    ("point", "data"), GOLDEN, ids=lambda value: None if isinstance(value, str) else repr(value)
)
def test_the_bytes_stay(point: LivePoint | ReplayPoint, data: str) -> None:
    """Each kind of token is these bytes, and these bytes are read as that point."""
    token = base64.urlsafe_b64encode(bytes.fromhex(data)).decode().rstrip("=")
    assert (TOKENS.encode(point), TOKENS.decode(token)) == (token, point)


def test_the_bytes_of_a_page_stay() -> None:
    """A page's token is these bytes."""
    token = base64.urlsafe_b64encode(bytes.fromhex(f"10 05 {START_TIME} c5 0c fc c3")).decode().rstrip("=")
    assert (page_token(0x65BC938C80000), parse_page_token(token)) == (token, 0x65BC938C80000)


def test_token_names_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that serves one more interval reads the same interval from a token."""
    token = TOKENS.encode(LivePoint.at(7, "3m", 60))
    names = ("1s", *INTERVALS)
    monkeypatch.setattr(resume, "_NAMES", names)
    monkeypatch.setattr(resume, "_RANKS", {name: rank for rank, name in enumerate(names)})
    point = TOKENS.decode(token)
    assert point == LivePoint.at(7, "3m", 60)
    assert isinstance(point, LivePoint)
    assert names[point.rank] == "3m"


@given(live_points | replay_points)
def test_a_point_survives(point: LivePoint | ReplayPoint) -> None:
    """What is written is what is read."""
    assert TOKENS.decode(TOKENS.encode(point)) == point


@given(live_points | replay_points)
def test_another_history_is_refused(point: LivePoint | ReplayPoint) -> None:
    """A position of another data directory means nothing here, however low it is."""
    with pytest.raises(ResumeTokenError, match="of another daemon's data directory"):
        TOKENS.decode(OTHER.encode(point))


@pytest.mark.parametrize(
    "body",
    [
        struct.pack(">BQBq", 1, 7, 0, 60),
        struct.pack(">BQqBq", 2, 7, 0, 3, 60) + b"BTCUSDT",
        struct.pack(">Bq", 3, 60),
    ],
    ids=["live", "replay", "page"],
)
def test_the_first_form_is_refused(body: bytes) -> None:
    """Tokens of the first form named their interval by its place, and no history: they are refused as such."""
    with pytest.raises(ResumeTokenError, match="resume_token is of an earlier version of candled: use start_time"):
        TOKENS.decode(sealed(body))
    with pytest.raises(ValueError, match="page_token is of an earlier version"):
        parse_page_token(sealed(body))


def test_a_newer_form_is_refused() -> None:
    """A token of a version to come is refused as such."""
    with pytest.raises(ResumeTokenError, match="of a newer version"):
        TOKENS.decode(sealed(b"\x11\x01whatever"))


@given(times, not_times)
def test_forged_times_are_refused(time: int, other: int) -> None:
    """A token with a valid checksum and a time that no bar can have is refused."""
    for point in (
        LivePoint.at(1, "1m", other),
        ReplayPoint(1, other, "1M", time, "BTCUSDT"),
        ReplayPoint(1, time, "1M", other, "BTCUSDT"),
    ):
        with pytest.raises(ResumeTokenError, match="resume_token is not one"):
            TOKENS.decode(TOKENS.encode(point))
    with pytest.raises(ValueError, match="page_token is not one"):
        parse_page_token(page_token(other))


@pytest.mark.parametrize("symbol", ["", "BTC USDT", "\x1b[2J", "X" * 81])
def test_forged_symbols_are_refused(symbol: str) -> None:
    """A token with a valid checksum and a text that is no symbol is refused."""
    with pytest.raises(ResumeTokenError, match="resume_token is not one"):
        TOKENS.decode(TOKENS.encode(ReplayPoint(1, 2, "1m", 3, symbol)))


@given(st.binary(max_size=80))
def test_forged_fields_are_refused(fields: bytes) -> None:
    """Whatever follows a valid head, a token is read within the domain or refused."""
    for kind in range(7):
        try:
            point = TOKENS.decode(sealed(bytes([resume.VERSION, kind]) + bytes.fromhex(HISTORY_ID) + fields))
        except ResumeTokenError:
            continue
        assert TIME_MIN <= point.open_time <= TIME_MAX


@given(times)
def test_a_page_token_survives(time: int) -> None:
    """What is written is what is read."""
    assert parse_page_token(page_token(time)) == time


@given(st.text(max_size=60))
def test_other_text_is_refused(text: str) -> None:
    """Text that is no token is refused."""
    with pytest.raises(ResumeTokenError, match="resume_token is not one"):
        TOKENS.decode(text)
    with pytest.raises(ValueError, match="page_token is not one"):
        parse_page_token(text)


def test_kinds_of_tokens_differ() -> None:
    """A page's token does not resume, and a resume token is no page."""
    with pytest.raises(ResumeTokenError, match="resume_token"):
        TOKENS.decode(page_token(5))
    with pytest.raises(ValueError, match="page_token"):
        parse_page_token(TOKENS.encode(LivePoint.before(1)))


def test_changed_letter_is_refused() -> None:
    """A token with one letter changed is refused."""
    token = TOKENS.encode(LivePoint.at(123456, "15m", 789))
    for index, letter in enumerate(token[:-1]):
        other = token[:index] + ("A" if letter != "A" else "B") + token[index + 1 :]
        with pytest.raises(ResumeTokenError):
            TOKENS.decode(other)


@given(positions)
def test_points_follow_the_journal(position: int) -> None:
    """Points are in the order in which events are sent."""
    before, minute, month = (
        LivePoint.before(position),
        LivePoint.at(position, "1m", 5),
        LivePoint.at(position, "1M", 0),
    )
    assert before < minute < month < LivePoint.after(position) < LivePoint.before(position + 1)
