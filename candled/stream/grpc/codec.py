"""How grpclib turns messages into bytes and back: what is encoded already passes through."""

from typing import Any

from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError


class PassThroughCodec(CodecBase):
    """Bytes are sent as they are; every other message encodes itself (protobuf's and betterproto2's alike)."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """A message as bytes."""
        return message if isinstance(message, bytes) else message.SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Bytes as a message.

        Raises:
            GRPCError: INVALID_ARGUMENT, they are not one.
        """
        try:
            return message_type.FromString(data)
        except Exception as error:
            # Whatever a hostile client's bytes make a parser raise, the client is to blame.
            text = f"the request is not a valid {message_type.__name__}: send one made from candles.proto"
            raise GRPCError(Status.INVALID_ARGUMENT, text) from error
