"""What the ingesters say of themselves, as an edge knows it. Plain."""

from collections.abc import Iterable
from typing import Final

import attrs

from candled.domain.status import DaemonStatus, SymbolStatus

FRESH_SECONDS: Final = 3.0
"""After which an ingester that said nothing counts as gone."""


@attrs.frozen(slots=True)
class IngesterStatus:
    """One ingester's report of itself."""

    name: str
    rank: int
    symbols: tuple[str, ...]
    """All that it builds."""
    status: DaemonStatus
    """Of many symbols, it has the states of some; reports that follow have those of the others."""


@attrs.frozen(slots=True)
class _Recorded:
    report: IngesterStatus
    at: float
    states: dict[str, SymbolStatus]
    """The newest of each symbol."""


class Roster:
    """The newest report of each ingester, and of those that went and that none has replaced.

    An ingester that went keeps its symbols until another one of them reports: of a shard whose ingesters are all
    gone, clients keep their streams and see that nothing is live. One that returns without a symbol has
    removed it.
    """

    def __init__(self) -> None:
        self._recorded: dict[str, _Recorded] = {}

    def record(self, report: IngesterStatus, now: float) -> None:
        """Take a report; ``now``: monotonic seconds."""
        known = self._recorded.get(report.name)
        states = (
            {} if known is None else {name: known.states[name] for name in report.symbols if name in known.states}
        )
        states |= {state.symbol: state for state in report.status.symbols}
        gone = [name for name, recorded in self._recorded.items() if not _is_fresh(recorded, now)]
        for name in gone:
            if not frozenset(report.symbols).isdisjoint(self._recorded[name].report.symbols):
                del self._recorded[name]
        self._recorded[report.name] = _Recorded(report, now, states)

    def fresh(self, now: float) -> list[IngesterStatus]:
        """Return the reports of ingesters that are there, lowest rank first; ``now``: monotonic seconds."""
        reports = [recorded.report for recorded in self._recorded.values() if _is_fresh(recorded, now)]
        return sorted(reports, key=lambda report: (report.rank, report.name))

    def symbols(self) -> frozenset[str]:
        """Return the symbols that any ingester builds, or built until it went."""
        return frozenset(symbol for recorded in self._recorded.values() for symbol in recorded.report.symbols)

    def symbol_status(self, now: float) -> tuple[SymbolStatus, ...]:
        """Return the status of each symbol at the best ingester, sorted; ``now``: monotonic seconds.

        A symbol whose ingesters are all gone has its last state, not live.
        """
        best: dict[str, SymbolStatus] = {}
        for recorded in sorted(
            self._recorded.values(), key=lambda each: (not _is_fresh(each, now), each.report.rank)
        ):
            is_fresh = _is_fresh(recorded, now)
            for name, state in recorded.states.items():
                known = best.get(name)
                if known is None:
                    best[name] = state if is_fresh else attrs.evolve(state, live=False)
                elif is_fresh and state.live and not known.live:
                    best[name] = state
        return tuple(best[symbol] for symbol in sorted(best))

    def not_live(self, now: float) -> list[str]:
        """Return the symbols that no ingester reads live; ``now``: monotonic seconds."""
        return [status.symbol for status in self.symbol_status(now) if not status.live]

    def live_ingesters(self, now: float) -> dict[str, int]:
        """Return how many ingesters read each symbol live.

        Args:
            now: monotonic seconds.
        """
        counts = dict.fromkeys(sorted(self.symbols()), 0)
        for recorded in self._recorded.values():
            if _is_fresh(recorded, now):
                for name, state in recorded.states.items():
                    counts[name] = counts.get(name, 0) + state.live
        return counts


def _is_fresh(recorded: _Recorded, now: float) -> bool:
    return now - recorded.at < FRESH_SECONDS


def newest_time(reports: Iterable[IngesterStatus]) -> int:
    """Return the latest exchange time that the reports state, microseconds since the epoch; 0: none states one."""
    return max((report.status.exchange_time for report in reports), default=0)
