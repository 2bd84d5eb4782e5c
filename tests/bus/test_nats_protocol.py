"""The protocol of NATS: bytes in any pieces are the same operations, and nothing else is taken for one."""

import pytest

from candled.bus.nats.protocol import (
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    ServerError,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
    parse_headers,
)

HEADERS = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\nNats-Last-Stream:  12\r\n\r\n"
BYTES = (
    b'INFO {"server_id":"x","max_payload":1048576}\r\n'
    b"+OK\r\nPING\r\npong\r\n"
    b"MSG a.b 3 5\r\nhe\r\no\r\n"
    b"MSG a.b 3 _INBOX.1 0\r\n\r\n"
    + b"HMSG a 4 %d %d\r\n" % (len(HEADERS), len(HEADERS))
    + HEADERS
    + b"\r\n"
    + b"HMSG a 4 reply.to %d %d\r\n" % (len(HEADERS), len(HEADERS) + 2)
    + HEADERS
    + b"xy\r\n-ERR 'Slow Consumer'\r\n"
)
LAST = {"Nats-Last-Consumer": "7", "Nats-Last-Stream": "12"}
OPERATIONS = [
    Info({"server_id": "x", "max_payload": 1048576}),
    Message("a.b", 3, "", b"he\r\no"),
    Message("a.b", 3, "_INBOX.1", b""),
    Message("a", 4, "", b"", 100, LAST),
    Message("a", 4, "reply.to", b"xy", 100, LAST),
    ServerError("Slow Consumer"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_pieces_make_no_difference(size: int) -> None:
    """However the connection cuts what it delivers, the operations are the same."""
    parser = Parser()
    received = [each for at in range(0, len(BYTES), size) for each in parser.feed(BYTES[at : at + size])]

    assert [type(each) for each in received[1:3]] == [Ping, Pong]
    assert [received[0], *received[3:]] == OPERATIONS


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a.b 3\r\n",
        b"MSG a.b x 5\r\n",
        b"MSG a.b 3 -1\r\n",
        b"MSG a.b 3 99999999999\r\n",
        b"HMSG a 4 9 5\r\n",
        b"MSG a 1 2\r\nabc\r\n",
        b"HMSG a 4 4 4\r\nabcd\r\n",
        b"INFO [1]\r\n",
        b"x" * (1 << 20) + b"yz",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_anything_else_is_refused(data: bytes) -> None:
    """What is not of the protocol ends the connection; it is never guessed."""
    with pytest.raises(ProtocolError):
        Parser().feed(data)


def test_operations_are_encoded() -> None:
    """Each operation of a client, as the protocol writes it."""
    assert encode_connect({"verbose": False}) == b'CONNECT {"verbose":false}\r\n'
    assert encode_publish("a.b", b"xy") == b"PUB a.b 2\r\nxy\r\n"
    assert encode_publish("a.b", b"", "r") == b"PUB a.b r 0\r\n\r\n"
    assert encode_publish("a", b"xy", "r", {"K": "v"}) == b"HPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nxy\r\n"
    assert encode_subscribe("a.>", 3) == b"SUB a.> 3\r\n"
    assert encode_subscribe("a", 3, "q") == b"SUB a q 3\r\n"
    assert encode_unsubscribe(3) == b"UNSUB 3\r\n"


def test_headers_without_a_status() -> None:
    """Headers of an ordinary message have no status."""
    assert parse_headers(b"NATS/1.0\r\nA:b\r\nA: c\r\n\r\n") == (0, {"A": "c"})
