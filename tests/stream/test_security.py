"""TLS, mutual TLS and bearer tokens: who gets in, and how secrets are renewed while the server runs."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
import trustme
from grpclib.health.v1 import health_pb2

from candled.api import candles_pb2 as pb
from candled.client import ClientError, open_trio_client
from candled.errors import UserError
from candled.stream.grpc.security import Security, SecurityFiles
from tests.stream.grpc_client import dial, in_thread
from tests.stream.support import SYMBOLS, World, open_service

TOKEN = "a-token-of-enough-letters"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def world() -> World:
    return World(clock=trio.current_time)


def write_certificate(folder: Path, authority: trustme.CA) -> SecurityFiles:
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return SecurityFiles(certificate=folder / "cert.pem", key=folder / "key.pem")


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def symbols(address: str, **options: Any) -> list[str]:
    async with open_trio_client(address, **options) as client:
        return [symbol.symbol for symbol in await client.symbols()]


async def test_tls_serves_grpcio_and_our_own_client(world: World, authority: trustme.CA, tmp_path: Path) -> None:
    files = write_certificate(tmp_path, authority)
    with trio.fail_after(10):
        async with open_service(world, files=files) as server:
            credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
            with dial(server.address, credentials) as client:
                answer = await in_thread(client.ListSymbols, pb.ListSymbolsRequest())
            assert [s.symbol for s in answer.symbols] == list(SYMBOLS)
            assert await symbols(server.address, tls=trusting(authority)) == list(SYMBOLS)


async def test_untrusted_certificate_is_named(world: World, authority: trustme.CA, tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_service(world, files=write_certificate(tmp_path, authority)) as server:
            with pytest.raises(ClientError, match="certificate verify failed"):
                await symbols(server.address, tls=True)


async def test_plain_client_is_refused_by_a_tls_port(world: World, authority: trustme.CA, tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_service(world, files=write_certificate(tmp_path, authority)) as server:
            with pytest.raises(ClientError) as caught:
                await symbols(server.address)
            assert caught.value.code == "UNAVAILABLE"
            assert await symbols(server.address, tls=trusting(authority)) == list(SYMBOLS)


async def test_mutual_tls_takes_only_clients_with_a_certificate(
    world: World, authority: trustme.CA, tmp_path: Path
) -> None:
    files = write_certificate(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    files = SecurityFiles(certificate=files.certificate, key=files.key, client_authority=tmp_path / "clients.pem")
    known = trusting(authority)
    authority.issue_cert("client@example.org").configure_cert(known)
    stranger = trusting(authority)
    trustme.CA().issue_cert("client@example.org").configure_cert(stranger)
    with trio.fail_after(10):
        async with open_service(world, files=files) as server:
            assert await symbols(server.address, tls=known) == list(SYMBOLS)
            for context in (trusting(authority), stranger):
                with pytest.raises(ClientError) as caught:
                    await symbols(server.address, tls=context)
                assert caught.value.code == "UNAVAILABLE"


async def test_a_renewed_certificate_is_used_without_a_restart(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candled.stream.grpc.server._FILES_PERIOD", 0.05)
    old, new = trustme.CA(), trustme.CA()
    with trio.fail_after(10):
        async with open_service(world, files=write_certificate(tmp_path, old)) as server:
            assert await symbols(server.address, tls=trusting(old)) == list(SYMBOLS)
            write_certificate(tmp_path, new)
            while True:
                try:
                    assert await symbols(server.address, tls=trusting(new)) == list(SYMBOLS)
                    break
                except ClientError:
                    await trio.sleep(0.05)


def test_bad_renewal_keeps_the_old_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    files = write_certificate(tmp_path, authority)
    security = Security(files)
    assert files.key is not None
    files.key.write_text("nonsense")
    os.utime(files.key, (1, 1))
    security.reload()
    write_certificate(tmp_path, authority)
    security.reload()


async def test_call_without_the_token_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# for the charts\n{TOKEN}\n")
    with trio.fail_after(10):
        async with open_service(world, files=SecurityFiles(tokens=tmp_path / "tokens")) as server:
            assert await symbols(server.address, token=TOKEN) == list(SYMBOLS)
            for wrong in (None, "another-token-of-enough-letters", TOKEN[:-1]):
                with pytest.raises(ClientError, match="This service asks for a token") as caught:
                    await symbols(server.address, token=wrong)
                assert caught.value.code == "UNAUTHENTICATED"


async def test_health_needs_no_token(world: World, tmp_path: Path) -> None:
    """Streams and reflection need the token, health does not."""
    (tmp_path / "tokens").write_text(TOKEN)
    with trio.fail_after(10):
        async with open_service(world, files=SecurityFiles(tokens=tmp_path / "tokens")) as server:
            with dial(server.address) as client:
                check = client.channel.unary_unary(
                    "/grpc.health.v1.Health/Check",
                    request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                    response_deserializer=health_pb2.HealthCheckResponse.FromString,
                )
                assert (await in_thread(check, health_pb2.HealthCheckRequest())).status == 1
                with pytest.raises(grpc.RpcError) as caught:
                    await in_thread(next, client.stream_bars(pb.StreamBarsRequest()))
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                reflect = client.channel.stream_stream(
                    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
                )
                with pytest.raises(grpc.RpcError) as caught:
                    await in_thread(next, reflect(iter([b""])))
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_tokens_change_with_their_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candled.stream.grpc.server._FILES_PERIOD", 0.05)
    path = tmp_path / "tokens"
    path.write_text(TOKEN)
    with trio.fail_after(10):
        async with open_service(world, files=SecurityFiles(tokens=path)) as server:
            (tmp_path / "new").write_text("the-next-token-of-all")
            (tmp_path / "new").rename(path)
            while True:
                try:
                    await symbols(server.address, token="the-next-token-of-all")
                    break
                except ClientError:
                    await trio.sleep(0.02)
            with pytest.raises(ClientError):
                await symbols(server.address, token=TOKEN)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (lambda p: SecurityFiles(certificate=p / "none.pem"), "TLS certificate .* cannot be used: No such file"),
        (lambda p: SecurityFiles(certificate=p / "text"), "give a PEM chain and the key"),
        (lambda p: SecurityFiles(key=p / "text"), "TLS needs a certificate"),
        (lambda p: SecurityFiles(client_authority=p / "text"), "TLS needs a certificate"),
        (lambda p: SecurityFiles(tokens=p / "none"), "Tokens file .* cannot be read: No such file"),
        (lambda p: SecurityFiles(tokens=p / "empty"), "needs one token a line"),
        (lambda p: SecurityFiles(tokens=p / "text"), "each of 16 letters or more"),
    ],
)
def test_unusable_files_are_one_clear_error(
    tmp_path: Path, files: Callable[[Path], SecurityFiles], text: str
) -> None:
    (tmp_path / "text").write_text("short")
    (tmp_path / "empty").write_text("# nobody\n\n")
    with pytest.raises(UserError, match=text):
        Security(files(tmp_path))
