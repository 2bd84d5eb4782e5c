"""The simulation has teeth: a fault planted in the engine or the feed is noticed within a few seeds."""

import pytest

from tests.simulation.gate_mutants import GATE_MUTANTS
from tests.simulation.mutants import COINBASE_MUTANTS, MUTANTS
from tests.simulation.runner import hunt, hunt_at_the_gates, lying_days, run_day, run_seed

SEEDS = range(1, 31)
LYING_SEEDS = (2, 3, 4, 6, 8, 37, 43, 47)
HOURS = 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_planted_fault_fails(name: str) -> None:
    """A fault planted in the product fails days of the simulation."""
    noticed = hunt(MUTANTS[name], SEEDS, HOURS)
    assert noticed is not None
    assert run_seed(noticed[0], HOURS).wrong == [], "wrong without the fault, too"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", COINBASE_MUTANTS)
def test_planted_fault_of_coinbase_fails(name: str) -> None:
    """A fault planted in what Coinbase's adapter states fails days of the simulation."""
    noticed = hunt(COINBASE_MUTANTS[name], SEEDS, HOURS, "coinbase")
    assert noticed is not None
    assert run_seed(noticed[0], HOURS, "coinbase").wrong == [], "wrong without the fault, too"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", GATE_MUTANTS)
def test_missing_check_fails(name: str) -> None:
    """Without one check of a gate, an exchange that lies makes a bar wrong, or a repair endless."""
    noticed = hunt_at_the_gates(name, LYING_SEEDS, HOURS)
    assert noticed is not None
    assert run_day(*lying_days(name, [noticed[0]], HOURS)).wrong == [], "wrong without the fault, too"
