"""Going on while the disk refuses: every write is tried until it succeeds, and why it does not is told."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa
import structlog
import trio

from candled.history.errors import DataDirectoryError

DISK_ERRORS: Final = (OSError, duckdb.Error, pa.ArrowException, DataDirectoryError)
"""What a disk that is full, read-only or broken raises, by way of those who write to it."""

_FIRST_DELAY: Final = 0.1
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Retries:
    """What the disk refuses now, and how often it did."""

    def __init__(self, delay_max: float) -> None:
        self.errors = 0
        self.last_error: str | None = None
        """Kept after recovery."""
        self._delay_max = delay_max
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """A sentence on what the disk refuses now."""
        return next(iter(self._problems.values()), None)

    async def until_done(self, what: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do ``work``, which is to ``what``, until the disk takes it, with growing pauses."""
        delay = _FIRST_DELAY
        while True:
            try:
                result = await work()
            except DISK_ERRORS as error:
                self.errors += 1
                self.last_error = first_line(error)
                self._problems[what] = f"the history cannot {what}: {self.last_error}"
                _log.error("history_write_failed", what=what, reason=self.last_error, retry_seconds=delay)
            else:
                self._problems.pop(what, None)
                return result
            await trio.sleep(delay)
            delay = min(delay * 2, self._delay_max)


@contextmanager
def writing_once(path: Path) -> Iterator[None]:
    """For work that is given up when the disk refuses it: that is then a sentence for the user.

    Raises:
        DataDirectoryError: the disk did refuse.
    """
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        raise DataDirectoryError(
            f"cannot write to {path} ({first_line(error)}): what is stored already is kept; mend it and call again"
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
