"""Whether the servers sync always is asked where it can be, and said not to be known where not."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from candled.bus.nats.monitoring import MonitorError, Sync, fetch_sync, read_sync
from candled.daemon.sync_check import UNCHECKED, SyncCheck
from candled.errors import UserError
from tests.bus.servers import open_server
from tests.ports import free_ports

ALWAYS = Sync(is_always=True, seconds=120.0)
SELDOM = Sync(is_always=False, seconds=30.0)


def check(answers: Mapping[str, Sync | MonitorError]) -> SyncCheck:
    """A check of servers that answer so."""

    async def fetch(url: str) -> Sync:
        await trio.lowlevel.checkpoint()
        answer = answers[url]
        if isinstance(answer, MonitorError):
            raise answer
        return answer

    return SyncCheck(tuple(answers), fetch)


@pytest.mark.parametrize(
    ("jetstream", "found"),
    [("sync_interval: always", True), ('sync_interval: "30s"', False), ("", False)],
)
async def test_a_server_says_how_it_syncs(tmp_path: Path, jetstream: str, *, found: bool) -> None:
    """A real one does, by its monitoring."""
    port = free_ports(1)[0]
    async with open_server(tmp_path, jetstream=jetstream, more=f'http: "127.0.0.1:{port}"'):
        sync = await fetch_sync(f"http://127.0.0.1:{port}/")

    assert sync == Sync(found, 30.0 if "30s" in jetstream else 120.0)


async def test_a_port_without_monitoring_is_named() -> None:
    """Nobody listens: the reason is an error that the check reports."""
    with pytest.raises(MonitorError):
        await fetch_sync(f"http://127.0.0.1:{free_ports(1)[0]}")


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (200, b"<html>"), (200, b"{}"), (200, b'{"jetstream": {}}')]
)
def test_another_answer_says_nothing(status: int, body: bytes) -> None:
    """What is not of a nats-server with JetStream is no answer."""
    with pytest.raises(MonitorError):
        read_sync(status, body)


async def test_servers_that_sync_always_are_not_mentioned() -> None:
    """Nothing is to be said, and nothing to be asked again."""
    found = check({"http://a": ALWAYS, "http://b": ALWAYS})
    await found.begin()
    await found.run()

    assert found.notices() == ()


async def test_a_server_that_does_not_is_refused() -> None:
    """The sentence names it, says what may be lost, and what to change."""
    with pytest.raises(
        UserError, match=r"http://b acknowledges entries up to 30 s before .*sync_interval: always"
    ):
        await check({"http://a": ALWAYS, "http://b": SELDOM}).begin()


async def test_what_is_not_asked_is_said() -> None:
    """Without the servers' monitoring nobody knows, and an operator reads so."""
    found = check({})
    await found.begin()

    assert found.notices() == (UNCHECKED,)


async def test_a_server_is_asked_again(autojump_clock: object) -> None:
    """One that does not answer at the start is a notice until it does, also when it turns out not to sync."""
    answers: dict[str, Sync | MonitorError] = {"http://a": MonitorError("refused.")}
    found = check(answers)
    await found.begin()
    assert found.notices() == ("The NATS server at http://a does not say how it syncs: refused.",)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        answers["http://a"] = SELDOM
        await trio.sleep(100)
        assert "acknowledges entries" in found.notices()[0]
        answers["http://a"] = ALWAYS
        await trio.sleep(100)
        assert found.notices() == ()
