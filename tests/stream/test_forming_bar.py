"""Updates of forming bars are written by hand: the same bytes as protobuf's, for every bar."""

from hypothesis import example, given
from hypothesis import strategies as st

from candled.domain.bar import NO_TRADE, Bar
from candled.domain.interval import INTERVALS
from candled.domain.limits import PRICE_MAX, QUOTE_VOLUME_MAX, TIME_MAX, TRADE_ID_MAX, VOLUME_MAX, is_symbol
from candled.domain.numbers import DECIMALS, PRODUCT_DECIMALS
from candled.stream.grpc.encoder import encode_message, encode_shared
from candled.stream.grpc.forming_bar import encode_update, rising_varint, varint
from candled.stream.message import Message, MessageKind

ids = st.integers(0, TRADE_ID_MAX)
prices = st.integers(0, PRICE_MAX)
volumes = st.integers(0, VOLUME_MAX)
quote_volumes = st.integers(0, QUOTE_VOLUME_MAX)
times = st.integers(0, TIME_MAX) | st.integers(0, TIME_MAX // 1_000_000).map(lambda seconds: seconds * 1_000_000)
bars = st.builds(
    Bar,
    symbol=st.text(min_size=1, max_size=80).filter(is_symbol),
    interval=st.sampled_from(list(INTERVALS)),
    open_time=times,
    close_time=times,
    open=prices,
    high=prices,
    low=prices,
    close=prices,
    volume=volumes,
    quote_volume=quote_volumes,
    trade_count=st.integers(0, TRADE_ID_MAX),
    taker_buy_volume=volumes,
    taker_buy_quote_volume=quote_volumes,
    first_trade_id=st.just(NO_TRADE) | ids,
    last_trade_id=st.just(NO_TRADE) | ids,
    previous_trade_id=st.just(NO_TRADE) | ids,
    closed=st.booleans(),
    complete=st.booleans(),
    revision=st.integers(0, 2**31),
    quote_decimals=st.sampled_from([DECIMALS, PRODUCT_DECIMALS]),
)
FORMING = Bar("BTCUSDT", "1m", 0, 60_000_000, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, NO_TRADE)


@given(st.sampled_from([MessageKind.UPDATE, MessageKind.SNAPSHOT, MessageKind.CLOSE]), bars, times)
@example(MessageKind.UPDATE, FORMING, 0)
def test_bytes_are_protobufs(kind: MessageKind, bar: Bar, exchange_time: int) -> None:
    """Whatever a message says, its bytes are those that protobuf makes."""
    message = Message(kind, bar, exchange_time)
    assert encode_shared(message) == encode_message(message)


@given(bars, times)
def test_forming_bar_is_written_by_hand(bar: Bar, exchange_time: int) -> None:
    """A bar with trades that is neither closed nor complete takes the short way, any other does not."""
    is_forming = (
        bar.trade_count > 0
        and NO_TRADE not in {bar.first_trade_id, bar.last_trade_id}
        and not bar.closed
        and not bar.complete
    )
    assert (encode_update(Message(MessageKind.UPDATE, bar, exchange_time)) is not None) == is_forming


@given(st.integers(0, 2**64 - 1))
def test_varint_is_read_back(number: int) -> None:
    """Seven bits in a byte, the lowest first, and bit 8 in all but the last."""
    data = varint(number)
    assert rising_varint(number) == data
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data)) == number
    assert [byte >= 0x80 for byte in data] == [True] * (len(data) - 1) + [False]
