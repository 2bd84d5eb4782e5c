"""What a repair leaves alone and gives up, by what it has asked for."""

import random

from candled.feed.repair.attempts import LAGGING_TRIES, REFUSED_TRIES, UNFILLABLE_TRIES, Attempts, Evidence


def test_keys_wait_for_themselves() -> None:
    """A failed request makes its key wait longer each time; another key may be asked for at once."""
    attempts = Attempts(random.Random(1))
    attempts.put_off("gap", 100.0)
    first = attempts.next_try(100.0)
    attempts.put_off("gap", 200.0)

    assert 0 < first < attempts.next_try(200.0)
    assert attempts.waits("gap", 200.0)
    assert not attempts.waits("other", 200.0)
    assert not attempts.waits("gap", 200.0 + attempts.next_try(200.0))


def test_put_back_forgets() -> None:
    """After success a key may be asked for at once, and its next wait begins small again."""
    attempts = Attempts(random.Random(1))
    attempts.put_off("gap", 0.0)
    attempts.put_back("gap")

    assert not attempts.waits("gap", 0.0)
    assert attempts.next_try(0.0) == float("inf")
    assert len(attempts) == 0


def test_lag_is_believed_for_a_few_answers() -> None:
    """An answer without the newest ids is an ordinary lag until it came often."""
    attempts = Attempts(random.Random(1))
    found = []
    for _ in range(LAGGING_TRIES + 1):
        found.append(attempts.is_lagging("gap"))
        attempts.put_off("gap", 0.0)

    assert found == [True] * LAGGING_TRIES + [False]


def test_evidence_is_counted_for_each_alone() -> None:
    """Rows and klines are given up after the same number of refusals, and counted anew from there."""
    evidence = Evidence()

    for is_given_up in (evidence.row_given_up, evidence.kline_given_up):
        assert [is_given_up(7) for _ in range(REFUSED_TRIES)] == [False] * (REFUSED_TRIES - 1) + [True]
        assert not is_given_up(7)
        assert not is_given_up(8)
    assert [evidence.passed_over((1, 2)) for _ in range(UNFILLABLE_TRIES)] == list(range(1, UNFILLABLE_TRIES + 1))
    assert evidence.passed_over((1, 3)) == 1
