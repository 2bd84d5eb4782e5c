"""How bars stay: the journal, sealed and recent Parquet files, and SQL over all of them."""

from candled.history.errors import DataDirectoryError
from candled.history.history import DurableHistory, open_history
from candled.history.interface import History, HistoryStatistics
from candled.history.memory import MemoryHistory, MemoryStore, open_memory_history
from candled.history.reader import connect
from candled.history.settings import HistorySettings

__all__ = [
    "DataDirectoryError",
    "DurableHistory",
    "History",
    "HistorySettings",
    "HistoryStatistics",
    "MemoryHistory",
    "MemoryStore",
    "connect",
    "open_history",
    "open_memory_history",
]
