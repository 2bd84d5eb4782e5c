"""Delivery of messages to one client, and its plain form over grpclib's ``send_message``."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from grpclib.server import Stream

from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.grpc.internals.bridge import Unfinished, Wakeup, begin, soon
from candled.stream.message import Message
from candled.stream.session import SessionOutlet

_QUEUED_MAX: Final = 256
"""Maximum number of messages queued for a plain stream; beyond it the client counts as slow."""


class ClientStream(SessionOutlet, Protocol):
    """One client's stream: an outlet of the hub whose handler sends too.

    ``has_own`` is true while messages that ``send_now`` took wait for the handler to ``send`` them.
    """

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages, waiting for the client as long as it takes."""

    def close(self) -> None:
        """End the stream when its handler is done: nothing more is sent."""


class Delivery(Protocol):
    """Opens outlets to clients. All implementations pass the same tests."""

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> ClientStream:
        """Open the outlet to the client of one request, whose initial metadata is already sent."""

    def flush(self) -> None:
        """Send what ``send_now`` gathered; the hub calls this at the end of each batch."""


class PlainDelivery:
    """Delivers over grpclib's public interface. One callback sends to all streams; a blocked send takes a task.

    Create it where an asyncio loop runs.

    Args:
        time: microseconds since the epoch.
    """

    def __init__(self, time: Callable[[], int]) -> None:
        self.gathered: list[_PlainStream] = []
        """Streams with messages to send."""
        self._time = time
        self._send_soon = soon(self._send_gathered)

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> ClientStream:
        """Open the outlet to one client."""
        return _PlainStream(self, stream, wakeup)

    def flush(self) -> None:
        """Schedule the sends for the loop's next turn."""
        if self.gathered:
            self._send_soon()

    def encode_now(self) -> bytes:
        """Encode the send_time field for messages sent now."""
        return encode_send_time(self._time())

    def _send_gathered(self) -> None:
        gathered, self.gathered = self.gathered, []
        now = self.encode_now()
        for stream in gathered:
            stream.begin(now)


class _PlainStream:
    def __init__(self, delivery: PlainDelivery, stream: Stream[Any, Any], wakeup: Wakeup) -> None:
        self._delivery = delivery
        self._stream = stream
        self._wakeup = wakeup
        self._sequence = 0
        self._queued: list[Message] = []
        self._rest: Unfinished | None = None

    @property
    def has_own(self) -> bool:
        return self._rest is not None or bool(self._queued)

    def send_now(self, messages: Sequence[Message]) -> bool:
        if self._rest is not None or len(self._queued) + len(messages) > _QUEUED_MAX:
            return False
        if not self._queued:
            self._delivery.gathered.append(self)
        self._queued += messages
        return True

    def wake(self) -> None:
        self._wakeup.wake()

    async def wait(self, seconds: float) -> None:
        await self._wakeup.wait(seconds)

    def begin(self, now: bytes) -> None:
        """Send queued messages until the client blocks; the handler sends the rest."""
        queued, self._queued = self._queued, []
        if queued and not self._wakeup.is_closed:
            self._rest = begin(self._send(queued, now))
            if self._rest is not None:
                self._wakeup.wake()

    async def send(self, messages: Sequence[Message]) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest
        queued, self._queued = self._queued, []
        await self._send([*queued, *messages], self._delivery.encode_now())

    def close(self) -> None:
        self._queued = []

    async def _send(self, messages: Sequence[Message], now: bytes) -> None:
        for message in messages:
            self._sequence += 1
            await self._stream.send_message(encode_shared(message) + now + encode_sequence(self._sequence))
