"""Store and query bars: the journal, sealed and recent Parquet files, and SQL over all of them."""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from candled.history.connection import connect
    from candled.history.durable import DurableHistory
    from candled.history.errors import DataDirectoryError
    from candled.history.memory import MemoryHistory, MemoryStore, open_memory_history
    from candled.history.opening import open_history
    from candled.history.settings import HistorySettings
    from candled.history.statistics import HistoryStatistics

__all__ = [
    "DataDirectoryError",
    "DurableHistory",
    "HistorySettings",
    "HistoryStatistics",
    "MemoryHistory",
    "MemoryStore",
    "connect",
    "open_history",
    "open_memory_history",
]

_MODULES: Final = {
    "DataDirectoryError": "errors",
    "DurableHistory": "durable",
    "HistorySettings": "settings",
    "HistoryStatistics": "statistics",
    "MemoryHistory": "memory",
    "MemoryStore": "memory",
    "connect": "connection",
    "open_history": "opening",
    "open_memory_history": "memory",
}
"""Modules of the names, imported when they are used: who only queries needs neither Arrow nor a writer."""


def __getattr__(name: str) -> object:
    """Import a name when it is used for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, whether or not they were used yet."""
    return __all__
