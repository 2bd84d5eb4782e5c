"""Where the recorded market data is that some tests read."""

import os
from pathlib import Path

import pytest


def recordings(exchange: str = "binance") -> Path:
    """The folder of an exchange's recordings; the test that asks is skipped where there is none.

    ``CANDLED_TEST_DATA`` names the folder above it; if that is set, it must be there.
    """
    named = os.environ.get("CANDLED_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[1] / ".." / "shared" / "data"
    if not (folder / exchange).is_dir():
        if named:
            pytest.fail(f"CANDLED_TEST_DATA is {named}, but there is no folder {exchange} in it")
        pytest.skip("the recorded market data is not here: set CANDLED_TEST_DATA to its folder")
    return folder / exchange
