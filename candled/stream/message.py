"""Messages of a stream, independent of the wire form."""

from enum import IntEnum
from typing import Any, Final

from candled.domain.bar import Bar
from candled.domain.event import UPDATE, BarEvent, BarEventKind
from candled.stream.resume import LivePoint, ReplayPoint, ResumeTokens


class MessageKind(IntEnum):
    """Why a message is sent. The numbers are those of the API."""

    SNAPSHOT = 1
    UPDATE = 2
    CLOSE = 3
    REVISION = 4
    HEARTBEAT = 5


_UPDATE: Final = MessageKind.UPDATE
_KIND_OF_EVENT = {
    BarEventKind.CLOSE: MessageKind.CLOSE,
    BarEventKind.REVISION: MessageKind.REVISION,
}


class Message:
    """One message. Shared by all streams that send it, so that it is encoded only once (``wire``)."""

    __slots__ = ("_point", "_tokens", "bar", "exchange_time", "kind", "wire")

    def __init__(
        self,
        kind: MessageKind,
        bar: Bar | None,
        exchange_time: int,
        point: LivePoint | ReplayPoint | None = None,
        tokens: ResumeTokens | None = None,
    ) -> None:
        self.kind = kind
        self.bar = bar
        """None in a heartbeat."""
        self.exchange_time = exchange_time
        """Microseconds since the epoch, of the trade or the close that caused it."""
        self._point = point
        self._tokens = tokens
        self.wire: Any = None
        """The encoded form, cached by the encoder."""

    def __repr__(self) -> str:
        if self.bar is None:
            return f"Message({self.kind.name})"
        return f"Message({self.kind.name} {self.bar.symbol} {self.bar.interval} {self.bar.open_time})"

    @property
    def resume_token(self) -> str:
        """Token to resume after this message; empty unless it has a closed bar.

        Encoded on use: most messages queued during a replay are dropped.
        """
        return "" if self._point is None or self._tokens is None else self._tokens.encode(self._point)

    @property
    def has_closed_bar(self) -> bool:
        """Whether it is a CLOSE or a REVISION, which no stream may drop."""
        return self.kind is MessageKind.CLOSE or self.kind is MessageKind.REVISION


def message_of(event: BarEvent, tokens: ResumeTokens) -> Message:
    """Build the message of an event of the live stream."""
    if event.kind is UPDATE:
        return Message(_UPDATE, event.bar, event.exchange_time)
    return Message(_KIND_OF_EVENT[event.kind], event.bar, event.exchange_time, LivePoint.claimed(event), tokens)
