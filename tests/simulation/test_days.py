"""Days in which everything goes wrong end with every bar equal to the ledger's, and proven."""

import os
import subprocess
import sys

import pytest

from tests.simulation.adversary import DRAWN
from tests.simulation.runner import run_seed

FEW = (8, 9)
"""Seeds with a few hours each, cheap enough for every run of the tests."""


@pytest.mark.parametrize("seed", FEW)
def test_short_day_equals_the_ledger(seed: int) -> None:
    """After a short run of faults every bar equals the ledger."""
    outcome = run_seed(seed, 1.0)
    assert outcome.wrong == []
    assert outcome.bars > 100


LIED_TO = (1, 5)
"""Seeds with an exchange that lies beside the mishaps."""


@pytest.mark.parametrize("seed", LIED_TO)
def test_lies_make_no_wrong_bar_complete(seed: int) -> None:
    """Wrong values are refused, nothing else is lost, and once the lies end nothing is lacking."""
    outcome = run_seed(seed, 1.0)
    assert outcome.wrong == []
    assert outcome.mishaps.keys() & set(DRAWN)
    assert outcome.bars > 50


ANOTHER_MACHINE = """
import gc, time
monotonic = time.monotonic
time.monotonic = lambda: 1000 * monotonic()  # so slow that every real timeout passes
gc.set_threshold(100, 5, 5)
litter = [object() for _ in range(12_345)]  # other addresses
"""


def hash_of(seed: int, hash_seed: str, before: str = "") -> str:
    code = f"{before}\nfrom tests.simulation.runner import run_seed; print(run_seed({seed}, 0.5).log_hash)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [10, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 7, 13, 22))])
def test_seed_decides_the_day(seed: int) -> None:
    """A seed gives the same day in any process, on any machine."""
    first, second = hash_of(seed, "1"), hash_of(seed, "2", ANOTHER_MACHINE)
    assert len(first) == 64
    assert first == second


DAYS = range(1, 101)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", DAYS)
def test_day_of_a_seed_equals_the_ledger(seed: int) -> None:
    """A failure is seen again with ``python -m tests.simulation SEED``; it takes any range of seeds, too."""
    assert run_seed(seed).wrong == []
