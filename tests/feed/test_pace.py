"""How long a silence is tolerated follows from the symbol's own pace."""

from itertools import pairwise

import pytest

from candled.domain.limits import ID_JUMP_MAX
from candled.feed.silence import PATIENCE_MAX, PATIENCE_MIN, QUIET_MAX, STRANGE_MAX, Pace


def traded(pause: float, count: int) -> tuple[Pace, float]:
    """The pace of a symbol after some trades at equal pauses, and the time of the last."""
    pace, now = Pace(), 0.0
    for number in range(count):
        now = number * pause
        pace.saw(number, now)
    return pace, now


def first_suspicion(pace: Pace, now: float) -> float:
    """Seconds of silence until it is suspect."""
    silence = 0.0
    while not pace.is_suspect(now + silence):
        silence += 0.5
    return silence


def test_symbol_without_trades_is_checked() -> None:
    """A symbol without any trade is checked at once, and not again for the shortest patience."""
    pace = Pace()
    assert pace.is_suspect(0.0)
    pace.check(0.0)
    assert first_suspicion(pace, 0.0) > PATIENCE_MIN - 1


def test_patience_follows_the_pace() -> None:
    """A symbol of many trades is suspect soon, a slow one later."""
    assert first_suspicion(*traded(0.1, 100)) < PATIENCE_MIN + 1
    assert 40 < first_suspicion(*traded(3.0, 200)) < 70
    assert first_suspicion(*traded(600.0, 50)) < PATIENCE_MAX + 1


def test_quiet_market_is_checked_rarely() -> None:
    """A market found quiet is checked at doubling intervals, up to a bound."""
    pace, now = traded(0.1, 100)
    pauses = []
    for _ in range(12):
        pause = first_suspicion(pace, now)
        now += pause
        pace.check(now)
        pace.found_quiet()
        pauses.append(pause)
    assert all(later > earlier - 1 for earlier, later in pairwise(pauses))
    assert pauses[3] > 4 * pauses[0]
    assert abs(pauses[-1] - QUIET_MAX) <= 1


def test_a_trade_ends_the_doubling() -> None:
    pace, now = traded(0.1, 100)
    for _ in range(6):
        pace.check(now)
        pace.found_quiet()
    pace.saw(1000, now + 1)
    assert first_suspicion(pace, now + 1) < PATIENCE_MAX


@pytest.mark.parametrize("wrong", [ID_JUMP_MAX + 101, 50])
def test_single_strange_id_is_ignored(wrong: int) -> None:
    """A few ids that are far ahead or lower change nothing: what follows is still new."""
    pace = Pace()
    pace.take(100, 0.0)
    for _ in range(STRANGE_MAX - 1):
        pace.take(wrong, 1.0)
    assert pace.last_id == 100
    pace.take(100 + ID_JUMP_MAX, 2.0)
    assert pace.last_id == 100 + ID_JUMP_MAX


@pytest.mark.parametrize("first", [ID_JUMP_MAX + 101, 1])
def test_many_strange_ids_are_believed(first: int) -> None:
    """Ids that began anew, or jumped for good, are followed after ``STRANGE_MAX`` trades in a row."""
    pace = Pace()
    pace.take(100, 0.0)
    for trade_id in range(first, first + STRANGE_MAX):
        pace.take(trade_id, 1.0)
    assert pace.last_id == first + STRANGE_MAX - 1
    pace.take(first + STRANGE_MAX, 2.0)
    assert pace.last_id == first + STRANGE_MAX
