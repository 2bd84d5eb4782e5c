"""Headers of gRPC requests that grpclib cannot read: each is refused with a status, and others notice nothing."""

import pytest
import trio

from candled.api import candles_pb2 as pb
from candled.stream.grpc.requests import refused_headers
from tests.stream.grpc_client import dial, in_thread
from tests.stream.support import World, open_service
from tests.stream.test_hostile_clients import read_until_trailers, request_headers
from tests.stream.test_slow_clients import RawClient

EMPTY = b"\0\0\0\0\0"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (("grpc-timeout", "soon"), "grpc-timeout must be"),
        (("grpc-timeout", "9" * 4000 + "H"), "grpc-timeout must be"),
        (("grpc-timeout", "-1S"), "grpc-timeout must be"),
        (("grpc-timeout", ""), "grpc-timeout must be"),
        (("x-data-bin", "A"), "-bin must be base64"),
        ((":path", "/again"), ":path must each be there once"),
    ],
)
async def test_odd_headers_are_refused(header: tuple[str, str], words: str) -> None:
    """A header that cannot be read gets INVALID_ARGUMENT with what to change, at once."""
    async with open_service(World(clock=trio.current_time)) as server:
        with dial(server.address) as client, trio.fail_after(10):
            raw = RawClient.connect(server)
            raw.h2.config.validate_outbound_headers = False
            raw.h2.config.normalize_outbound_headers = False
            stream = raw.h2.get_next_available_stream_id()
            raw.h2.send_headers(stream, [header, *request_headers("ListSymbols")])
            raw.h2.send_data(stream, EMPTY, end_stream=True)
            raw.send()
            answer = await in_thread(read_until_trailers, raw)
            assert (answer["grpc-status"], words in answer["grpc-message"]) == ("3", True)
            assert len((await in_thread(client.ListSymbols, pb.ListSymbolsRequest())).symbols) == 3


@pytest.mark.parametrize("timeout", ["0n", "1S", "99999999H"])
def test_timeouts_of_the_protocol_pass(timeout: str) -> None:
    """Every timeout that gRPC allows is taken."""
    assert refused_headers([*request_headers("GetBars"), ("grpc-timeout", timeout)]) is None


def test_a_request_without_a_path_is_refused() -> None:
    """A request that lacks what HTTP/2 asks for is refused and not left without an answer."""
    headers = [header for header in request_headers("GetBars") if header[0] != ":path"]
    assert refused_headers(headers) == ":method, :path must each be there once."
