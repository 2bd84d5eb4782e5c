"""The simulation has teeth: a fault planted in the engine or the feed is noticed within a few seeds."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.runner import hunt, run_seed

SEEDS = range(1, 13)
HOURS = 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_noticed(name: str) -> None:
    noticed = hunt(name, SEEDS, HOURS)
    assert noticed is not None
    assert run_seed(noticed[0], HOURS).wrong == [], "wrong without the fault, too"
