"""Limits log lines of one cause, so that no client and no exchange can fill the disk or hide what else happens.

The first lines of a cause are logged as they come. Beyond the limit of a period they are only counted, and the sum
is logged once the period is over. Metrics count every line, logged or not.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import attrs
import structlog

LINES_MAX: Final = 20
"""Lines of one cause that are logged in a period."""
PERIOD_SECONDS: Final = 10.0
CAUSES_MAX: Final = 1_000
"""Causes counted separately; all further ones count as one."""

_OTHERS: Final = ("", "other causes")


@attrs.define
class _Cause:
    """The lines of one cause in the running period."""

    began: float
    lines: int = 0
    suppressed: int = 0
    level: int = logging.WARNING


class LogLimit(logging.Filter):
    """A filter for a log handler. A cause is a logger and its event, or its text before the arguments.

    Args:
        clock: monotonic seconds.
        lines_max: of one cause in a period.
        period: seconds.
    """

    def __init__(
        self, clock: Callable[[], float], *, lines_max: int = LINES_MAX, period: float = PERIOD_SECONDS
    ) -> None:
        super().__init__()
        self._clock = clock
        self._lines_max = lines_max
        self._period = period
        self._causes: dict[tuple[str, str], _Cause] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log this line."""
        now = self._clock()
        key = (record.name, _event(record.msg))
        if key not in self._causes and len(self._causes) >= CAUSES_MAX:
            key = _OTHERS
        cause = self._causes.setdefault(key, _Cause(now))
        if now - cause.began >= self._period:
            self._sum_up(key, cause)
            cause.began, cause.lines = now, 0
        cause.level = record.levelno
        cause.lines += 1
        if cause.lines > self._lines_max:
            cause.suppressed += 1
            return False
        return True

    def flush(self) -> None:
        """Log the sums of periods that are over, and forget those causes: call it now and then."""
        now = self._clock()
        for key, cause in list(self._causes.items()):
            if now - cause.began >= self._period:
                self._sum_up(key, cause)
                del self._causes[key]

    def _sum_up(self, key: tuple[str, str], cause: _Cause) -> None:
        if cause.suppressed:
            suppressed, cause.suppressed = cause.suppressed, 0
            name, event = key
            structlog.get_logger(name).log(
                cause.level, "log lines suppressed", cause=event, lines=suppressed, seconds=self._period
            )


def _event(message: Any) -> str:
    """What a line says, without what differs from one to the next."""
    return str(message.get("event", "")) if isinstance(message, dict) else str(message)
