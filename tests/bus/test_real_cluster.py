"""Real processes die: no subscriber sees a hole, a duplicate, a bar that goes back, or one that stays unproven."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.bus.faults import open_trial, plan_faults
from tests.bus.real_cluster import SYMBOLS, RealCluster, open_cluster

KILLS: Final = int(os.environ.get("CANDLED_TEST_CLUSTER_KILLS", "10"))
"""Faults of one run; ``python -m benchmarks.cluster_kills`` causes hundreds and keeps a record."""

PAUSE_SECONDS: Final = float(os.environ.get("CANDLED_TEST_CLUSTER_PAUSE", "12"))
"""Longer than a nats-server waits for a client that reads nothing (10 s); 60 for a record."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 60 * KILLS + PAUSE_SECONDS)]


async def follow(cluster: RealCluster, names: Sequence[str], count: int, seed: int) -> None:
    """Subscribe at all edges, cause faults, and compare what the subscribers have with the ledger."""
    async with open_trial(cluster) as trial:
        await trial.run(plan_faults(names, count, seed), seed, print)
    print(f"{trial.bars} bars compared, {trial.messages} messages")
    assert trial.wrong == []
    assert trial.bars >= 3 * len(SYMBOLS) * len(trial.subscribers)


async def test_any_process_of_three_servers_dies(tmp_path: Path) -> None:
    """Ingesters, edges and nats-servers are killed, ended, stopped or cut off in turn, with three servers."""
    async with open_cluster(tmp_path, servers=3) as cluster:
        await follow(cluster, list(cluster.members), KILLS, seed=1)


async def test_an_ingester_wakes_after_a_long_pause(tmp_path: Path) -> None:
    """What it wants to append then is old and refused; after that it works like any other, and alone."""
    async with open_cluster(tmp_path, servers=1) as cluster:
        async with open_trial(cluster) as trial:
            sleeper, other = cluster.members["ingest-0"], cluster.members["ingest-1"]
            sleeper.send(signal.SIGSTOP)
            await trio.sleep(PAUSE_SECONDS)
            sleeper.send(signal.SIGCONT)
            await sleeper.ready()
            other.kill()
            await trial.settle()
        assert trial.wrong == []


async def test_the_only_one_of_a_kind_dies(tmp_path: Path) -> None:
    """With one process of each kind, a death is silence until it is back; then nothing is missing either."""
    async with open_cluster(tmp_path, servers=1, ingesters=1, edges=1) as cluster:
        await follow(cluster, list(cluster.members), KILLS // 2, seed=2)
