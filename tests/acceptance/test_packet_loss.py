"""A network that swallows packets without a word, between a daemon and an exchange in a network namespace."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from candled.client import open_trio_client
from tests.acceptance.processes import open_daemon, open_exchange
from tests.acceptance.test_end_and_restart import compare, wait_for_bars

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HERE, THERE = "10.213.77.1", "10.213.77.2"


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespaces here: {' '.join(command)}: {done.stderr.strip()}")


@attrs.frozen
class Namespace:
    """A network namespace with one way in, over which packets can be dropped."""

    name: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs a command in it."""
        return ("ip", "netns", "exec", self.name)

    def drop(self, *condition: str) -> None:
        """From now on, swallow what comes and goes, or the part of it that meets the condition."""
        for chain in ("INPUT", "OUTPUT"):
            run(*self.inside, "iptables", "-w", "-A", chain, *condition, "-j", "DROP")

    def pass_all(self) -> None:
        run(*self.inside, "iptables", "-w", "-F")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    missing = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and ip and iptables; missing: {', '.join([*missing, 'root'][:1])}")
    name = f"candled{os.getpid()}"
    near, far = f"cn{os.getpid()}", f"cf{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        found = Namespace(name)
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        run("ip", "link", "set", far, "netns", name)
        run("ip", "address", "add", f"{HERE}/30", "dev", near)
        run("ip", "link", "set", near, "up")
        run(*found.inside, "ip", "address", "add", f"{THERE}/30", "dev", far)
        run(*found.inside, "ip", "link", "set", far, "up")
        run(*found.inside, "ip", "link", "set", "lo", "up")
        found.pass_all()
        yield found
    finally:
        subprocess.run(["ip", "link", "delete", near], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


async def test_lost_packets_cost_no_bar(tmp_path: Path, namespace: Namespace) -> None:
    """After packets were dropped for a while, no bar is missing or differs."""
    async with (
        open_exchange("--speed=10", address=f"{THERE}:0", before=namespace.inside) as exchange,
        open_daemon(exchange, tmp_path / "data") as daemon,
        open_trio_client(daemon.grpc) as client,
    ):
        before = await wait_for_bars(client, 1)
        namespace.drop()
        await daemon.running.said(r"no frame and no pong.*connection lost")
        assert not (await client.status()).ready
        namespace.pass_all()
        said = len(daemon.running.lines)
        await daemon.running.said(r'"event": "connected"', after=said)
        namespace.drop("-m", "statistic", "--mode", "random", "--probability", "0.1")
        await wait_for_bars(client, 1)
        namespace.pass_all()
        assert (await client.status()).ready
        await compare(daemon, exchange, past=before + timedelta(minutes=10))
        assert await daemon.stop() == 0
    assert "Traceback" not in daemon.running.text
