"""Limits are kept by counting; delays grow, are capped and jittered."""

import random

from hypothesis import given
from hypothesis import strategies as st

from candled.feed.transport.rate_limit import RollingLimit
from candled.retry import Backoff


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 30)), max_size=60))
def test_limit_holds_in_any_window(asked: list[tuple[int, float]]) -> None:
    limit, now, taken = RollingLimit(100, 60.0), 0.0, []
    for amount, pause in asked:
        now += pause
        now += limit.wait(amount, now)
        assert limit.wait(amount, now) == 0
        limit.take(amount, now)
        taken.append((now, amount))
    for start, _ in taken:
        assert sum(amount for time, amount in taken if start <= time < start + 60 - 2e-6) <= 100


def test_free_capacity_needs_no_wait() -> None:
    limit = RollingLimit(100, 60.0)
    limit.take(100, 0.0)
    assert limit.wait(1, 10.0) == 50.0
    assert limit.wait(1, 60.0) == 0.0


def test_excess_request_counts_as_the_whole_limit() -> None:
    limit = RollingLimit(10, 60.0)
    assert limit.wait(25, 0.0) == 0.0
    limit.take(1, 0.0)
    assert limit.wait(25, 0.0) == 60.0


def test_servers_higher_count_wins() -> None:
    limit = RollingLimit(100, 60.0)
    limit.take(10, 0.0)
    limit.correct(95, 1.0)
    assert limit.used(1.0) == 95
    limit.correct(20, 2.0)
    assert limit.used(2.0) == 95


def test_block_lasts_its_duration() -> None:
    limit = RollingLimit(100, 60.0)
    limit.block(30.0, 5.0)
    assert limit.wait(1, 10.0) == 25.0
    assert limit.blocked_for(36.0) == 0.0


def test_delays_double_with_jitter_up_to_a_cap() -> None:
    backoff = Backoff(random.Random(1), first=1.0, delay_max=10.0)
    delays = [backoff.next() for _ in range(6)]
    for delay, whole in zip(delays, (1, 2, 4, 8, 10, 10), strict=True):
        assert whole / 2 <= delay <= whole
    backoff.reset()
    assert backoff.next() <= 1.0
