"""The connection to the bus as the settings say: who a client is, whom it trusts, and what cannot be used."""

from pathlib import Path
from random import Random

import pytest
import trio
import trustme

from candled.config.settings import DaemonSettings
from candled.daemon.bus_connection import open_bus
from candled.errors import UserError
from tests.bus.servers import open_server


async def test_a_certificate_shows_who_a_client_is(tmp_path: Path) -> None:
    """A server that asks for the client's certificate takes the one of the settings."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client = authority.issue_cert("edge.example")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pem = tmp_path / "server.pem"
    tls = f'tls {{ cert_file: "{pem}", key_file: "{pem}", ca_file: "{tmp_path}/ca.pem", verify: true }}'
    async with open_server(tmp_path, more=tls, scheme="tls") as server:
        settings = DaemonSettings(
            role="edge",
            bus_urls=(server.url,),
            bus_tls_authority=tmp_path / "ca.pem",
            bus_tls_certificate=tmp_path / "client.pem",
            bus_tls_key=tmp_path / "client.key",
        )
        async with open_bus(settings, "test", Random(1)) as nats:
            with trio.fail_after(40):
                await nats.wait_connected()


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [("client.pem", None, "go together"), (None, "client.key", "go together"), ("a", "b", "cannot be used")],
)
async def test_half_a_certificate_is_refused(
    tmp_path: Path, certificate: str | None, key: str | None, sentence: str
) -> None:
    """Each needs the other, and files that are there."""
    settings = DaemonSettings(
        role="edge",
        bus_urls=("tls://127.0.0.1:1",),
        bus_tls_certificate=tmp_path / certificate if certificate else None,
        bus_tls_key=tmp_path / key if key else None,
    )
    with pytest.raises(UserError, match=sentence):
        async with open_bus(settings, "test", Random(1)):
            pass


@pytest.mark.parametrize("text", ["", "user:password\nanother", " \n"])
async def test_a_login_is_one_line(tmp_path: Path, text: str) -> None:
    """A file of another form is refused, with what it must have."""
    (tmp_path / "login").write_text(text)
    settings = DaemonSettings(role="edge", bus_urls=("nats://a",), bus_login_file=tmp_path / "login")
    with pytest.raises(UserError, match="one line: user:password, or a token"):
        async with open_bus(settings, "test", Random(1)):
            pass
