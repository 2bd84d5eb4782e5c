"""Subjects and payloads of the bus."""

import msgspec
import pytest
from msgspec.structs import replace

from candled.bus.messages import (
    PayloadError,
    Subjects,
    decode_events,
    decode_report,
    encode_events,
    encode_report,
    token_of,
)
from candled.bus.roster import IngesterStatus
from candled.domain.bar import Bar
from candled.domain.status import DaemonStatus, Gap, GapState, SymbolStatus
from tests.bus.bars import close, update

EVENTS = [update(1, 7), close(0, 3), close(0, 2, revision=4)]


def test_events_survive_the_bus() -> None:
    """Events are the same after the bus, at the position that the log gave them."""
    expected = [replace(event, position=12) for event in EVENTS]

    assert decode_events(encode_events(EVENTS), 12) == expected
    assert decode_events(encode_events([])) == []


def test_the_form_of_a_bar_is_pinned() -> None:
    """Other versions of candled read these fields by their place: a change of them needs a new version."""
    assert encode_events([])[:1] == b"\x01"
    assert Bar.__struct_fields__ == (
        "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume",
        "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
        "previous_trade_id", "closed", "complete", "revision", "quote_decimals",
    )  # fmt: skip


def altered(**fields: object) -> bytes:
    return encode_events([replace(close(0), bar=replace(close(0).bar, **fields))])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x02" + encode_events(EVENTS)[1:],
        encode_events(EVENTS)[:-1],
        b"\x01\xc0",
        altered(interval="5m"),
        altered(open_time=-60_000_000, close_time=0),
        altered(open_time=1, close_time=60_000_001),
        altered(close_time=0),
        altered(symbol="A B"),
        b"\x01" + msgspec.msgpack.encode([(9, 5, msgspec.structs.astuple(close(0).bar))]),
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_other_payloads_are_refused(payload: bytes) -> None:
    """What is not of the form, of another version, or not of a 1-minute bar, is refused."""
    with pytest.raises(PayloadError):
        decode_events(payload)


def test_reports_survive_the_bus() -> None:
    """An ingester's report is the same after the bus."""
    gap = Gap(1, 2, GapState.OPEN, "why")
    symbol = SymbolStatus(symbol="A", trading_status="TRADING", live=True, gaps=(gap,), lag_ms=1.5)
    status = DaemonStatus(version="1", start_time=5, exchange="x", exchange_time=7, symbols=(symbol,))
    report = IngesterStatus("ingest-0", 0, ("A", "B"), status)

    assert decode_report(encode_report(report)) == report
    with pytest.raises(PayloadError):
        decode_report(b"\x01\xc0")


@pytest.mark.parametrize(
    ("name", "token"),
    [("BTCUSDT", "BTCUSDT"), ("BTC-USD", "BTC-USD"), ("A.B*>", "A=2EB=2A=3E"), ("币", "=E5=B8=81")],
)
def test_names_are_one_token(name: str, token: str) -> None:
    """A name is one token of a subject, whatever it holds."""
    assert token_of(name) == token


def test_subjects_name_the_exchange() -> None:
    """Each subject names the exchange, so that several exchanges share a bus."""
    subjects = Subjects("coinbase")

    assert subjects.stream == "CANDLED_COINBASE"
    assert subjects.every_close == "candled.v1.closed.coinbase.>"
    assert subjects.close("BTC-USD") == "candled.v1.closed.coinbase.BTC-USD"
    assert subjects.update("A.B", 1) == "candled.v1.update.coinbase.A=2EB.1"
    assert (subjects.updates(), subjects.updates(0)) == (
        "candled.v1.update.coinbase.*.*", "candled.v1.update.coinbase.*.0",
    )  # fmt: skip
