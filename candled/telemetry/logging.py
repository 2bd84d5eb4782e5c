"""Structured logs: readable lines on a terminal, JSON elsewhere, and a count of lines by level."""

import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from candled.telemetry.log_limit import LogLimit

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_QUIET: Final = ("asyncio", "grpclib", "hpack", "httpcore", "httpx", "hypercorn", "trio-websocket", "websockets")
"""Libraries of which only warnings are logged: candled reports the rest itself."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters except tab and newline: a terminal would obey them."""

_tracebacks: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
"""Tracebacks without local variables, which may be bearer tokens or other contents of a request."""


class LogCounts:
    """How many lines there were at each level since the start, suppressed ones included; metrics show it."""

    def __init__(self, limit: LogLimit | None = None) -> None:
        self._lines: Counter[str] = Counter(dict.fromkeys(_LEVELS, 0))
        self._limit = limit

    def flush(self) -> None:
        """Log how many lines were suppressed, where their period is over: call it now and then."""
        if self._limit is not None:
            self._limit.flush()

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Count one line (a structlog processor)."""
        self._lines[str(event.get("level", "info"))] += 1
        return event

    def statistics(self) -> Mapping[str, int]:
        """Return the number of lines by level."""
        return dict(self._lines)


def configure_logging(level: str, form: str, *, stream: TextIO | None = None) -> LogCounts:
    """Send the logs of structlog and of the standard library to one stream, in one form.

    Call it once, before anything logs. Times are UTC, ISO 8601.

    Args:
        level: lowest level logged (``debug``, ``info``, ``warning``, ``error``).
        form: ``console``, ``json``, or ``auto``: console if ``stream`` is a terminal.
        stream: standard error by default; standard output is for results.

    Returns:
        The counts of log lines.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    limit = LogLimit(time.monotonic)
    counts = LogCounts(limit)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=True),
        counts,
    ]
    renderers: list[structlog.typing.Processor] = (
        [
            _escape_control_characters,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if console
        else [_tracebacks, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(limit)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[level]))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return counts


def _escape_control_characters(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters in every text: some of them come from the exchange or from a client."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), value)
    return event
