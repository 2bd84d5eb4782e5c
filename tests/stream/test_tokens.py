"""Opaque tokens: what comes back is what was given, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.domain.interval import INTERVALS
from candled.stream.tokens import LivePoint, ReplayPoint, page_token, parse_page_token, parse_token

times = st.integers(-(2**62), 2**62)
positions = st.integers(0, 2**63)


@given(positions, st.integers(-1, 13), times)
def test_a_live_point_survives(position: int, rank: int, time: int) -> None:
    point = LivePoint(position, rank, time)
    assert parse_token(point.token()) == point


@given(positions, times, st.sampled_from(list(INTERVALS)), times, st.text(min_size=1, max_size=20))
def test_a_replay_point_survives(position: int, start: int, interval: str, time: int, symbol: str) -> None:
    try:
        symbol.encode()
    except UnicodeEncodeError:
        return
    point = ReplayPoint(position, start, interval, time, symbol)
    assert parse_token(point.token()) == point


@given(times)
def test_a_page_token_survives(time: int) -> None:
    assert parse_page_token(page_token(time)) == time


@given(st.text(max_size=60))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="resume_token is not one"):
        parse_token(text)
    with pytest.raises(ValueError, match="page_token is not one"):
        parse_page_token(text)


def test_one_kind_is_not_taken_for_another() -> None:
    with pytest.raises(ValueError, match="resume_token"):
        parse_token(page_token(5))
    with pytest.raises(ValueError, match="page_token"):
        parse_page_token(LivePoint(1, 2, 3).token())


def test_one_changed_letter_is_noticed() -> None:
    token = LivePoint(123456, 3, 789).token()
    for index, letter in enumerate(token[:-1]):
        other = token[:index] + ("A" if letter != "A" else "B") + token[index + 1 :]
        with pytest.raises(ValueError, match="resume_token"):
            parse_token(other)


@given(positions)
def test_points_are_in_order_of_what_is_told(position: int) -> None:
    before, minute, hour = LivePoint.before(position), LivePoint(position, 0, 5), LivePoint(position, 5, 0)
    assert before < minute < hour < LivePoint.after(position) < LivePoint.before(position + 1)
