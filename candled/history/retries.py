"""Retry disk writes until they succeed, and keep the reason of the last failure."""

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa
import structlog
import trio

from candled.history.errors import DataDirectoryError
from candled.retry import Backoff

DISK_ERRORS: Final = (OSError, duckdb.Error, pa.ArrowException, DataDirectoryError)
"""Errors that a full, read-only or broken disk raises in each library that writes."""

_FIRST_DELAY: Final = 0.1
"""Seconds before the first retry."""
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Retries:
    """Current write failures, and their number."""

    def __init__(self, delay_max: float, rng: random.Random) -> None:
        """Start without failures.

        Args:
            delay_max: Maximum seconds between retries.
            rng: Source of jitter.
        """
        self.errors = 0
        self.last_error: str | None = None
        """Kept after recovery."""
        self._delay_max = delay_max
        self._rng = rng
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """A sentence about the current failure; None without one."""
        return next(iter(self._problems.values()), None)

    async def until_done(self, what: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Retry ``work`` with growing pauses until the disk accepts it.

        Args:
            what: Names the work in the log and in ``problem``: "the history cannot ...".
            work: Raises one of ``DISK_ERRORS`` when a write fails.
        """
        backoff = Backoff(self._rng, first=_FIRST_DELAY, delay_max=self._delay_max)
        while True:
            try:
                result = await work()
            except DISK_ERRORS as error:
                delay = backoff.next()
                self.errors += 1
                self.last_error = first_line(error)
                self._problems[what] = f"the history cannot {what}: {self.last_error}"
                seconds = round(delay, 2)
                _log.error("history write failed", what=what, reason=self.last_error, retry_seconds=seconds)
            else:
                self._problems.pop(what, None)
                return result
            await trio.sleep(delay)


@contextmanager
def writing_once(path: Path) -> Iterator[None]:
    """Convert a disk error of work that is not retried to an error sentence for the user.

    Raises:
        DataDirectoryError: the work failed.
    """
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        raise DataDirectoryError(
            f"Cannot write to {path} ({first_line(error)}): stored bars are kept; fix the cause and try again."
        ) from error


def first_line(error: BaseException) -> str:
    """Return the text of an error in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
