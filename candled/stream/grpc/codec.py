"""Codec of grpclib that passes encoded messages through."""

from typing import Any

from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError


class PassThroughCodec(CodecBase):
    """Passes bytes through; every other message encodes itself (protobuf's and betterproto2's alike)."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Encode a message."""
        return message if isinstance(message, bytes) else message.SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Decode a message.

        Raises:
            GRPCError: INVALID_ARGUMENT, the bytes are not a valid message.
        """
        try:
            return message_type.FromString(data)
        except Exception as error:
            # Any exception of the parser is caused by the client's bytes.
            text = f"The request is not a valid {message_type.__name__}: send one made from candles.proto."
            raise GRPCError(Status.INVALID_ARGUMENT, text) from error
