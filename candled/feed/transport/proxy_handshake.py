"""The handshakes that ask a proxy for a tunnel: CONNECT of HTTP (RFC 9110), and SOCKS5 (RFC 1928 and 1929).

Plain: generators that yield what to send and are sent what was received. They end when the tunnel is open and
raise ``ProxyError`` when there will be none. No error text holds the user or password.

SOCKS5 is written here because ``socksio``, which httpcore uses, expects each reply in one read: one that
arrives in two is malformed to it.
"""

from base64 import b64encode
from collections.abc import Generator
from ipaddress import IPv4Address, ip_address
from typing import Final

import h11

from candled.config.proxies import Proxy
from candled.feed.transport.reasons import ProxyError

ANSWER_BYTES_MAX: Final = 16_384
"""Of the head of a proxy's answer."""
_AUTHORIZATION_WANTED: Final = 407
_URL_ADVICE: Final = "write the right ones into its URL"
_NO_HTTP: Final = "answers something else than HTTP"
_TOO_MUCH: Final = "sent more than its answer"
_SOCKS_VERSION: Final = 5
_SOCKS_LOGIN: Final = 2
_SOCKS_ADDRESS_BYTES: Final = {1: 4, 4: 16}
"""By kind; that of a name, kind 3, says its length itself."""
_SOCKS_CODES: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the connection was refused",
    6: "the connection timed out",
    7: "the command is not supported",
    8: "the kind of address is not supported",
}

Handshake = Generator[bytes, bytes, None]


def handshake(proxy: Proxy, host: str, port: int) -> Handshake:
    """Return the handshake that asks a proxy for a tunnel to a host and port."""
    name = host.encode("idna").decode("ascii") if not host.isascii() else host
    return _socks5(proxy, name, port) if proxy.scheme.startswith("socks5") else _http_connect(proxy, name, port)


def _http_connect(proxy: Proxy, host: str, port: int) -> Handshake:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", target)]
    if proxy.user is not None:
        credentials = b64encode(f"{proxy.user}:{proxy.password}".encode())
        headers.append(("Proxy-Authorization", f"Basic {credentials.decode()}"))
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_BYTES_MAX)
    to_send = connection.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b""
    to_send += connection.send(h11.EndOfMessage()) or b""
    try:
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data((yield to_send))
                to_send = b""
            elif not isinstance(event, h11.InformationalResponse):
                raise ProxyError(proxy, _NO_HTTP)
    except h11.RemoteProtocolError:
        raise ProxyError(proxy, _NO_HTTP) from None
    if event.status_code == _AUTHORIZATION_WANTED:
        why = "refuses its user and password" if proxy.user is not None else "wants a user and password"
        raise ProxyError(proxy, f"{why} (status {_AUTHORIZATION_WANTED}): {_URL_ADVICE}")
    if not 200 <= event.status_code < 300:
        raise ProxyError(proxy, f"refuses a tunnel to {target} with status {event.status_code}")
    if connection.trailing_data[0]:
        raise ProxyError(proxy, _TOO_MUCH)


def _socks5(proxy: Proxy, host: str, port: int) -> Handshake:
    answers = _Answers()
    has_user = proxy.user is not None
    version, method = yield from answers.after(b"\x05\x02\x00\x02" if has_user else b"\x05\x01\x00", 2)
    if version != _SOCKS_VERSION:
        raise ProxyError(proxy, "answers something else than SOCKS5")
    if method == _SOCKS_LOGIN and has_user:
        _, status = yield from answers.after(_socks_login(proxy), 2)
        if status != 0:
            raise ProxyError(proxy, f"refuses its user and password: {_URL_ADVICE}")
    elif method != 0:
        why = "refuses its user and password" if has_user else "wants a user and password"
        raise ProxyError(proxy, f"{why}: {_URL_ADVICE}")
    request = b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big")
    version, code, _, kind = yield from answers.after(request, 4)
    if version != _SOCKS_VERSION or code != 0:
        raise ProxyError(proxy, f"refuses a tunnel to {host}:{port}: {_SOCKS_CODES.get(code, f'code {code}')}")
    # Then comes the address from which it connects, which is of no use but must not reach the exchange's reader.
    length = _SOCKS_ADDRESS_BYTES.get(kind)
    if length is None:
        (length,) = yield from answers.after(b"", 1)
    yield from answers.after(b"", length + 2)
    if answers.has_more:
        raise ProxyError(proxy, _TOO_MUCH)


def _socks_login(proxy: Proxy) -> bytes:
    user, password = (proxy.user or "").encode(), proxy.password.encode()
    return bytes([1, len(user)]) + user + bytes([len(password)]) + password


def _socks_address(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        return bytes([3, len(host)]) + host.encode("ascii")
    return (b"\x01" if isinstance(address, IPv4Address) else b"\x04") + address.packed


class _Answers:
    """The bytes of a proxy, in pieces of a known length."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def has_more(self) -> bool:
        return bool(self._data)

    def after(self, to_send: bytes, length: int) -> Generator[bytes, bytes, bytes]:
        """Send, and return as many bytes as the answer has."""
        while to_send or len(self._data) < length:
            self._data += yield to_send
            to_send = b""
        answer = bytes(self._data[:length])
        del self._data[:length]
        return answer
