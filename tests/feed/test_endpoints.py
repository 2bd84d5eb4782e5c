"""Base URLs that refuse, cannot be found or show a wrong certificate: the next one is asked, and each is named."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import httpcore
import pytest
import trio
import trustme
from trio.testing import MockClock

from candled.embedded_exchange.connection import serve_connection
from candled.embedded_exchange.core import Exchange
from candled.embedded_exchange.memory import MemoryExchange, open_memory_exchange
from candled.feed.binance.adapter import ADAPTER
from candled.feed.binance.rest import BinanceRest, open_rest
from candled.feed.errors import SourceRefusedError, SourceUnavailableError
from candled.feed.transport.tcp import connect_tcp
from candled.feed.transport.websocket import open_frames, why_lost
from tests.feed.stand import SYMBOLS, Network, make_exchange, open_feed
from tests.memory_daemon import captured_logs

pytestmark = pytest.mark.usefixtures("each_library")

TIMEOUT = 20


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@attrs.define
class Hosts(httpcore.AsyncNetworkBackend):
    """A network of several exchanges by host, or of what connecting to one raises."""

    by_host: dict[str, MemoryExchange | Exception]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = self.by_host[host]
        if isinstance(found, Exception):
            await trio.lowlevel.checkpoint()
            raise found
        return await found.backend().connect_tcp(host, port)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def after(cause: Exception) -> httpcore.ConnectError:
    """The error of a library that it raised while it handled another one."""
    error = httpcore.ConnectError(str(cause))
    error.__context__ = cause
    return error


def unknown_host() -> httpcore.ConnectError:
    return after(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))


def bad_handshake() -> httpcore.ConnectError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)")
    error.reason = "WRONG_VERSION_NUMBER"
    return after(error)


@asynccontextmanager
async def asking(**hosts: Exchange | Exception) -> AsyncIterator[tuple[BinanceRest, dict[str, Exchange]]]:
    """A client of one base URL for each host, in this order."""
    async with AsyncExitStack() as stack:
        by_host: dict[str, MemoryExchange | Exception] = {}
        for host, found in hosts.items():
            if isinstance(found, Exception):
                by_host[host] = found
            else:
                by_host[host] = await stack.enter_async_context(open_memory_exchange(found))
        urls = [f"http://{host}" for host in hosts]
        rest = await stack.enter_async_context(open_rest(urls, 6000, Hosts(by_host)))
        yield rest, {host: found for host, found in hosts.items() if isinstance(found, Exchange)}


def refusing(fault: str) -> Exchange:
    exchange = make_exchange()
    exchange.command(fault)
    return exchange


REFUSALS = {
    "rest_451=1": "status 451, Service unavailable from a restricted location (code 0)",
    "rest_403=1": "status 403 without an explanation",
    "rest_500=1": "status 500",
}
ERRORS = {
    "dns": (unknown_host, "the name of its host cannot be resolved: Name or service not known"),
    "tls": (bad_handshake, "the TLS handshake failed: wrong version number"),
}


@pytest.mark.parametrize("fault", REFUSALS)
async def test_next_url_answers_refusal_at_start(fault: str, autojump_clock: MockClock) -> None:
    """A status that another base URL may not share is asked there, and what refused is logged once."""
    with captured_logs() as logs:
        async with asking(a=refusing(fault), b=make_exchange()) as (rest, _):
            assert set((await rest.describe(SYMBOLS)).instruments) == set(SYMBOLS)
            await rest.server_time()
            assert rest.failures == 1, "the one that answered is asked first from then on"
    (line,) = [line for line in logs if line["event"] == "another base URL of the exchange answers"]
    assert (line["url"], line["reason"]) == ("http://b", f"http://a: {REFUSALS[fault]}")


@pytest.mark.parametrize("kind", ERRORS)
async def test_next_url_answers_unreachable_host(kind: str, autojump_clock: MockClock) -> None:
    """A host that is not known, or speaks no TLS, is passed over."""
    async with asking(a=ERRORS[kind][0](), b=make_exchange()) as (rest, _):
        assert set((await rest.describe(SYMBOLS)).instruments) == set(SYMBOLS)


async def test_next_url_answers_later_refusal(autojump_clock: MockClock) -> None:
    """The URLs change as often as the one in use refuses."""
    async with asking(a=make_exchange(), b=make_exchange()) as (rest, exchanges):
        await rest.server_time()
        exchanges["a"].command("rest_451=1")
        await rest.server_time()
        exchanges["a"].command("rest_451=off")
        exchanges["b"].command("rest_403=1")
        await rest.server_time()
        assert rest.failures == 2


async def test_each_url_is_named_once(autojump_clock: MockClock) -> None:
    """Where none answers, one sentence says of each URL why; it may be asked again."""
    hosts: dict[str, Exchange | Exception]
    hosts = {"a": refusing("rest_451=1"), "b": refusing("rest_403=1"), "c": unknown_host(), "d": bad_handshake()}
    async with asking(**hosts) as (rest, exchanges):
        with pytest.raises(SourceUnavailableError) as caught:
            await rest.describe(SYMBOLS)
        assert str(caught.value) == (
            f"http://a: {REFUSALS['rest_451=1']}; http://b: {REFUSALS['rest_403=1']}; "
            f"http://c: {ERRORS['dns'][1]}; http://d: {ERRORS['tls'][1]}"
        )
        exchanges["b"].command("rest_403=off")
        assert set((await rest.describe(SYMBOLS)).instruments) == set(SYMBOLS)


async def test_requests_at_once_each_ask_every_url(autojump_clock: MockClock) -> None:
    """Requests that fail together do not turn each other back to the URL that refuses."""
    async with asking(a=refusing("rest_451=1"), b=make_exchange()) as (rest, _):
        async with trio.open_nursery() as nursery:
            for _number in range(4):
                nursery.start_soon(rest.server_time)
        failures = rest.failures
        await rest.server_time()
        assert rest.failures == failures


async def test_refused_request_asks_no_other_url(autojump_clock: MockClock) -> None:
    """A wrong symbol is wrong everywhere."""
    async with asking(a=make_exchange(), b=make_exchange()) as (rest, _):
        with pytest.raises(SourceRefusedError, match="Invalid symbol"):
            await rest.klines("NOSUCH", 0)
        assert rest.requests == 1


async def test_slash_at_end_changes_no_request(autojump_clock: MockClock) -> None:
    """REST and streams are asked at the same paths as without it."""
    async with (
        open_memory_exchange(make_exchange()) as memory,
        open_rest(["http://a/"], 6000, memory.backend()) as rest,
    ):
        assert set((await rest.describe(SYMBOLS)).instruments) == set(SYMBOLS)
    assert ADAPTER.subscribe("wss://a/", ["x@trade"]) == ADAPTER.subscribe("wss://a", ["x@trade"])


async def test_streams_turn_to_next_url(autojump_clock: MockClock) -> None:
    """A name that is not known and a certificate that is refused are failed attempts, named by URL."""
    certificate = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    certificate.verify_code, certificate.verify_message = 20, "unable to get local issuer certificate"

    async def first_two_fail(network: Network) -> None:
        network.failures["a"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        network.failures["b"] = trio.BrokenResourceError()
        network.failures["b"].__cause__ = certificate

    urls = ("wss://a", "wss://b", "ws://c")
    async with open_feed(make_exchange(), prepare=first_two_fail, stream_urls=urls) as stand:
        await stand.hears_each()
        assert stand.network.hosts == ["a", "b", "c"]
        assert stand.feed.connect_failures == {
            "wss://a": "the name of its host cannot be resolved: Name or service not known",
            "wss://b": "its certificate is refused: unable to get local issuer certificate "
            "(name the file of a private authority's certificate in SSL_CERT_FILE)",
        }


async def test_refused_handshakes_wait_longer_and_longer(autojump_clock: MockClock) -> None:
    """Handshakes with status 451 are tried at each URL with backoff, until one is taken."""
    exchange = make_exchange()
    exchange.command("refuse_451")
    async with open_feed(exchange) as stand:
        await trio.sleep(600)
        assert set(stand.network.hosts) == {"a", "b"}
        assert len(stand.network.made) < 50
        assert stand.feed.connect_failures == {
            "ws://a": "refused with status 451",
            "ws://b": "refused with status 451",
        }
        exchange.command("refuse_451=off")
        await stand.hears_each()
        assert len(stand.feed.connect_failures) == 1


@asynccontextmanager
async def tls_exchange(certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """``localhost:port`` of an exchange that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    exchange = make_exchange()

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await serve_connection(exchange, stream, "client")
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True)
        listeners = await nursery.start(serve)
        yield f"localhost:{listeners[0].transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def reasons(server: str) -> tuple[str, str]:
    """Why REST and a websocket cannot be reached there."""
    async with open_rest([f"https://{server}"], 6000) as rest:
        with pytest.raises(SourceUnavailableError) as refused:
            await rest.server_time()
    with pytest.raises(trio.BrokenResourceError) as lost:
        async with open_frames(f"wss://{server}/stream?streams=btcusdt@trade", connect_tcp):
            raise AssertionError("a websocket on a certificate that is refused")
    return str(refused.value), why_lost(lost.value)


async def test_unknown_authority_names_setting() -> None:
    """Over real TLS, REST and websocket both say what is wrong with the certificate, and what to set."""
    with trio.fail_after(TIMEOUT):
        async with tls_exchange(trustme.CA().issue_cert("localhost")) as server:
            for reason in await reasons(server):
                assert "its certificate is refused: unable to get local issuer certificate" in reason
                assert "SSL_CERT_FILE" in reason


async def test_private_authority_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its certificate in SSL_CERT_FILE, REST and websocket connect."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with trio.fail_after(TIMEOUT):
        async with tls_exchange(authority.issue_cert("localhost")) as server:
            async with open_rest([f"https://{server}"], 6000) as rest:
                assert await rest.server_time() > 0
            async with open_frames(f"wss://{server}/stream?streams=btcusdt@trade", connect_tcp) as frames:
                assert await frames.receive()


@pytest.mark.parametrize(
    ("host", "not_after", "words"),
    [
        ("other.example", None, "Hostname mismatch"),
        ("localhost", datetime(2020, 1, 1, tzinfo=UTC), "check this machine's clock"),
    ],
)
async def test_bad_certificate_is_named(
    host: str, not_after: datetime | None, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate of another host, or of another time, is named as that."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with trio.fail_after(TIMEOUT):
        async with tls_exchange(authority.issue_cert(host, not_after=not_after)) as server:
            for reason in await reasons(server):
                assert words in reason
                assert "SSL_CERT_FILE" not in reason
