"""Readiness and status of an edge: whether it reads the bus, and what the ingesters say of themselves."""

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final, Protocol

import attrs
import trio

from candled.bus.edge_bus import EdgeBus
from candled.bus.nats.connection import Nats
from candled.bus.roster import IngesterStatus, newest_time
from candled.daemon.lifecycle import CurrentPhase, Phase
from candled.domain.status import DaemonStatus, IngesterSummary
from candled.domain.storage import BarReader
from candled.stream.grpc.internals.connections import ServerStatistics
from candled.stream.hub import Hub

_NAMED_SYMBOLS_MAX: Final = 10


class EdgeParts(Protocol):
    """The parts of an edge that serves."""

    hub: Hub
    bus: EdgeBus
    exchange: str

    @property
    def stored(self) -> BarReader:
        """Closed bars of the log."""


class EdgeStatus:
    """What the health endpoints, ``GetStatus`` and the chart show of an edge.

    Args:
        nats: the connection to the bus.
        process: name of this process.
        observe: called with the phase in words and its reason whenever either changes.
    """

    def __init__(self, nats: Nats, process: str, observe: Callable[[str, str], None] | None = None) -> None:
        self._nats = nats
        self._process = process
        self._current = CurrentPhase(Phase.READING_LOG, nats.failure, observe)
        self._start_time = time.time_ns() // 1000
        self.bars: EdgeParts | None = None
        """None while the edge does not serve."""
        self.grpc_statistics: Callable[[], ServerStatistics] | None = None

    def begin(self, reason: str) -> None:
        """Note that the edge does not serve, and why, in a sentence."""
        self.bars = self.grpc_statistics = None
        self._current.enter(Phase.READING_LOG, reason)

    def serve(self, bars: EdgeParts, grpc_statistics: Callable[[], ServerStatistics]) -> None:
        """Note that the edge serves."""
        self.bars, self.grpc_statistics = bars, grpc_statistics
        self._current.enter(Phase.LIVE)

    def stop(self) -> None:
        """Note that the edge is stopping."""
        self._current.enter(Phase.STOPPING)

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Return sentences that say why nobody should rely on this edge now; none when it is ready."""
        if self._current.phase is Phase.STOPPING:
            return ("The daemon is stopping.",)
        if self.bars is None:
            return tuple(
                each
                for each in (f"The daemon is starting: {self._current.phase.value}.", self._current.reason)
                if each
            )
        reasons = [] if self._nats.is_connected else [self._nats.failure]
        now = trio.current_time()
        if not self.bars.bus.roster.fresh(now):
            reasons.append("No ingester reports on the bus.")
        elif not_live := self.bars.bus.roster.not_live(now):
            more = len(not_live) - _NAMED_SYMBOLS_MAX
            named = ", ".join(not_live[:_NAMED_SYMBOLS_MAX]) + (f" and {more} more" if more > 0 else "")
            reasons.append(f"No ingester reads {named} from the exchange.")
        return tuple(reasons)

    def status(self) -> DaemonStatus:
        """Return the state of this edge, with the symbols as the ingesters report them."""
        if self.bars is None:
            return self.summary()
        return attrs.evolve(self.summary(), symbols=self.bars.bus.roster.symbol_status(trio.current_time()))

    def summary(self) -> DaemonStatus:
        """Return the state without its symbols."""
        bars = self.bars
        reports = bars.bus.roster.fresh(trio.current_time()) if bars else []
        return DaemonStatus(
            version=version("candled"),
            start_time=self._start_time,
            phase=self._current.phase.value,
            exchange=bars.exchange if bars else "",
            exchange_time=newest_time(reports),
            notices=tuple(f"{_name(report)}: {notice}" for report in reports for notice in _notices(report)),
            not_ready_reasons=self.not_ready_reasons(),
            process=self._process,
            ingesters=tuple(_summary(report) for report in reports),
        )


def _name(report: IngesterStatus) -> str:
    """Return what the process of a report is called, which is not unique."""
    return report.status.process or report.name


def _summary(report: IngesterStatus) -> IngesterSummary:
    is_ready = not report.status.not_ready_reasons
    return IngesterSummary(_name(report), report.rank, is_ready, len(report.symbols))


def _notices(report: IngesterStatus) -> tuple[str, ...]:
    """Return what an operator should know of an ingester, whether or not others do its work."""
    return (*report.status.notices, *report.status.not_ready_reasons)
