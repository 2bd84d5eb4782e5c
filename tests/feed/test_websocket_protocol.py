"""The websocket protocol (RFC 6455), as a client of an exchange needs it; the same for each library.

The order and the numbers in the section titles are those of the case list of the Autobahn test suite.
"""

import random
from itertools import pairwise

import pytest
import trio
import trio.testing

from candled.feed.transport.frames import MESSAGE_BYTES_MAX
from candled.feed.transport.websocket import open_frames
from tests.feed.websocket_server import (
    ACCEPTED,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    connecting,
    frame,
    run_client,
    shake_hands,
)

CLOSED = close_frame(1000)


def complaint(library: str, code: int) -> list[int]:
    """Codes that a server that broke the protocol is sent: trio-websocket leaves without a word."""
    return [] if library == "trio-websocket" else [code]


def octets(data: bytes) -> list[bytes]:
    """Each byte alone."""
    return [data[at : at + 1] for at in range(len(data))]


# -- 1: frames ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, MESSAGE_BYTES_MAX])
async def test_text_of_any_size(library: str, size: int) -> None:
    """Each form of the length is read, up to the limit."""
    outcome = await run_client(library, [frame(TEXT, b"*" * size) + CLOSED])
    assert (outcome.messages, outcome.code) == (["*" * size], 1000)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128])
async def test_bytes_of_any_size(library: str, size: int) -> None:
    """Binary messages come as bytes."""
    outcome = await run_client(library, [frame(BINARY, b"\xfe" * size) + CLOSED])
    assert (outcome.messages, outcome.code) == ([b"\xfe" * size], 1000)


async def test_octet_by_octet(library: str) -> None:
    """Frames may be cut anywhere."""
    data = frame(TEXT, b"a" * 130) + frame(PING, b"now") + frame(BINARY, b"b") + CLOSED
    outcome = await run_client(library, octets(data))
    assert (outcome.messages, outcome.pongs, outcome.code) == (["a" * 130, b"b"], [b"now"], 1000)


@pytest.mark.parametrize("seed", range(20))
async def test_cut_anywhere(library: str, seed: int) -> None:
    """However a stream is cut into reads, its messages are the same."""
    rng = random.Random(seed)
    data = bytearray()
    texts = [f"{number} " * rng.choice([1, 40, 500]) for number in range(rng.randrange(20))]
    for text in texts:
        whole = text.encode()
        cut = rng.randrange(len(whole))
        data += frame(TEXT, whole[:cut], fin=False) + frame(PING, b"p") + frame(CONTINUATION, whole[cut:])
    data += CLOSED
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(30))})
    outcome = await run_client(library, [bytes(data[a:b]) for a, b in pairwise(cuts)])
    assert (outcome.messages, outcome.code) == (texts, 1000)
    assert outcome.pongs == [b"p"] * len(texts)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION, PING, CLOSE])
async def test_masked_frames_are_refused(library: str, opcode: int) -> None:
    """A server that masks its frames breaks the protocol."""
    outcome = await run_client(library, [bytes([0x80 | opcode, 0x82]) + b"maskxy"])
    assert (outcome.messages, outcome.code) == ([], 1002)


# -- 2: pings and pongs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
async def test_ping_is_answered(library: str, payload: bytes) -> None:
    """A ping is answered with its payload, and is no message."""
    outcome = await run_client(library, [frame(PING, payload), CLOSED])
    assert (outcome.messages, outcome.pongs, outcome.code) == ([], [payload], 1000)


async def test_ping_too_long(library: str) -> None:
    """A ping of more than 125 bytes breaks the protocol."""
    outcome = await run_client(library, [frame(PING, b"*" * 126)])
    assert (outcome.pongs, outcome.code, outcome.close_codes) == ([], 1002, complaint(library, 1002))


@pytest.mark.parametrize("payload", [b"", b"unsolicited", b"1"])
async def test_pong_unasked(library: str, payload: bytes) -> None:
    """A pong that nobody asked for does nothing."""
    outcome = await run_client(library, [frame(PONG, payload) + frame(PING, b"x"), frame(PONG, payload), CLOSED])
    assert (outcome.messages, outcome.pongs, outcome.code) == ([], [b"x"], 1000)


async def test_many_pings(library: str) -> None:
    """Pings that come together are answered in their order."""
    payloads = [b"%d" % number for number in range(10)]
    outcome = await run_client(library, [b"".join(frame(PING, payload) for payload in payloads), CLOSED])
    assert outcome.pongs == payloads


async def test_own_ping(library: str) -> None:
    """A ping ends with its own pong, or with that of a later one; any other pong is none."""
    near, far = trio.testing.memory_stream_pair()
    answered: list[str] = []

    async def ping(name: str) -> None:
        await frames.ping()
        answered.append(name)

    async def next_payload() -> bytes:
        data = await far.receive_some()
        mask, masked = data[2:6], data[6:]
        return bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n")
            async with open_frames("ws://x/stream", connecting(near), library) as frames:
                nursery.start_soon(frames.receive)
                for name in "one", "two", "three":
                    nursery.start_soon(ping, name)
                    payload = await next_payload()
                    if name == "two":
                        second = payload
                await far.send_all(frame(PONG, b"another"))
                await trio.testing.wait_all_tasks_blocked()
                assert answered == []
                await far.send_all(frame(PONG, second))
                await trio.testing.wait_all_tasks_blocked()
                assert sorted(answered) == ["one", "two"]
                nursery.cancel_scope.cancel()


# -- 3 and 4: reserved bits and opcodes ---------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_reserved_bits(library: str, opcode: int, reserved: int) -> None:
    """A reserved bit, that of compression included, breaks the protocol; what came before it is handed out."""
    outcome = await run_client(library, [frame(TEXT, b"before") + frame(opcode, b"", reserved=reserved)])
    assert (outcome.messages, outcome.code, outcome.close_codes) == (["before"], 1002, complaint(library, 1002))


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
async def test_reserved_opcodes(library: str, opcode: int) -> None:
    """So does an opcode that means nothing."""
    outcome = await run_client(library, [frame(TEXT, b"before") + frame(opcode, b"*") + frame(PING)])
    assert (outcome.messages, outcome.pongs, outcome.code) == (["before"], [], 1002)


# -- 5: fragments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_control_frame_in_fragments(library: str, opcode: int) -> None:
    """Control frames cannot be fragmented."""
    outcome = await run_client(library, [frame(opcode, b"", fin=False) + frame(CONTINUATION, b"")])
    assert (outcome.messages, outcome.pongs, outcome.code) == ([], [], 1002)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("opcode", "whole"), [(TEXT, "fragments"), (BINARY, b"fragments")])
async def test_fragments_are_joined(library: str, opcode: int, whole: str | bytes, apart: bool) -> None:
    """A message in fragments comes whole, whether they arrive together or not, and with empty ones among them."""
    data = [
        frame(opcode, b"frag", fin=False),
        frame(CONTINUATION, b"", fin=False),
        frame(CONTINUATION, b"men", fin=False),
        frame(CONTINUATION, b"ts"),
        CLOSED,
    ]
    outcome = await run_client(library, data if apart else [b"".join(data)])
    assert (outcome.messages, outcome.code) == ([whole], 1000)


@pytest.mark.parametrize("apart", [False, True])
async def test_control_frames_between_fragments(library: str, apart: bool) -> None:
    """A ping in the middle of a message is answered at once, and the message stays whole."""
    data = [
        frame(TEXT, b"one ", fin=False),
        frame(PING, b"first"),
        frame(CONTINUATION, b"two ", fin=False),
        frame(PONG, b"nobody asked"),
        frame(PING, b"second"),
        frame(CONTINUATION, b"three"),
        CLOSED,
    ]
    outcome = await run_client(library, data if apart else [b"".join(data)])
    assert (outcome.messages, outcome.pongs, outcome.code) == (["one two three"], [b"first", b"second"], 1000)


@pytest.mark.parametrize(
    "data",
    [
        frame(CONTINUATION, b"of what?"),
        frame(CONTINUATION, b"of what?", fin=False),
        frame(TEXT, b"whole") + frame(CONTINUATION, b"more"),
        frame(TEXT, b"begun", fin=False) + frame(TEXT, b"another"),
        frame(TEXT, b"begun", fin=False) + frame(BINARY, b"another"),
        frame(TEXT, b"begun", fin=False) + frame(CONTINUATION, b"end") + frame(CONTINUATION, b"more"),
    ],
)
async def test_fragments_out_of_order(library: str, data: bytes) -> None:
    """A continuation of nothing, or a message within a message, breaks the protocol."""
    outcome = await run_client(library, [data])
    assert (outcome.code, outcome.close_codes) == (1002, complaint(library, 1002))


# -- 6: text ------------------------------------------------------------------------------------------------------

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00\x7f",
    "\u07ff",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\ufeff",
    "\ue000",
]
INVALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\x80",
    b"\xbf\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xc1\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xfe\xfe\xff\xff",
    b"\xce",
    b"\xf0\x90\x80",
]


@pytest.mark.parametrize("text", VALID, ids=ascii)
async def test_text_is_read(library: str, text: str) -> None:
    """Text may be cut within a letter: into fragments, and into reads."""
    data = text.encode()
    fragments = [frame(TEXT if at == 0 else CONTINUATION, data[at : at + 1], fin=False) for at in range(len(data))]
    outcome = await run_client(library, [frame(TEXT, data), *fragments, frame(CONTINUATION), CLOSED])
    assert (outcome.messages, outcome.code) == ([text, text], 1000)


@pytest.mark.parametrize("data", INVALID, ids=repr)
async def test_text_that_is_none(library: str, data: bytes) -> None:
    """Text that is not UTF-8 ends the connection, whole or in fragments; what came before it is handed out."""
    whole = await run_client(library, [frame(TEXT, b"before") + frame(TEXT, data) + frame(TEXT, b"after")])
    assert (whole.messages, whole.code, whole.close_codes) == (["before"], 1007, complaint(library, 1007))
    fragments = [frame(TEXT, data[:1], fin=False), frame(CONTINUATION, data[1:])]
    assert (await run_client(library, fragments)).code == 1007


async def test_bytes_need_not_be_text(library: str) -> None:
    """Only text has to be UTF-8."""
    data = b"".join(frame(BINARY, data) for data in INVALID)
    assert (await run_client(library, [data + CLOSED])).messages == INVALID


# -- 7: the close frame -------------------------------------------------------------------------------------------


async def test_nothing_after_close_frame(library: str) -> None:
    """It is answered once; what comes after it is not read."""
    outcome = await run_client(
        library, [frame(TEXT, b"last") + CLOSED + frame(TEXT, b"after") + frame(PING) + CLOSED]
    )
    assert (outcome.messages, outcome.pongs, outcome.code, outcome.close_codes) == (["last"], [], 1000, [1000])


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1014), 3000, 3999, 4000, 4999])
async def test_close_frame_with_code(library: str, code: int) -> None:
    """The code and the reason of a close frame are the connection's end, and the code is echoed."""
    outcome = await run_client(library, [close_frame(code, "Größe".encode())])
    assert str(outcome.end) == f"closed with {code} Größe"
    assert outcome.close_codes == [code]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
async def test_close_frame_with_code_that_is_none(library: str, code: int) -> None:
    """A code that may not be sent breaks the protocol."""
    outcome = await run_client(library, [close_frame(code)])
    assert (outcome.code, outcome.close_codes) == (1002, complaint(library, 1002))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(CLOSE), 1005),
        (frame(CLOSE, b"\x03"), 1002),
        (close_frame(1000, b"*" * 123), 1000),
        (close_frame(1000, b"*" * 124), 1002),
        (close_frame(1000, b"\xff"), 1007),
    ],
)
async def test_close_frame_of_odd_form(library: str, data: bytes, code: int) -> None:
    """Without a code, with half of one, with a reason too long, or with one that is not text."""
    assert (await run_client(library, [data])).code == code


async def test_close_frame_in_the_middle_of_a_message(library: str) -> None:
    """The part of a message that came is dropped."""
    outcome = await run_client(library, [frame(TEXT, b"begun", fin=False) + close_frame(1001)])
    assert (outcome.messages, outcome.code) == ([], 1001)


async def test_own_close_frame(library: str) -> None:
    """A client that leaves says so."""
    near, far = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, far, ACCEPTED + b"\r\n")
            async with open_frames("ws://x/stream", connecting(near), library):
                pass
        assert (await far.receive_some())[:2] == b"\x88\x82"


@pytest.mark.parametrize(
    "pieces", [[], [frame(TEXT, b"last")], [frame(TEXT, b"last")[:3]], [frame(TEXT, b"last", fin=False)]]
)
async def test_end_without_close_frame(library: str, pieces: list[bytes]) -> None:
    """A stream that just ends, even in the middle of a frame, is a loss; what came whole is handed out."""
    outcome = await run_client(library, pieces, hangs_up=True)
    assert outcome.messages == (["last"] if pieces == [frame(TEXT, b"last")] else [])
    assert str(outcome.end) == "closed with 1006 no close frame"


# -- 9: limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"*" * (MESSAGE_BYTES_MAX + 1)),
        b"\x81\x7f" + (1 << 40).to_bytes(8, "big") + b"*" * MESSAGE_BYTES_MAX * 2,
        b"\x81\x7f\x7f" + b"\xff" * 7 + b"*" * MESSAGE_BYTES_MAX * 2,
        frame(TEXT, b"*" * MESSAGE_BYTES_MAX, fin=False) + frame(CONTINUATION, b"*"),
        b"".join([frame(BINARY, b"*" * 1000, fin=False), *[frame(CONTINUATION, b"*" * 1000, fin=False)] * 16]),
    ],
    ids=["one byte", "a terabyte", "the largest", "two fragments", "many fragments"],
)
async def test_message_too_big(library: str, data: bytes) -> None:
    """A message beyond the limit ends the connection, at the latest when the limit is passed."""
    outcome = await run_client(library, [data])
    assert (outcome.messages, outcome.code, outcome.close_codes) == ([], 1009, [1009])


# -- 12 and 13: compression ---------------------------------------------------------------------------------------


async def request_of(library: str, url: str) -> bytes:
    """The handshake that a client sends, in lower case."""
    near, far = trio.testing.memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                async with open_frames(url, connecting(near), library):
                    pass

            nursery.start_soon(connect)
            request = bytes(await far.receive_some()).lower()
            nursery.cancel_scope.cancel()
    return request


async def test_no_extension_is_offered(library: str) -> None:
    """Compression and subprotocols are not asked for, so a server may not use them."""
    request = await request_of(library, "ws://host:8080/stream?streams=a@trade")
    assert request.startswith(b"get /stream?streams=a@trade http/1.1\r\n")
    assert b"sec-websocket-extensions" not in request
    assert b"sec-websocket-protocol" not in request


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://host:8080", b"host:8080"),
        ("ws://host", b"host"),
        ("wss://host", b"host"),
        ("ws://host:443", b"host:443"),
        ("wss://host:80", b"host:80"),
        ("ws://[::1]:8080", b"[::1]:8080"),
    ],
)
async def test_host_is_named(library: str, url: str, host: bytes) -> None:
    """The ``Host`` header names the port unless it is the scheme's own, and an IPv6 address in brackets."""
    assert b"\r\nhost: %s\r\n" % host in await request_of(library, url)
