"""The simulation has teeth: a fault planted in the engine or the feed is noticed within a few seeds."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.runner import hunt

SEEDS = range(1, 13)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_noticed(name: str) -> None:
    assert hunt(name, SEEDS) is not None
