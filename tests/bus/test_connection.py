"""The connection, with real nats-servers: it comes back by itself, and says what is the matter when it cannot."""

import signal
import ssl
from pathlib import Path
from random import Random

import pytest
import trio
import trustme

from candled.bus.nats import connection
from candled.bus.nats.connection import Nats, NatsOptions, NoAnswerError, open_nats
from candled.bus.nats.protocol import Message
from tests.bus.servers import connected, open_server


async def received(messages: list[Message], count: int) -> None:
    with trio.fail_after(20):
        while len(messages) < count:
            await trio.sleep(0.01)


async def test_a_message_reaches_every_subscription(tmp_path: Path) -> None:
    """Wildcards match, and of one queue one subscription gets it."""
    messages: list[Message] = []
    async with open_server(tmp_path) as server, connected(server) as sender, connected(server) as receiver:
        receiver.subscribe("a.*", messages.append)
        for _ in range(2):
            receiver.subscribe("a.>", messages.append, queue="q")
        await receiver.request("$SYS.REQ.USER.INFO")  # an answer: the server has the subscriptions
        assert sender.publish("a.b", b"x", headers={"K": "v"})
        await received(messages, 2)
        await sender.request("$SYS.REQ.USER.INFO")

    assert [(each.subject, each.payload, each.headers) for each in messages] == [("a.b", b"x", {"K": "v"})] * 2


async def test_an_ended_subscription_is_silent(tmp_path: Path) -> None:
    """After ``unsubscribe`` nothing comes."""
    first: list[Message] = []
    second: list[Message] = []
    async with open_server(tmp_path) as server, connected(server) as sender, connected(server) as receiver:
        ended = receiver.subscribe("a", first.append)
        receiver.subscribe("a", second.append)
        receiver.unsubscribe(ended)
        await receiver.request("$SYS.REQ.USER.INFO")
        sender.publish("a", b"x")
        await received(second, 1)

    assert first == []


async def test_subscriptions_outlive_the_server(tmp_path: Path) -> None:
    """A killed server is replaced by the next of the list, and the subscriptions go on there."""
    messages: list[Message] = []
    async with open_server(tmp_path) as one, open_server(tmp_path) as other:
        async with connected(one, other) as receiver, connected(other) as sender:
            receiver.subscribe("a", messages.append)
            assert receiver.server == one.url.removeprefix("nats://")
            one.kill()
            with trio.fail_after(20):
                while receiver.connects < 2 or not receiver.is_connected:
                    await trio.sleep(0.01)
            await receiver.request("$SYS.REQ.USER.INFO")
            sender.publish("a", b"x")
            await received(messages, 1)
        one.start()


async def test_a_request_fails_when_nobody_is_there(tmp_path: Path) -> None:
    """The server says at once that nobody answers; a lost connection ends what waits."""
    async with open_server(tmp_path) as server, connected(server) as nats, connected(server) as other:
        with pytest.raises(NoAnswerError, match="nobody answers"):
            await nats.request("nobody")
        other.subscribe("mute", lambda _message: None)
        await other.request("$SYS.REQ.USER.INFO")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_the_mute, nats)
            await trio.sleep(0.05)
            server.kill()
        assert not nats.publish("a", b"x")
        server.start()


async def ask_the_mute(nats: Nats) -> None:
    with pytest.raises(NoAnswerError, match=r"not connected|no answer"):
        await nats.request("mute", seconds=20)


async def test_a_login_is_needed(tmp_path: Path) -> None:
    """Without the right login there is no connection, and the reason names no password."""
    users = 'authorization { user: "u", password: "geheim" }'
    async with open_server(tmp_path, more=users) as server:
        async with connected(server, login={"user": "u", "pass": "geheim"}) as nats:
            assert nats.is_connected
        wrong = NatsOptions(urls=[server.url], name="test", login={"user": "u", "pass": "falsch"})
        async with open_nats(wrong, Random(1)) as nats:
            with trio.fail_after(20):
                while "Authorization" not in nats.failure:
                    await trio.sleep(0.01)
            assert not nats.is_connected
    assert "falsch" not in repr(wrong) + nats.failure


async def test_tls_checks_the_server(tmp_path: Path) -> None:
    """A tls:// server needs a certificate that the given authority signed."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.pem" }}'
    async with open_server(tmp_path, more=tls, scheme="tls") as server:
        trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        async with connected(server, tls=trusting) as nats:
            with pytest.raises(NoAnswerError, match="nobody answers"):
                await nats.request("nobody")
        async with open_nats(NatsOptions(urls=[server.url], name="test"), Random(1)) as nats:
            with trio.fail_after(20):
                while "certificate verify failed" not in nats.failure:
                    await trio.sleep(0.01)


async def test_a_server_that_hangs_is_left(tmp_path: Path) -> None:
    """A stopped server answers no ping: the connection moves to the next one."""
    async with open_server(tmp_path) as one, open_server(tmp_path) as other, connected(one, other) as nats:
        assert one.process is not None
        one.process.send_signal(signal.SIGSTOP)
        with trio.fail_after(20):
            while nats.server != other.url.removeprefix("nats://"):
                await trio.sleep(0.01)
        one.process.send_signal(signal.SIGCONT)


async def test_a_server_that_hangs_alone_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another one the connection counts as lost after a while, and works when the server does."""
    monkeypatch.setattr(connection, "LOST_SECONDS", 0.05)
    async with open_server(tmp_path) as server, connected(server) as nats:
        assert server.process is not None
        assert nats.is_answering
        server.process.send_signal(signal.SIGSTOP)
        with trio.fail_after(40):
            await nats.wait_answering(value=False)
            while nats.is_connected:
                await trio.sleep(0.01)
            assert not nats.publish("a", b"x")
            server.process.send_signal(signal.SIGCONT)
            await nats.wait_connected()
            await nats.request("$SYS.REQ.USER.INFO")
        assert nats.is_answering


async def test_too_large_a_message_is_not_sent(tmp_path: Path) -> None:
    """The server would end the connection for it."""
    async with open_server(tmp_path, more="max_payload: 1000") as server, connected(server) as nats:
        assert not nats.publish("a", bytes(1001))
        assert nats.publish("a", bytes(1000))
        await nats.request("$SYS.REQ.USER.INFO")
        assert nats.connects == 1
