"""A minute of the soak: ``make soak`` runs an hour of it."""

from pathlib import Path

import pytest

from benchmarks.soak import Stand, soak


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_minute_of_faults_and_kills(tmp_path: Path) -> None:
    """After a minute of faults and kills, every bar is the exchange's."""
    stand = Stand(tmp_path, speed=30.0, rate=0.1, seed=2)
    try:
        text, wrong = soak(stand, 1.0)
    finally:
        stand.close()
    print(text)
    assert wrong == []
    assert "| life | seconds | MB first |" in text
