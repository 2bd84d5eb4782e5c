"""Frames by the ``websockets`` package's protocol object, without a task of its own.

The protocol object does no I/O: it is given what was received and says what to send. Whoever calls ``receive``
reads the socket, so a frame that comes alone wakes one task, and all frames of a read come in one list. Pings are
answered in ``receive`` as well; its caller must not wait for anything else for long.

The protocol object leaves three things to its user, which are done here: joining fragments, checking that text is
UTF-8, and a limit on what comes without making a message.

A market's stream is nearly nothing but short text frames, each a message. Those are cut out of the input here
(``_cut_frames``), since the protocol object needs longer for one than decoding its trade takes; it is given every
other frame, whole, so that it is between two frames whenever one is cut out. What is not as simple as that (a
masked frame, one beyond the limit, an unusual form of its length) ends this: from there on the protocol object
gets everything, and is the one to say what is wrong.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

import trio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from candled.feed.transport.frames import (
    CLOSE_SECONDS,
    MESSAGE_BYTES_MAX,
    RECEIVE_BYTES,
    UNANSWERED_BYTES_MAX,
    ConnectionClosedError,
    HandshakeFailedError,
)

_PARSED_BYTES: Final = 2_048
_PARSED_FRAMES: Final = 800
"""Frames of one read after which other tasks run: more can only be empty frames or pings."""
_WHOLE_TEXT: Final = 0x81
"""First byte of a text frame that is a message."""
_LENGTH_FOLLOWS: Final = 126
"""Second byte of a frame whose length is in the next two; a lower one is the length itself."""

_TEXT: Final = Opcode.TEXT
_PONG: Final = Opcode.PONG
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_ENDING: Final = frozenset({State.CLOSING, State.CLOSED})


class _Messages:
    """Makes messages of frames."""

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray | memoryview] = []
        self._is_text = False

    @property
    def is_partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._parts)

    def add(self, frame: Frame) -> str | bytes | None:
        """Return the message that a data frame ends, if it ends one.

        Raises:
            UnicodeDecodeError: it is text that is not UTF-8.
        """
        data = frame.data
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is _TEXT
            if frame.fin:
                return str(data, "utf-8") if self._is_text else bytes(data)
        self._parts.append(data)
        if not frame.fin:
            return None
        message = b"".join(self._parts)
        self._parts.clear()
        return message.decode() if self._is_text else message


class WebsocketsFrames:
    """See ``Frames``."""

    def __init__(self, stream: trio.abc.Stream, protocol: ClientProtocol) -> None:
        """Make it of a stream just opened; ``shake_hands`` comes first."""
        self._stream = stream
        self._protocol = protocol
        self._messages = _Messages()
        self._sending = trio.Lock()
        self._pongs: dict[bytes, trio.Event] = {}
        """By the payload of each ping that is not answered, the oldest first; set by its answer or at the end."""
        self._ping_numbers = count(1)
        self._unanswered = 0
        """Bytes received since the last complete message."""
        self._early: list[str | bytes] = []
        """Came in the same read as the end of the handshake."""
        self._end: ConnectionClosedError | None = None
        self._is_cut = True
        """Whether frames are cut here: the protocol object is between two frames."""
        self._tail = b""
        """The beginning of a frame whose end was not received yet."""

    async def shake_hands(self) -> None:
        """Make a websocket connection of the stream.

        Raises:
            HandshakeFailedError: the answer is none.
        """
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        await self._flush()
        while protocol.state is State.CONNECTING:
            self._early.extend(await self._read())
            if protocol.handshake_exc is not None:
                raise HandshakeFailedError(_why_no_handshake(protocol.handshake_exc))

    async def receive(self) -> list[str | bytes]:
        """See ``Frames``."""
        if self._early:
            messages, self._early = self._early, []
            return messages
        while self._end is None:
            if messages := await self._read():
                return messages
        raise self._end

    async def send(self, frame: str) -> None:
        """See ``Frames``."""
        if self._end is not None:
            raise self._end
        self._protocol.send_text(frame.encode())
        await self._flush()

    async def ping(self) -> None:
        """See ``Frames``."""
        if self._end is not None:
            raise self._end
        payload = b"%d" % next(self._ping_numbers)
        over = self._pongs[payload] = trio.Event()
        try:
            self._protocol.send_ping(payload)
            await self._flush()
            await over.wait()
        finally:
            is_answered = self._pongs.pop(payload, None) is None
        if self._end is not None and not is_answered:
            raise self._end

    async def aclose(self) -> None:
        """Send a close frame, without waiting for its answer, and close the stream."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(trio.BrokenResourceError):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            await self._flush()
        await trio.aclose_forcefully(self._stream)

    async def _read(self) -> list[str | bytes]:
        """Read once, answer what must be answered, and return the messages that are complete."""
        protocol = self._protocol
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except trio.BrokenResourceError as error:
            if protocol.state is State.CONNECTING:
                raise
            self._finish(ConnectionClosedError(CloseCode.ABNORMAL_CLOSURE, str(error.__cause__ or error)))
            return []
        messages: list[str | bytes] = []
        self._unanswered += len(data)
        if not data:
            protocol.receive_eof()
        elif protocol.state is State.CONNECTING:
            data = self._take_handshake(data)
        rest, self._tail = self._tail + data, b""
        while rest:
            if self._is_cut:
                rest = self._cut_frames(rest, messages)
            else:
                self._pass_on(rest[:_PARSED_BYTES], messages)
                rest = rest[_PARSED_BYTES:]
            if rest:
                await trio.lowlevel.checkpoint()
        if messages:
            self._unanswered = 0
        elif self._unanswered > UNANSWERED_BYTES_MAX:
            self._give_up()
        if protocol.state in _ENDING:
            self._finish(self._why_closed())
        try:
            await self._flush()
        except trio.BrokenResourceError:
            self._finish(ConnectionClosedError(CloseCode.ABNORMAL_CLOSURE))
        return messages

    def _finish(self, end: ConnectionClosedError) -> None:
        """Note how the connection ended, unless it has already, and let nobody wait for a pong."""
        if self._end is None:
            self._end = end
            for over in self._pongs.values():
                over.set()

    def _take_handshake(self, data: bytes) -> bytes:
        """Pass lines of the server's answer on up to its end; return what comes after it."""
        used = 0
        for line in data.splitlines(keepends=True):
            self._protocol.receive_data(line)
            used += len(line)
            if self._protocol.state is not State.CONNECTING:
                break
        return data[used:]

    def _cut_frames(self, data: bytes, messages: list[str | bytes]) -> bytes:
        """Take whole frames off the beginning of the input, and keep the beginning of one that is not whole.

        Returns:
            What is left to be looked at: something if there are very many frames, or no more are to be cut.
        """
        at, size, frames = 0, len(data), 0
        is_plain = self._is_plain
        while self._is_cut and size - at >= 2 and frames < _PARSED_FRAMES:
            length, begin = data[at + 1], at + 2
            if length == _LENGTH_FOLLOWS and size - at >= 4:
                length, begin = data[at + 2] << 8 | data[at + 3], at + 4
            elif length >= _LENGTH_FOLLOWS:
                self._is_cut = length == _LENGTH_FOLLOWS
                break
            if length > MESSAGE_BYTES_MAX:
                self._is_cut = False
                break
            end = begin + length
            if end > size:
                break
            if is_plain and data[at] == _WHOLE_TEXT:
                try:
                    messages.append(str(data[begin:end], "utf-8"))
                except UnicodeDecodeError as error:
                    self._refuse_text(error)
                    is_plain = False
            else:
                self._pass_on(data[at:end], messages)
                is_plain = self._is_plain
            at, frames = end, frames + 1
        if frames >= _PARSED_FRAMES or not self._is_cut:
            return data[at:]
        self._tail = data[at:]
        return b""

    @property
    def _is_plain(self) -> bool:
        """Whether a whole text frame that comes next is a message."""
        return self._protocol.state is State.OPEN and not self._messages.is_partial

    def _pass_on(self, data: bytes, messages: list[str | bytes]) -> None:
        """Give input to the protocol object, and take the messages that it makes of it."""
        self._protocol.receive_data(data)
        self._take(self._protocol.events_received(), messages)

    def _take(self, events: Iterable[Frame | Request | Response], messages: list[str | bytes]) -> None:
        for event in events:
            if not isinstance(event, Frame):
                continue
            if event.opcode in _DATA:
                try:
                    message = self._messages.add(event)
                except UnicodeDecodeError as error:
                    self._refuse_text(error)
                    return
                if message is not None:
                    messages.append(message)
            elif event.opcode is _PONG:
                self._note_pong(bytes(event.data))

    def _refuse_text(self, error: UnicodeDecodeError) -> None:
        words = f"cannot decode text: {error.reason} at byte {error.start}"
        self._finish(ConnectionClosedError(CloseCode.INVALID_DATA, words))
        if self._protocol.state is State.OPEN:
            self._protocol.fail(CloseCode.INVALID_DATA, words)

    def _give_up(self) -> None:
        if self._protocol.state is State.CONNECTING:
            raise HandshakeFailedError(f"no end of the handshake after {self._unanswered} bytes")
        self._finish(ConnectionClosedError(CloseCode.ABNORMAL_CLOSURE, f"no message in {self._unanswered} bytes"))

    def _note_pong(self, payload: bytes) -> None:
        """Wake whoever waits for this pong or for an earlier one: only the last of several pings needs one."""
        if payload not in self._pongs:
            return
        for sent in list(self._pongs):
            self._pongs.pop(sent).set()
            if sent == payload:
                break

    def _why_closed(self) -> ConnectionClosedError:
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        close = received if received is not None else sent
        if close is None:
            return ConnectionClosedError(CloseCode.ABNORMAL_CLOSURE)
        return ConnectionClosedError(close.code, close.reason)

    async def _flush(self) -> None:
        """Send what the protocol object wants to be sent."""
        data = b"".join(self._protocol.data_to_send())  # its sign of the end of the stream is empty: left out
        if data:
            async with self._sending:
                await self._stream.send_all(data)


@asynccontextmanager
async def open_websockets_frames(
    stream: trio.abc.Stream, uri: WebSocketURI, deadline: float
) -> AsyncIterator[WebsocketsFrames]:
    """See ``Reader``."""
    frames = WebsocketsFrames(stream, ClientProtocol(uri, max_size=MESSAGE_BYTES_MAX))
    try:
        with trio.fail_at(deadline):
            await frames.shake_hands()
        yield frames
    finally:
        await frames.aclose()


def _why_no_handshake(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"refused with status {error.response.status_code}"
    if isinstance(error.__cause__, EOFError):
        return "closed during the handshake"
    return "the answer is no websocket handshake"
