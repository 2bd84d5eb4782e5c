"""Log lines of one cause are limited, and summed up."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from candled.telemetry import logging as telemetry
from candled.telemetry.log_limit import CAUSES_MAX, LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> LogLimit:
    return LogLimit(clock, lines_max=3, period=10.0)


@pytest.fixture
def output(limit: LogLimit, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Where limited log lines go, as the daemon configures them."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setattr(telemetry, "LogLimit", lambda _clock: limit)
    stream = io.StringIO()
    telemetry.configure_logging("info", "json", stream=stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[tuple[str, object]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(line["event"], line.get("lines") or line.get("number")) for line in found]


def test_a_flood_is_summed_up(output: io.StringIO, clock: Clock) -> None:
    """The first lines of a cause are logged; the others are one line with their number once the period is over."""
    log = structlog.get_logger("port")
    for number in range(1, 20_001):
        log.warning("connection cut", number=number)
    assert logged(output) == [("connection cut", number) for number in (1, 2, 3)]
    clock.now = 10.0
    log.warning("connection cut", number=20_001)
    assert logged(output)[3:] == [("log lines suppressed", 19_997), ("connection cut", 20_001)]


def test_a_sum_needs_no_further_line(output: io.StringIO, clock: Clock, limit: LogLimit) -> None:
    """A flush after the period logs the sum of a cause that is silent by then, once."""
    for number in range(1, 6):
        structlog.get_logger("port").error("connections not accepted", number=number)
    limit.flush()
    assert len(logged(output)) == 3
    clock.now = 10.0
    limit.flush()
    limit.flush()
    assert logged(output)[3:] == [("log lines suppressed", 2)]


def test_other_causes_are_logged(output: io.StringIO) -> None:
    """A flood of one cause hides no other: not of another logger, nor another text of the same."""
    for number in range(1, 10):
        structlog.get_logger("port").warning("connection cut", number=number)
    structlog.get_logger("port").warning("connection refused", number=1)
    structlog.get_logger("feed").warning("connection cut", number=2)
    assert logged(output)[3:] == [("connection refused", 1), ("connection cut", 2)]


def test_libraries_are_limited_too(output: io.StringIO) -> None:
    """Lines of the standard library's loggers are distinguished by their format string."""
    for number in range(10):
        logging.getLogger("hypercorn.error").error("Error in request %s", number)
    assert [event for event, _ in logged(output)] == [f"Error in request {number}" for number in range(3)]


def test_endless_causes_are_bounded(limit: LogLimit) -> None:
    """Texts that always differ become one cause once there are many: memory and lines stay bounded."""

    def passes(text: str) -> bool:
        return limit.filter(logging.LogRecord("x", logging.WARNING, "", 0, text, None, None))

    assert all(passes(f"cause {number}") for number in range(CAUSES_MAX))
    assert [passes(f"another {number}") for number in range(5)] == [True, True, True, False, False]
