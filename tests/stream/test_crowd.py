"""A hundred healthy clients, ten slow ones and a frozen one, each over a socket of its own."""

import pytest

from benchmarks.fanout.crowd import measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def test_crowd_with_a_frozen_client() -> None:
    """All but the frozen client get every closed bar in order, and memory is bounded."""
    figures = measure(4.0, with_others=True)  # it fails if a closed bar is missing anywhere, or out of order
    assert figures["slow_got_messages"] > 0
    assert figures["grown_mb"] < 20
