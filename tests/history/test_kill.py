"""kill -9 of a real process, again and again, with a reader at work: nothing acknowledged is lost or doubled."""

import os
import random
from pathlib import Path

import pytest

from tests.history.kills import STRACE, Kill, Tally, kill_again_and_again, kills_at_calls, kills_at_random


@pytest.mark.timeout(300)
async def test_killed_process_loses_nothing(tmp_path: Path) -> None:
    """Nothing stored is lost, and a reader beside it sees nothing wrong."""
    await kill_again_and_again(tmp_path / "data", [Kill(numbers=100)], Tally())


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    count = int(os.environ.get("CANDLED_KILLS", "20"))
    seed = int(os.environ.get("CANDLED_SEED", "0")) or random.randrange(1, 10**6)
    print(f"CANDLED_SEED={seed}")
    await kill_again_and_again(tmp_path / "data", [*kills_at_random(count, random.Random(seed), 6.0)], Tally())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(STRACE is None, reason="strace, which kills at a system call, is not installed")
async def test_kills_at_system_calls_lose_nothing(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path / "data", [*kills_at_calls(8)], Tally())
