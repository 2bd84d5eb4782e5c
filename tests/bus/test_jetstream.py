"""The log on a real nats-server: one order, appended by compare-and-set, read once over every break."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from candled.bus.nats.connection import Nats
from candled.bus.nats.jetstream import (
    Appended,
    JetStream,
    JetStreamError,
    LogOptions,
    LogReader,
    LogReplacedError,
    parse_delivery,
)
from tests.bus.servers import Server, connected, open_server

OPTIONS = LogOptions(name="LOG", subjects="log.>", exchange="an exchange", replicas=1, age_seconds=3600)


async def append(nats: Nats, subject: str, payload: bytes, expected: int) -> Appended:
    answers: list[Appended] = []
    JetStream(nats).append(subject, payload, expected, answers.append)
    with trio.fail_after(20):
        while not answers:
            await trio.sleep(0.002)
    return answers[0]


async def until(condition: Any) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.005)


async def ensure(nats: Nats, seed: int = 1) -> Any:
    with trio.fail_after(20):
        return await JetStream(nats).ensure_log(OPTIONS, Random(seed))


async def test_the_log_is_made_once(tmp_path: Path) -> None:
    """The second ingester finds the log that the first one made, with its identity."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        made = await ensure(nats, 1)
        found = await ensure(nats, 2)

    assert made == found
    assert (made.exchange, made.last, len(made.identity)) == ("an exchange", 0, 16)


async def test_a_stream_of_others_is_left_alone(tmp_path: Path) -> None:
    """A stream of that name that candled did not make is an error, not a log."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        await JetStream(nats).call("STREAM.CREATE.LOG", {"name": "LOG", "subjects": ["other"]})
        with pytest.raises(JetStreamError, match="was not made by candled"):
            await ensure(nats)


async def test_appends_compare_and_set(tmp_path: Path) -> None:
    """An append is refused unless the subject's last entry is the expected one."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        await ensure(nats)
        assert await append(nats, "log.a", b"1", 0) == Appended(1)
        assert (await append(nats, "log.a", b"2", 0)).is_refused
        assert await append(nats, "log.b", b"3", 0) == Appended(2)
        assert await append(nats, "log.a", b"4", 1) == Appended(3)
        assert (await append(nats, "elsewhere", b"4", 1)).reason == "no answer"


async def test_reader_survives_a_restart(tmp_path: Path) -> None:
    """Each entry comes once and in order, though the server is killed in between."""
    entries: list[tuple[int, bytes]] = []
    async with open_server(tmp_path) as server, connected(server) as nats:
        state = await ensure(nats)
        for number in range(5):
            await append(nats, f"log.{number}", b"%d" % number, 0)
        state = await JetStream(nats).log_state("LOG")
        reader = LogReader(JetStream(nats), "LOG", state, lambda *entry: entries.append(entry), position=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            with trio.fail_after(20):
                await reader.caught_up.wait()
            assert entries == [(3, b"2"), (4, b"3"), (5, b"4")]
            await restart(server, nats)
            await appended_after_restart(nats)
            await until(lambda: len(entries) == 4)
            nursery.cancel_scope.cancel()

    assert entries[3:] == [(6, b"5")]


async def restart(server: Server, nats: Nats) -> None:
    server.kill()
    server.start()
    await until(lambda: nats.connects == 2 and nats.is_connected)


async def appended_after_restart(nats: Nats) -> None:
    with trio.fail_after(20):
        while not (await append(nats, "log.5", b"5", 0)).sequence:
            await trio.sleep(0.05)


async def test_replaced_log_ends_the_reader(tmp_path: Path) -> None:
    """A log that was removed and made again is another one: its reader does not go on as if nothing were."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        state = await ensure(nats)
        await append(nats, "log.a", b"1", 0)
        reader = LogReader(JetStream(nats), "LOG", state, lambda *_entry: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replaced, reader)
            await until(lambda: reader.position == 1)
            await JetStream(nats).call("STREAM.DELETE.LOG")
            await ensure(nats, 2)


async def replaced(reader: LogReader) -> None:
    with trio.fail_after(20), pytest.raises(LogReplacedError):
        await reader.run()


async def test_entries_removed_unread_are_reported(tmp_path: Path) -> None:
    """A reader that was away until entries were removed says so."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        state = await ensure(nats)
        for number in range(3):
            await append(nats, "log.a", b"x", number)
        await JetStream(nats).call("STREAM.PURGE.LOG", {"seq": 3})
        reader = LogReader(JetStream(nats), "LOG", state, lambda *_entry: None, position=1)
        with trio.fail_after(20), pytest.raises(LogReplacedError, match="removed before they were read"):
            await reader.run()


async def test_an_emptied_subject_is_seen(tmp_path: Path) -> None:
    """The log says whether it has any entry of a symbol."""
    async with open_server(tmp_path) as server, connected(server) as nats:
        await ensure(nats)
        await append(nats, "log.a", b"x", 0)
        assert not await JetStream(nats).is_empty("LOG", "log.a")
        assert await JetStream(nats).is_empty("LOG", "log.b")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("$JS.ACK.LOG.consumer.1.17.4.1700000000000000000.0", (17, 4)),
        ("$JS.ACK.domain.hash.LOG.consumer.1.17.4.1700000000000000000.0", (17, 4)),
        ("$JS.ACK.domain.hash.LOG.consumer.1.17.4.1700000000000000000.0.token", (17, 4)),
    ],
)
def test_deliveries_are_numbered(reply: str, found: tuple[int, int]) -> None:
    """Both forms of a delivery's subject give its sequences."""
    assert parse_delivery(reply) == found


@pytest.mark.parametrize("reply", ["", "_INBOX.1", "$JS.ACK.LOG.consumer.1.x.4.0.0"])
def test_other_subjects_are_no_deliveries(reply: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"not a delivery|invalid literal"):
        parse_delivery(reply)
