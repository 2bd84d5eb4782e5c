"""The exchange through a real proxy on loopback: REST and streams, in clear and with TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from candled.config.proxies import Proxies, find_proxies, parse_proxy
from candled.feed.binance.rest import open_rest
from candled.feed.errors import SourceUnavailableError
from candled.feed.transport import proxy as proxy_module
from candled.feed.transport.proxy import proxied_connect, proxied_network
from candled.feed.transport.proxy_handshake import handshake
from candled.feed.transport.reasons import ProxyError
from candled.feed.transport.tcp import connect_tcp
from candled.feed.transport.websocket import ConnectionLost, open_frames, why_lost
from tests.feed.little_proxy import LittleProxy, open_proxy
from tests.feed.stand import make_exchange
from tests.feed.test_endpoints import tls_exchange
from tests.loopback import open_loopback_exchange

TIMEOUT = 20
SECRET = "p@ss:w/rd"
LOGIN = ("user", SECRET)
CREDENTIALS = "user:p%40ss%3Aw%2Frd@"


@asynccontextmanager
async def clear_exchange() -> AsyncIterator[str]:
    """An exchange without TLS; its address under a name that is resolved by the proxy alone."""
    async with open_loopback_exchange(make_exchange()) as bound:
        yield f"exchange.invalid:{bound.port}"


async def use_both(address: str, proxies: Proxies, *, tls: bool = False) -> None:
    """Ask REST and read a stream."""
    rest_url, stream_url = (f"{scheme}{'s' * tls}://{address}" for scheme in ("http", "ws"))
    async with open_rest([rest_url], 6000, proxied_network(proxies, [rest_url])) as rest:
        assert await rest.server_time() > 0
    connect = proxied_connect(proxies, connect_tcp)
    async with open_frames(f"{stream_url}/stream?streams=btcusdt@trade", connect) as frames:
        assert await frames.receive()


async def reasons(proxy_url: str, address: str = "exchange.invalid:443", *, tls: bool = True) -> list[str]:
    """Why REST and a stream cannot be reached there."""
    proxies = find_proxies(proxy_url, {})
    rest_url, stream_url = (f"{scheme}{'s' * tls}://{address}" for scheme in ("http", "ws"))
    async with open_rest([rest_url], 6000, proxied_network(proxies, [rest_url])) as rest:
        with pytest.raises(SourceUnavailableError) as refused:
            await rest.server_time()
    found = [str(refused.value).removeprefix(f"{rest_url}: ")]
    try:
        async with open_frames(f"{stream_url}/stream?streams=a", proxied_connect(proxies, connect_tcp)):
            raise AssertionError("a stream through a proxy that opens no tunnel")
    except* ConnectionLost as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        found.append(why_lost(error))
    return found


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("login", [None, LOGIN])
async def test_exchange_in_clear(scheme: str, login: tuple[str, str] | None) -> None:
    """REST and stream come through one tunnel each, to a host that only the proxy can resolve."""
    with trio.fail_after(TIMEOUT):
        async with clear_exchange() as address, open_proxy(LittleProxy(login=login)) as proxy:
            proxies = find_proxies(f"{scheme}://{CREDENTIALS if login else ''}{proxy.address}", {})
            await use_both(address, proxies)
    assert proxy.tunnels == [address, address]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_exchange_with_tls(scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TLS runs inside the tunnel, with the exchange's own certificate, and the proxy sees its name alone."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with trio.fail_after(TIMEOUT):
        async with tls_exchange(authority.issue_cert("localhost")) as address, open_proxy(LittleProxy()) as proxy:
            await use_both(address, find_proxies(None, {"HTTPS_PROXY": f"{scheme}://{proxy.address}"}), tls=True)
    assert proxy.tunnels == [address, address]
    assert b"api/v3" not in proxy.asked


async def test_proxy_with_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The way to the proxy may be encrypted as well: TLS inside of TLS."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    certificate = authority.issue_cert("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with trio.fail_after(TIMEOUT):
        async with tls_exchange(certificate) as address, open_proxy(LittleProxy(login=LOGIN), context) as proxy:
            await use_both(address, find_proxies(f"https://{CREDENTIALS}{proxy.address}", {}), tls=True)
    assert proxy.tunnels == [address, address]


async def test_exception_is_direct() -> None:
    """What NO_PROXY names does not touch the proxy."""
    with trio.fail_after(TIMEOUT):
        async with clear_exchange() as address, open_proxy(LittleProxy()) as proxy:
            local = address.replace("exchange.invalid", "127.0.0.1")
            environment = {"ALL_PROXY": f"http://{proxy.address}", "NO_PROXY": "localhost"}
            await use_both(local, find_proxies(None, environment))
            assert proxy.tunnels == []
            await use_both(address, find_proxies(None, environment))
    assert proxy.tunnels == [address, address]


THEN = b"<then>"
"""Between answers to two messages."""
NO_LOGIN = b"\x05\x00" + THEN
ANSWERS = {
    "http": {
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno": (
            "refuses a tunnel to exchange.invalid:443 with status 403"
        ),
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n": "refuses a tunnel to exchange.invalid:443 with status 502",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n": "wants a user and password (status 407)",
        b"SSH-2.0-nothing\r\n\r\n": "answers something else than HTTP",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30_000: "answers something else than HTTP",
        b"HTTP/1.1 200 OK\r\n\r\nmore": "sent more than its answer",
        b"HTTP/1.1 200": "closed the connection before the tunnel was open",
        b"": "closed the connection before the tunnel was open",
    },
    "socks5": {
        b"HTTP/1.1 400 Bad Request\r\n\r\n": "answers something else than SOCKS5",
        b"\x05\xff": "wants a user and password",
        b"\x05\x00"
        + THEN
        + b"\x05\x02\x00\x01": "refuses a tunnel to exchange.invalid:443: not allowed by its rules",
        NO_LOGIN + b"\x05\x63\x00\x01": "refuses a tunnel to exchange.invalid:443: code 99",
        NO_LOGIN + b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x50more": "sent more than its answer",
        b"\x05": "closed the connection before the tunnel was open",
    },
}


@pytest.mark.parametrize(
    ("scheme", "answer"), [(scheme, answer) for scheme, answers in ANSWERS.items() for answer in answers]
)
async def test_refusal_is_named(scheme: str, answer: bytes) -> None:
    """Whatever a proxy answers in place of a tunnel, REST and stream name it and the cause alike."""
    with trio.fail_after(TIMEOUT):
        async with open_proxy(LittleProxy(answers=tuple(answer.split(THEN)))) as proxy:
            url = f"{scheme}://{proxy.address}"
            for reason in await reasons(url):
                assert reason.startswith(f"the proxy {url} {ANSWERS[scheme][answer]}")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_wrong_password_is_not_repeated(scheme: str) -> None:
    """A proxy that refuses user and password is named without them."""
    with trio.fail_after(TIMEOUT):
        async with open_proxy(LittleProxy(login=LOGIN)) as proxy:
            for reason in await reasons(f"{scheme}://user:hunter2@{proxy.address}"):
                assert f"the proxy {scheme}://{proxy.address} refuses its user and password" in reason
                assert "hunter2" not in reason


async def test_proxy_that_is_not_there() -> None:
    """Neither a closed port nor a name that nobody knows hides that it is the proxy's."""
    with trio.fail_after(TIMEOUT):
        for reason in await reasons("http://127.0.0.1:1"):
            assert reason.startswith("the proxy http://127.0.0.1:1 cannot be reached: ")
            assert reason.endswith("Connection refused")
        for reason in await reasons("http://proxy.invalid:1"):
            assert "the proxy http://proxy.invalid:1 cannot be reached: the name of its host" in reason


async def test_silent_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that says nothing is given up in time, by name."""
    monkeypatch.setattr(proxy_module, "PROXY_SECONDS", 0.2)
    with trio.fail_after(TIMEOUT):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")  # the system accepts, nobody answers
        async with listener:
            port = listener.socket.getsockname()[1]
            for reason in await reasons(f"http://127.0.0.1:{port}"):
                assert reason == f"the proxy http://127.0.0.1:{port} opened no tunnel within 0.2 s"


async def test_certificate_of_exchange_is_checked() -> None:
    """A proxy that opens TLS is noticed: the certificate must be the exchange's, of a known authority."""
    with trio.fail_after(TIMEOUT):
        certificate = trustme.CA().issue_cert("localhost")
        async with tls_exchange(certificate) as address, open_proxy(LittleProxy()) as proxy:
            for reason in await reasons(f"http://{proxy.address}", address):
                assert "its certificate is refused" in reason
                assert "SSL_CERT_FILE" in reason


@given(
    st.sampled_from(["http://a:1", "http://u:p@a:1", "socks5://a:1", "socks5://u:p@a:1"]),
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from(
            [
                *(b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
                *(b"\x05\x00", b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x03", b"\x00", b"\x05\x00\x00\x01"),
            ]
        ),
        max_size=12,
    ),
    st.integers(1, 7),
)
def test_any_answer_is_a_tunnel_or_an_error(url: str, parts: list[bytes], size: int) -> None:
    """Whatever a proxy sends, in pieces of any size, the handshake ends, wants more, or names the proxy."""
    steps = handshake(parse_proxy(url), "exchange.example", 443)
    next(steps)
    data = b"".join(parts)
    said = "the proxy http://a:1 opens a tunnel"
    try:
        for begin in range(0, len(data), size):
            steps.send(data[begin : begin + size])
    except StopIteration:
        pass
    except ProxyError as error:
        said = str(error)
    assert said.startswith("the proxy ")
    assert ":p@" not in said


@pytest.mark.parametrize("host", ["exchange.example", "192.0.2.1", "2001:db8::1", "b\u00fccher.example"])
def test_names_of_exchange(host: str) -> None:
    """A host may be a name of any script, or an address of either kind."""
    name = host.encode("idna").decode() if "." in host else f"[{host}]"
    assert f"CONNECT {name}:443 HTTP/1.1".encode() in next(handshake(parse_proxy("http://a:1"), host, 443))
    steps = handshake(parse_proxy("socks5://a:1"), host, 443)
    assert next(steps) == b"\x05\x01\x00"
    request = steps.send(b"\x05\x00")
    address = {
        "192.0.2.1": b"\x01\xc0\x00\x02\x01",
        "2001:db8::1": b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01",
    }.get(host, b"\x03" + bytes([len(name)]) + name.encode())
    assert request == b"\x05\x01\x00" + address + b"\x01\xbb"
