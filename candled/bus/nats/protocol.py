"""The protocol of NATS clients as bytes in, messages out. Plain: no I/O.

Every operation is a line that ends with CR LF; MSG and HMSG are followed by a payload of the stated size and
CR LF. Headers are a line ``NATS/1.0``, with a status on answers of JetStream, and lines ``name: value``.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

LINE_BYTES_MAX: Final = 1 << 20
"""Bytes of one control line; the longest is INFO, with the addresses of a cluster."""
PAYLOAD_BYTES_MAX: Final = 64 << 20
"""Bytes of one message, more than a server allows."""

_CRLF: Final = b"\r\n"
_STATUS_LINE: Final = "NATS/1.0"


class ProtocolError(Exception):
    """The server sent what is not of the protocol."""


@attrs.frozen(slots=True)
class Message:
    """A message of a subscription."""

    subject: str
    sid: int
    """Number of the subscription."""
    reply: str
    """Subject for an answer; empty: none is expected."""
    payload: bytes
    status: int = 0
    """Of an answer by the server itself: 100 heartbeat, 404 not found, 503 nobody answers; 0: an ordinary one."""
    headers: Mapping[str, str] = attrs.Factory(dict)


@attrs.frozen(slots=True)
class Info:
    """What the server says of itself."""

    fields: Mapping[str, Any]


class Ping:
    """The server asks for a PONG."""


class Pong:
    """The answer to a PING."""


@attrs.frozen(slots=True)
class ServerError:
    """The server reports an error; it ends the connection after most of them."""

    text: str


Received = Message | Info | Ping | Pong | ServerError


class Parser:
    """Splits what the server sends into operations."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Received]:
        """Take bytes of the connection; return the operations that they complete.

        Raises:
            ProtocolError: it is not the protocol of NATS.
        """
        self._buffer += data
        received: list[Received] = []
        at = 0
        while True:
            end = self._buffer.find(_CRLF, at)
            if end < 0:
                if len(self._buffer) - at > LINE_BYTES_MAX:
                    raise ProtocolError("a line is too long")
                break
            line = bytes(self._buffer[at:end])
            verb, _, rest = line.partition(b" ")
            verb = verb.upper()
            if verb in (b"MSG", b"HMSG"):
                found = self._message(rest, end + 2, has_headers=verb == b"HMSG")
                if found is None:
                    break
                message, at = found
                received.append(message)
            else:
                at = end + 2
                if (operation := _operation(verb, rest)) is not None:
                    received.append(operation)
        del self._buffer[:at]
        return received

    def _message(self, line: bytes, start: int, *, has_headers: bool) -> tuple[Message, int] | None:
        """Return the message that a line announces, and where the next line begins; None if it is not all here."""
        try:
            subject, number, *reply_to, size_text = line.decode().split()
            headers_size = int(reply_to.pop()) if has_headers else 0
            sid, size = int(number), int(size_text)
            (reply,) = reply_to or [""]
        except (ValueError, IndexError):
            raise ProtocolError(f"not a message: {line[:200]!r}") from None
        if not 0 <= headers_size <= size <= PAYLOAD_BYTES_MAX:
            raise ProtocolError(f"a message of {size} bytes")
        end = start + size
        if len(self._buffer) < end + 2:
            return None
        if self._buffer[end : end + 2] != _CRLF:
            raise ProtocolError("a message does not end where it says")
        payload = bytes(self._buffer[start + headers_size : end])
        if not headers_size:
            return Message(subject, sid, reply, payload), end + 2
        status, headers = parse_headers(bytes(self._buffer[start : start + headers_size]))
        return Message(subject, sid, reply, payload, status, headers), end + 2


def parse_headers(block: bytes) -> tuple[int, dict[str, str]]:
    """Return the status (0: none) and the headers of a message; the last of the same name counts.

    Raises:
        ProtocolError: they are not of the protocol.
    """
    first, *lines = block.decode("utf-8", "replace").split("\r\n")
    version, _, status = first.partition(" ")
    if version != _STATUS_LINE:
        raise ProtocolError(f"not headers: {first[:200]!r}")
    code = status.split(" ", 1)[0]
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return int(code) if code.isdecimal() else 0, headers


def encode_connect(fields: Mapping[str, Any]) -> bytes:
    """Encode CONNECT, the client's first line."""
    return b"CONNECT " + msgspec.json.encode(fields) + _CRLF


def encode_publish(
    subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """Encode PUB, or HPUB with headers."""
    address = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (address.encode(), len(payload), payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"{_STATUS_LINE}\r\n{lines}\r\n".encode()
    sizes = (len(block), len(block) + len(payload))
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (address.encode(), *sizes, block, payload)


def encode_subscribe(subject: str, sid: int, queue: str = "") -> bytes:
    """Encode SUB; of those with one ``queue``, one gets each message."""
    return f"SUB {subject} {f'{queue} ' if queue else ''}{sid}\r\n".encode()


def encode_unsubscribe(sid: int) -> bytes:
    """Encode UNSUB."""
    return f"UNSUB {sid}\r\n".encode()


PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"


def _operation(verb: bytes, rest: bytes) -> Received | None:
    """Return what a line without payload says; None for one that needs no reaction."""
    match verb:
        case b"PING":
            return Ping()
        case b"PONG":
            return Pong()
        case b"+OK" | b"":
            return None
        case b"-ERR":
            return ServerError(rest.decode("utf-8", "replace").strip(" '"))
        case b"INFO":
            try:
                fields = msgspec.json.decode(rest, type=dict[str, Any])
            except msgspec.DecodeError:
                raise ProtocolError("INFO is not JSON") from None
            return Info(fields)
        case _:
            raise ProtocolError(f"{verb[:40]!r} is not an operation of NATS")
