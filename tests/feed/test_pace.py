"""How long a silence is tolerated follows from the symbol's own pace."""

from itertools import pairwise

from candled.feed.pace import PATIENCE_MAX, PATIENCE_MIN, QUIET_MAX, Pace


def traded(pause: float, count: int) -> tuple[Pace, float]:
    """A symbol that has traded so often with that pause between, and when last."""
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


def test_a_symbol_of_which_nothing_came_is_checked_at_once_and_then_now_and_then() -> None:
    pace = Pace()
    assert pace.is_suspect(0.0)
    pace.check(0.0)
    assert first_suspicion(pace, 0.0) > PATIENCE_MIN - 1


def test_a_lively_symbol_is_suspect_soon_and_a_slow_one_later() -> None:
    assert first_suspicion(*traded(0.1, 100)) < PATIENCE_MIN + 1
    assert 40 < first_suspicion(*traded(3.0, 200)) < 70
    assert first_suspicion(*traded(600.0, 50)) < PATIENCE_MAX + 1


def test_a_market_found_quiet_is_checked_at_doubling_times_up_to_a_bound() -> None:
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
