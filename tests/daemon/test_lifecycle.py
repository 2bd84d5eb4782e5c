"""Each phase says in readiness, status and metrics what the daemon does and why it is not further."""

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from candled.daemon.backfill_progress import LOG_SECONDS, BackfillProgress
from candled.daemon.lifecycle import Lifecycle, Phase, ServingParts
from candled.daemon.metrics.bars import STATUS_METRICS
from candled.daemon.readiness import Readiness
from candled.telemetry.table import TableCollector
from tests.memory_daemon import captured_logs, make_exchange, open_daemon_on

SERVING = cast("ServingParts", object())


def reasons(lifecycle: Lifecycle) -> tuple[str, ...]:
    return Readiness(lifecycle, {}).not_ready_reasons()


def test_a_start_waits_for_the_exchange() -> None:
    """Before anything answers, readiness names the phase and what is waited for."""
    lifecycle = Lifecycle()
    assert lifecycle.phase is Phase.WAITING_FOR_EXCHANGE
    assert reasons(lifecycle) == (
        "The daemon is starting: waiting for the exchange.",
        "The exchange has not answered yet.",
    )


def test_start_names_the_daemon() -> None:
    """While it starts, version, directory and exchange are among the reasons; each change is observed."""
    seen: list[tuple[str, str]] = []
    lifecycle = Lifecycle("It is candled 1.2.3.", lambda phase, reason: seen.append((phase, reason)))
    lifecycle.backfill("0 of 1 new symbols have their bars.")
    lifecycle.backfill("0 of 1 new symbols have their bars.")
    lifecycle.backfill("BTCUSDT: 5 of 60 minutes.")
    assert reasons(lifecycle)[2] == "It is candled 1.2.3."
    assert seen == [
        ("backfilling", "0 of 1 new symbols have their bars."),
        ("backfilling", "BTCUSDT: 5 of 60 minutes."),
    ]


def test_the_reason_is_the_newest() -> None:
    """A failed attempt replaces the reason and keeps the phase."""
    lifecycle = Lifecycle()
    lifecycle.wait_for_exchange("The exchange does not answer: timed out.")
    assert reasons(lifecycle)[1] == "The exchange does not answer: timed out."
    assert lifecycle.phase is Phase.WAITING_FOR_EXCHANGE


def test_the_reason_is_remembered() -> None:
    """What the exchange failed with is said again when it is waited for after another phase."""
    lifecycle = Lifecycle()
    lifecycle.wait_for_exchange("The exchange does not answer: timed out.")
    lifecycle.open_store()
    lifecycle.serve_stored(SERVING)
    lifecycle.wait_for_exchange()
    assert reasons(lifecycle)[1] == "The exchange does not answer: timed out."


def test_opening_the_store_needs_no_reason() -> None:
    """A phase that says it all stands alone."""
    lifecycle = Lifecycle()
    lifecycle.open_store()
    assert reasons(lifecycle) == ("The daemon is starting: opening the data directory.",)


def test_serving_stored_outlasts_the_exchange() -> None:
    """Once stored bars are served, an exchange that does not answer changes the reason alone."""
    lifecycle = Lifecycle()
    lifecycle.serve_stored(SERVING)
    lifecycle.wait_for_exchange("The exchange does not answer: refused.")
    assert lifecycle.phase is Phase.SERVING_STORED
    assert lifecycle.serving is SERVING
    assert reasons(lifecycle) == (
        "The daemon is starting: serving stored bars.",
        "The exchange does not answer: refused.",
    )


def test_stopping_is_the_last_phase() -> None:
    """Whatever was under way when the stop came no longer changes the phase."""
    lifecycle = Lifecycle()
    lifecycle.stop()
    lifecycle.backfill("BTCUSDT: 3 of 60 minutes.")
    assert lifecycle.phase is Phase.STOPPING
    assert reasons(lifecycle) == ("The daemon is stopping.",)


def test_a_phase_is_logged_once() -> None:
    """Each change of phase is one line, a new reason is none."""
    with captured_logs() as logs:
        lifecycle = Lifecycle()
        lifecycle.open_store()
        lifecycle.backfill("a")
        lifecycle.backfill("b")
    phases = [line["phase"] for line in logs if line["event"] == "phase entered"]
    assert phases == [Phase.OPENING_STORE.value, Phase.BACKFILLING.value]


def test_status_and_metrics_name_the_phase() -> None:
    """``GetStatus`` carries the phase, and one sample of ``candled_phase`` is 1."""
    lifecycle = Lifecycle()
    lifecycle.backfill()
    readiness = Readiness(lifecycle, {})
    assert readiness.status().phase == Phase.BACKFILLING.value
    families = TableCollector(STATUS_METRICS, readiness.status).collect()
    samples = next(family.samples for family in families if family.name == "candled_phase")
    assert {sample.labels["phase"]: sample.value for sample in samples} == {
        phase.value: phase is Phase.BACKFILLING for phase in Phase
    }


async def test_a_live_daemon_is_ready(autojump_clock: MockClock) -> None:
    """In LIVE, readiness is that of the streams and of the disk."""
    async with open_daemon_on(make_exchange()) as daemon:
        await daemon.until(lambda: daemon.readiness.not_ready_reasons() == ())
        assert daemon.readiness.status().phase == Phase.LIVE.value
        daemon.pipeline.engine.live.clear()
        (reason,) = daemon.readiness.not_ready_reasons()
        assert reason == "No stream is connected for BTCUSDT, ETHUSDT, PEPEUSDT."


async def test_refused_streams_are_named(autojump_clock: MockClock) -> None:
    """Why each URL of the streams failed is part of the reason, until one answers."""
    async with open_daemon_on(make_exchange()) as daemon:
        await daemon.until(lambda: daemon.readiness.not_ready_reasons() == ())
        daemon.exchange.command("refuse_451,cut")
        await daemon.until(lambda: bool(daemon.pipeline.feed.connect_failures))
        (reason,) = daemon.readiness.not_ready_reasons()
        assert reason.endswith("PEPEUSDT (ws://a: refused with status 451).")
        daemon.exchange.command("refuse_451=off")
        await daemon.until(lambda: daemon.readiness.not_ready_reasons() == ())


async def test_backfill_shows_its_progress(autojump_clock: MockClock) -> None:
    """Readiness counts the minutes of the present symbol."""
    lifecycle = Lifecycle()
    progress = BackfillProgress(lifecycle, ("A", "B"), hours=2)
    assert reasons(lifecycle)[1] == "0 of 2 new symbols have their bars."
    progress.show("B", 15)
    progress.show("B", 30)
    assert reasons(lifecycle)[1] == "B (2 of 2 new symbols): 45 of 120 minutes."


@pytest.mark.parametrize(("pause", "lines"), [(LOG_SECONDS / 4, 1), (LOG_SECONDS, 3)])
async def test_backfill_log_is_limited(autojump_clock: MockClock, pause: float, lines: int) -> None:
    """Steps that follow fast share a line of the log; slow ones get one each."""
    with captured_logs() as logs:
        progress = BackfillProgress(Lifecycle(), ("A",), hours=1)
        for _ in range(3):
            progress.show("A", 15)
            await trio.sleep(pause)
    found: list[Any] = [line for line in logs if line["event"] == "backfilling"]
    assert len(found) == lines
