"""Log lines: JSON for machines, readable ones for people, from the standard library too, and counted."""

import io
import json
import logging

import pytest
import structlog

from candled.logs import configure_logging


@pytest.fixture(autouse=True)
def restore():
    """Logging is the process's own: every test leaves it as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_where_there_is_no_terminal_each_line_is_json_with_time_and_level() -> None:
    stream = io.StringIO()
    configure_logging("info", "auto", stream=stream)
    structlog.get_logger("feed").warning("stream lost", symbol="BTCUSDT")
    (line,) = lines(stream)
    assert line["event"] == "stream lost"
    assert (line["level"], line["symbol"]) == ("warning", "BTCUSDT")
    assert str(line["timestamp"]).endswith("Z")


def test_people_get_readable_lines() -> None:
    stream = io.StringIO()
    configure_logging("info", "console", stream=stream)
    structlog.get_logger().warning("stream lost", symbol="BTCUSDT")
    assert "[warning  ] stream lost" in stream.getvalue()
    assert "symbol=BTCUSDT" in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging("warning", "json", stream=stream)
    structlog.get_logger().info("hello")
    logging.getLogger("candled").info("hello")
    assert stream.getvalue() == ""


def test_libraries_come_through_in_the_same_form_and_only_their_warnings() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    logging.getLogger("hypercorn.error").info("Running on ...")
    logging.getLogger("hypercorn.error").error("broken %s", "pipe")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("broken pipe", "error")


def test_an_exception_is_logged_with_its_traceback() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert "ValueError" in json.dumps(line["exception"])


def test_every_line_is_counted_by_level() -> None:
    counts = configure_logging("info", "json", stream=io.StringIO())
    structlog.get_logger().error("one")
    structlog.get_logger().error("two")
    logging.getLogger("x").warning("three")
    assert counts.statistics() == {"debug": 0, "info": 0, "warning": 1, "error": 2}
