"""The plain rules of the bus under faults of every kind, by seeds."""

import os
from collections.abc import Callable
from typing import Any, Final

import pytest

from candled.bus.appends import Appends
from candled.bus.order import EdgeOrder, _Symbol
from candled.bus.symbol_log import Logged, SymbolLog
from tests.bus.simulation import Cluster

SEEDS: Final = int(os.environ.get("CANDLED_TEST_BUS_SEEDS", "200"))


def test_no_fault_shows() -> None:
    """Whatever dies, pauses or is cut off: nothing is missing, doubled, unproven or goes back."""
    found = {seed: faults for seed in range(SEEDS) if (faults := Cluster(seed).run())}

    assert found == {}


def test_deduplication_by_revision_fails() -> None:
    """The naive rule, each (symbol, open time, revision) once, loses bars, and the judge sees it."""
    lost = [
        seed for seed in range(30) if any("ends with" in fault for fault in Cluster(seed, is_naive=True).run())
    ]

    assert len(lost) >= 5


def _forget_lost(appends: Appends, append: Any, now: float) -> None:
    appends._states[append.symbol].log._offered.clear()
    appends._settle(append)


def _first_entry_counts(log: SymbolLog, sequence: int, bar: Any) -> None:
    log.sequence = max(log.sequence, sequence)
    log._logged.setdefault(bar.open_time, Logged.of(bar))


def _pass_at_once(order: EdgeOrder, event: Any, _now: float) -> Any:
    return order._pass(order._symbols.setdefault(event.bar.symbol, _Symbol()), event)


def _take_again(order: EdgeOrder, event: Any, close: Callable[[EdgeOrder, Any], Any] = EdgeOrder.close) -> Any:
    order.sequence = 0
    return close(order, event)


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (EdgeOrder, "_pass", lambda _order, _state, event: (event,)),
        (EdgeOrder, "update", _pass_at_once),
        (EdgeOrder, "close", _take_again),
        (Logged, "is_improved_by", lambda logged, bar: bar.trade_count > logged.trade_count),
        (Logged, "is_improved_by", lambda _logged, _bar: True),
        (Appends, "lost", _forget_lost),
        (SymbolLog, "read", _first_entry_counts),
    ],
    ids=["back", "no hold", "twice", "no proof", "always news", "lost is stored", "old summary"],
)
def test_planted_fault_fails(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, fault: Any) -> None:
    """Each rule, broken, shows within a few seeds."""
    monkeypatch.setattr(owner, name, fault)

    assert any(Cluster(seed).run() for seed in range(20))
