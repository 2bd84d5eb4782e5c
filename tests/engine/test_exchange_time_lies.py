"""Clocks that lie by seed never make the time too late by more than the slack, and everything heals."""

import pytest

from tests.engine.lying_clocks import simulate

FAST, SLOW = range(0, 20, 10), range(20, 100, 10)
"""First seeds of ten."""


@pytest.mark.parametrize("first", [*FAST, *(pytest.param(first, marks=pytest.mark.slow) for first in SLOW)])
def test_lying_clocks_by_seed(first: int) -> None:
    """No reading makes the time too late, and after the last lie nothing stays in quarantine."""
    wrong = [(seed, outcome.wrong[:1]) for seed in range(first, first + 10) if (outcome := simulate(seed)).wrong]
    assert wrong == []
