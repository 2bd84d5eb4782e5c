"""Days at an exchange with Coinbase's API end with every bar equal to the ledger's, and proven."""

import pytest

from tests.simulation.adversary import DRAWN
from tests.simulation.runner import run_seed

FEW = (8,)
LIED_TO = (1,)
"""Seeds with an exchange that lies beside the mishaps."""
DAYS = range(1, 41)


@pytest.mark.parametrize("seed", FEW)
def test_bars_equal_the_ledger(seed: int) -> None:
    """Mishaps, crashes and restarts lose nothing, without a kline that counts trades."""
    outcome = run_seed(seed, 1.0, "coinbase")
    assert outcome.wrong == []
    assert outcome.bars > 100


@pytest.mark.parametrize("seed", LIED_TO)
def test_lies_make_no_wrong_bar_complete(seed: int) -> None:
    """Wrong values are refused, nothing else is lost, and once the lies end nothing is lacking."""
    outcome = run_seed(seed, 1.0, "coinbase")
    assert outcome.wrong == []
    assert outcome.mishaps.keys() & set(DRAWN)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", DAYS)
def test_day_of_a_seed(seed: int) -> None:
    """A failure is seen again with ``python -m tests.simulation SEED --form coinbase``."""
    assert run_seed(seed, form="coinbase").wrong == []
