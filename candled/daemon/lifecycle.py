"""The daemon's phases: what it does now, why it is not further, and which parts exist.

Readiness, status, metrics and the HTTP port read it. Only the roles change it (``root.py``, ``ingester.py``), with
what helps them at a start (``exchange.py``, ``backfill_progress.py``).
"""

import time
from collections.abc import Callable, Mapping
from enum import Enum
from importlib.metadata import version
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from candled.daemon.pipeline import Pipeline
from candled.domain.storage import BarReader
from candled.engine.engine import Engine
from candled.history import HistoryStatistics
from candled.stream.grpc.internals.connections import ServerStatistics
from candled.stream.hub import Hub

if TYPE_CHECKING:
    from candled.bus.ingest_bus import IngestBus
    from candled.history.objects.statistics import UploadStatistics

_log = structlog.get_logger(__name__)


class Phase(Enum):
    """What the daemon does, in the order of a start."""

    WAITING_FOR_EXCHANGE = "waiting for the exchange"
    """The exchange has not described its symbols yet."""
    READING_LOG = "reading the log"
    """Of an ingester or an edge: reading the closed bars that the bus has."""
    OPENING_STORE = "opening the data directory"
    """Lock, migration, recovery of the journal, restoring the engine."""
    BACKFILLING = "backfilling"
    """Fetching bars of symbols that have none."""
    SERVING_STORED = "serving stored bars"
    """Both ports answer from the history; no trades are read because the exchange does not answer."""
    LIVE = "live"
    """Trades become bars."""
    STOPPING = "stopping"
    """Streams end, queues are flushed."""


@attrs.frozen(kw_only=True)
class ServingParts:
    """The parts that exist from SERVING_STORED on."""

    engine: Engine
    stored: BarReader
    unwritable_reason: Callable[[], str | None]
    """Returns why bars cannot be stored now, in a sentence; None if they can."""
    hub: Hub | None = None
    """None at an ingester, as are the statistics."""
    store_statistics: Callable[[], HistoryStatistics] | None = None
    grpc_statistics: Callable[[], ServerStatistics] | None = None
    bus: "IngestBus | None" = None
    """Of an ingester."""
    upload_statistics: "Callable[[], UploadStatistics] | None" = None
    """Of the copy in an object store; None without one."""


class CurrentPhase:
    """The phase, and why it is still the same. Each change is logged and observed; STOPPING is the last one.

    Args:
        phase: the first one.
        reason: in a sentence; empty where the phase says it all.
        observe: called with the phase in words and its reason whenever either changes.
    """

    def __init__(self, phase: Phase, reason: str, observe: Callable[[str, str], None] | None) -> None:
        self.phase = phase
        self.reason = reason
        self._observe = observe

    def enter(self, phase: Phase, reason: str = "") -> None:
        """Enter a phase, or replace the reason of the present one."""
        if self.phase is Phase.STOPPING:
            return
        if phase is not self.phase:
            _log.info("phase entered", phase=phase.value)
        if self._observe is not None and (phase, reason) != (self.phase, self.reason):
            self._observe(phase.value, reason)
        self.phase, self.reason = phase, reason


class Lifecycle:
    """The phases of a daemon that makes bars. Each method enters one."""

    def __init__(self, about: str = "", observe: Callable[[str, str], None] | None = None) -> None:
        """Begin at WAITING_FOR_EXCHANGE.

        Args:
            about: a sentence that says which daemon this is, for those who wait for it.
            observe: called with the phase in words and its reason whenever either changes.
        """
        self.about = about
        self.version = version("candled")
        self.start_time = time.time_ns() // 1000
        """Microseconds since the epoch, by the wall clock."""
        self._no_answer = "The exchange has not answered yet."
        self._current = CurrentPhase(Phase.WAITING_FOR_EXCHANGE, self._no_answer, observe)
        self._serving: ServingParts | None = None
        self._pipeline: Pipeline | None = None
        self._queues: Mapping[str, Callable[[], trio.MemoryChannelStatistics]] = {}

    @property
    def phase(self) -> Phase:
        """What the daemon does now."""
        return self._current.phase

    @property
    def reason(self) -> str:
        """Why the daemon is still in this phase, in a sentence; empty where the phase says it all."""
        return self._current.reason

    @property
    def serving(self) -> ServingParts | None:
        """The parts that serve bars; None before SERVING_STORED."""
        return self._serving

    @property
    def pipeline(self) -> Pipeline | None:
        """The parts that make bars; None before LIVE."""
        return self._pipeline

    def queues(self) -> dict[str, trio.MemoryChannelStatistics]:
        """Return the channels between the parts, by the name of the part that reads; none before LIVE."""
        return {name: read() for name, read in self._queues.items()}

    def wait_for_exchange(self, reason: str | None = None) -> None:
        """Enter WAITING_FOR_EXCHANGE, or stay in SERVING_STORED.

        Args:
            reason: why the exchange did not answer; None: as before.
        """
        self._no_answer = reason or self._no_answer
        phase = Phase.WAITING_FOR_EXCHANGE if self._serving is None else Phase.SERVING_STORED
        self._current.enter(phase, self._no_answer)

    def read_log(self, reason: str = "") -> None:
        """Enter READING_LOG.

        Args:
            reason: why it cannot be read yet, in a sentence.
        """
        self._current.enter(Phase.READING_LOG, reason)

    def open_store(self, reason: str = "") -> None:
        """Enter OPENING_STORE, or say what it waits for."""
        self._current.enter(Phase.OPENING_STORE, reason)

    def backfill(self, progress: str = "") -> None:
        """Enter BACKFILLING, or say how far it is."""
        self._current.enter(Phase.BACKFILLING, progress)

    def serve_stored(self, parts: ServingParts) -> None:
        """Enter SERVING_STORED."""
        self._serving = parts
        self._current.enter(Phase.SERVING_STORED)

    def go_live(self, pipeline: Pipeline, closed: Callable[[], trio.MemoryChannelStatistics]) -> None:
        """Enter LIVE; ``closed``: statistics of the queue between aggregator and writer."""
        self._pipeline = pipeline
        self._queues = {"engine": pipeline.waiting, "history": closed}
        self._current.enter(Phase.LIVE)

    def stop(self) -> None:
        """Enter STOPPING, which is the last phase."""
        self._current.enter(Phase.STOPPING)
