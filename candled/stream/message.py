"""What a stream tells its client, before any wire form."""

from enum import IntEnum
from typing import Any

from candled.domain.bar import Bar
from candled.domain.event import BarEvent, BarEventKind
from candled.stream.tokens import LivePoint


class MessageKind(IntEnum):
    """Why a message is sent. The numbers are those of the API."""

    SNAPSHOT = 1
    UPDATE = 2
    CLOSE = 3
    REVISION = 4
    HEARTBEAT = 5


_KIND_OF_EVENT = {
    BarEventKind.UPDATE: MessageKind.UPDATE,
    BarEventKind.CLOSE: MessageKind.CLOSE,
    BarEventKind.REVISION: MessageKind.REVISION,
}


class Message:
    """One message. Shared by all streams that tell it, so that each wire form is made only once (``wire``)."""

    __slots__ = ("bar", "exchange_time", "kind", "resume_token", "wire")

    def __init__(self, kind: MessageKind, bar: Bar | None, exchange_time: int, resume_token: str = "") -> None:
        self.kind = kind
        self.bar = bar
        """None in a heartbeat."""
        self.exchange_time = exchange_time
        """Microseconds since the epoch, of the trade or the close that caused it."""
        self.resume_token = resume_token
        """Empty unless it tells a closed bar."""
        self.wire: Any = None
        """The encoded form, kept here by the encoder that made it."""

    def __repr__(self) -> str:
        if self.bar is None:
            return f"Message({self.kind.name})"
        return f"Message({self.kind.name} {self.bar.symbol} {self.bar.interval} {self.bar.open_time})"

    @property
    def tells_closed_bar(self) -> bool:
        """Whether it is a CLOSE or a REVISION, which no stream may drop."""
        return self.kind is MessageKind.CLOSE or self.kind is MessageKind.REVISION


def message_of(event: BarEvent) -> Message:
    """The message that tells an event of the live stream."""
    kind = _KIND_OF_EVENT[event.kind]
    token = "" if kind is MessageKind.UPDATE else LivePoint.claimed(event).token()
    return Message(kind, event.bar, event.exchange_time, token)
