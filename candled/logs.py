"""Structured logs: lines for people on a terminal, JSON for machines, and a count of every line by level."""

import logging
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_QUIET: Final = ("asyncio", "grpclib", "hpack", "httpcore", "httpx", "hypercorn", "trio-websocket")
"""Libraries that log what candled itself reports better: only their warnings are kept."""


class LogCounts:
    """How many lines were logged at each level since the start; metrics show it."""

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter(dict.fromkeys(_LEVELS, 0))

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Count one line (a structlog processor)."""
        self._lines[str(event.get("level", "info"))] += 1
        return event

    def statistics(self) -> Mapping[str, int]:
        """Lines by level."""
        return dict(self._lines)


def configure_logging(level: str, form: str, *, stream: TextIO | None = None) -> LogCounts:
    """Send structlog's and the standard library's logs to one stream, in one form.

    Called once by a command, before anything logs. Times are UTC, ISO 8601.

    Arguments:
        level: least level logged (``debug``, ``info``, ``warning``, ``error``).
        form: ``console``, ``json``, or ``auto`` for console where ``stream`` is a terminal.
        stream: standard error by default, so that standard output stays for results.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    counts = LogCounts()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=True),
        counts,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if console else [structlog.processors.dict_tracebacks]),
                renderer,
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
        cache_logger_on_first_use=True,
    )
    return counts
