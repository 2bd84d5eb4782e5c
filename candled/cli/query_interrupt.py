"""End a running query on Ctrl-C.

DuckDB runs a query inside one call, and Python's handler of a signal waits until that call returns: minutes, in
a long query. The C handler, though, writes to a descriptor at once; a thread reads it and asks DuckDB to stop.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb

_SIGNALS_MAX: Final = 64


@contextmanager
def ending_on_ctrl_c(connection: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """Interrupt the query of a connection on Ctrl-C, while inside; ``KeyboardInterrupt`` follows as ever.

    Outside of the main thread, which alone handles signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()

    def watch() -> None:
        while signals := reader.recv(_SIGNALS_MAX):
            if signal.SIGINT in signals:
                connection.interrupt()

    writer.setblocking(False)  # the handler must not wait
    watcher = threading.Thread(target=watch, name="query interrupt", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()
