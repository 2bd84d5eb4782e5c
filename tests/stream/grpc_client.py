"""A stock grpcio client for tests, run in threads beside the Trio test."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
import trio
from google.protobuf.message import Message

from candled.api import candles_pb2 as pb

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)
_SERVICE = "/candled.v1.CandleService/"


class Client:
    """The service's methods over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.stream_bars = channel.unary_stream(
            _SERVICE + "StreamBars",
            request_serializer=pb.StreamBarsRequest.SerializeToString,
            response_deserializer=pb.StreamBarsResponse.FromString,
        )
        self.GetBars = self._unary("GetBars", pb.GetBarsRequest, pb.GetBarsResponse)
        self.ListSymbols = self._unary("ListSymbols", pb.ListSymbolsRequest, pb.ListSymbolsResponse)
        self.GetStatus = self._unary("GetStatus", pb.GetStatusRequest, pb.GetStatusResponse)

    def _unary(self, name: str, request: type[Message], response: type[Answer]) -> Callable[..., Answer]:
        method: Callable[..., Answer] = self.channel.unary_unary(
            _SERVICE + name,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return method


@contextmanager
def dial(address: str, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> Iterator[Client]:
    pairs = [(f"grpc.{name}", value) for name, value in options.items()]
    pairs.append(("grpc.use_local_subchannel_pool", 1))  # a connection of its own for each channel
    channel = (
        grpc.insecure_channel(address, pairs)
        if credentials is None
        else grpc.secure_channel(address, credentials, pairs)
    )
    with channel:
        yield Client(channel)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking call of the client; the test's time limit does not wait for it."""
    return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)


class Reader:
    """Reads one stream in a thread; the test waits for what it needs."""

    def __init__(self, call: Any) -> None:
        self.messages: list[pb.StreamBarsResponse] = []
        self.error: grpc.RpcError | None = None
        self.done = threading.Event()
        self._call = call
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for message in self._call:
                self.messages.append(message)
        except grpc.RpcError as error:
            self.error = error
        self.done.set()

    def cancel(self) -> None:
        self._call.cancel()

    async def until(self, count: int) -> list[pb.StreamBarsResponse]:
        """Wait for that many messages."""
        with trio.fail_after(10):
            while len(self.messages) < count:
                assert not self.done.is_set(), self.error
                await trio.sleep(0.005)
        return self.messages

    async def ended(self) -> grpc.RpcError | None:
        """Wait for the stream's end: its status, None if it was OK."""
        with trio.fail_after(10):
            while not self.done.is_set():
                await trio.sleep(0.005)
        return self.error


def kinds(messages: Sequence[pb.StreamBarsResponse]) -> list[str]:
    return [pb.BarKind.Name(message.kind).removeprefix("BAR_KIND_") for message in messages]
