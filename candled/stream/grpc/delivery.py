"""The way of messages to one client, and the plain form of it: grpclib's own ``send_message``."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from grpclib.server import Stream

from candled.stream.grpc.bridge import Wakeup
from candled.stream.grpc.encoder import encode_send_time, encode_sequence, encode_shared
from candled.stream.message import Message
from candled.stream.subscription import Outlet


class ClientStream(Outlet, Protocol):
    """One client's stream: an outlet of the hub whose handler also sends by itself."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Send them, waiting for the client as long as it takes."""


class Delivery(Protocol):
    """Opens the way to clients. All forms of it pass the same tests."""

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> ClientStream:
        """The way to the client of one request; its initial metadata is sent already."""

    def flush(self) -> None:
        """Send what ``send_now`` has gathered: the hub calls it at the end of each batch."""


class PlainDelivery:
    """Public interface of grpclib only: each message wakes the handler of each stream.

    Args:
        time: microseconds since the epoch.
    """

    def __init__(self, time: Callable[[], int]) -> None:
        self._time = time

    def open_stream(self, stream: Stream[Any, Any], wakeup: Wakeup) -> ClientStream:
        """The way to one client."""
        return _PlainStream(stream, wakeup, self._time)

    def flush(self) -> None:
        """Nothing is gathered."""


class _PlainStream:
    def __init__(self, stream: Stream[Any, Any], wakeup: Wakeup, time: Callable[[], int]) -> None:
        self._stream = stream
        self._wakeup = wakeup
        self._time = time
        self._sequence = 0

    def send_now(self, messages: Sequence[Message]) -> bool:
        return False

    def wake(self) -> None:
        self._wakeup.wake()

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._sequence += 1
            sent = encode_shared(message) + encode_sequence(self._sequence) + encode_send_time(self._time())
            await self._stream.send_message(sent)
