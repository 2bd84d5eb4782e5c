"""Log lines: JSON for machines, readable ones for people, from the standard library too, and counted."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from candled.telemetry.logging import configure_logging


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """Logging is the process's own: every test leaves it as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_without_a_terminal() -> None:
    """Where there is no terminal each line is JSON, with time and level."""
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


def test_warnings_of_libraries() -> None:
    """Warnings of libraries are logged in the same form, lower levels are not."""
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


def fail_with_secret(stream: io.StringIO, form: str) -> None:
    """Log an exception from a frame whose locals hold a bearer token."""

    def authorise(authorization: str) -> None:
        header = {"authorization": authorization}
        raise ValueError(f"no use for {len(header)} header")

    configure_logging("debug", form, stream=stream)
    try:
        authorise("Bearer " + "-".join(["s3", "cr3t"] * 4))
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("hypercorn.error").exception("failed")


@pytest.mark.parametrize("form", ["json", "console"])
def test_traceback_hides_locals(form: str) -> None:
    """No form of a logged exception shows the locals of its frames, which may hold secrets."""
    stream = io.StringIO()
    fail_with_secret(stream, form)
    assert stream.getvalue().count("no use for 1 header") == 2
    assert "s3-cr3t" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "a\rb", "\x08", "\x7f"])
def test_control_characters_are_escaped(form: str, text: str) -> None:
    """Text from outside cannot steer a terminal that shows the log, whichever field holds it."""
    stream = io.StringIO()
    configure_logging("info", form, stream=stream)
    structlog.get_logger().info("status " + text, status=text)
    logging.getLogger("x").warning("status %s", text)
    assert not set(text) & set("\x1b\x07\x9b\r\x08\x7f") & set(stream.getvalue())
