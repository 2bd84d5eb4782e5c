"""Progress bars of long work on a terminal; nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]


@contextmanager
def progress_bar(unit: str) -> Iterator[Progress]:
    """Show a progress bar on standard error while inside; yields a function of (done, total, description).

    Args:
        unit: of ``done`` and ``total``: ``files``, ``bars``, ``symbols`` or ``bytes``.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _all, _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    console = Console(stderr=True)
    with Bar(BarColumn(), amount, TimeRemainingColumn(), TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
