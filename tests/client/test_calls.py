"""How a stream goes on after a break, and what may not be asked for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from candled.client.calls import BarStreamPlan, metadata, parse_address
from candled.client.decode import encode_time
from candled.client.model import Bar, ClientError, Heartbeat, Kind, Message

START = datetime(2026, 1, 1, tzinfo=UTC)


def plan(
    *, start_time: datetime | None = None, reconnect: bool = True, heartbeats: bool = False, addresses: int = 1
) -> BarStreamPlan:
    return BarStreamPlan(
        symbols=["BTCUSDT"],
        intervals=["1m"],
        start_time=start_time,
        closed_only=False,
        max_updates_per_second=0,
        resume_token="",
        reconnect=reconnect,
        heartbeats=heartbeats,
        addresses=addresses,
    )


def message(kind: Kind, token: str = "", revision: int = 0) -> Message:
    one = Decimal(1)
    bar = Bar(
        symbol="BTCUSDT",
        interval="1m",
        open_time=START,
        close_time=START + timedelta(minutes=1),
        open=one,
        high=one,
        low=one,
        close=one,
        volume=one,
        quote_volume=one,
        trade_count=1,
        taker_buy_volume=one,
        taker_buy_quote_volume=one,
        first_trade_id=1,
        last_trade_id=1,
        closed=True,
        complete=True,
        revision=revision,
    )
    return Message(kind=kind, bar=bar, sequence=1, exchange_time=START, send_time=START, resume_token=token)


def test_reconnect_uses_the_newest_token() -> None:
    stream = plan(start_time=START)
    stream.opened("")
    stream.received(message(Kind.CLOSE, "one"))
    stream.received(message(Kind.REVISION, "two", revision=1))
    stream.received(message(Kind.UPDATE))
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == "two"


def test_stream_without_closed_bars_resumes_at_its_beginning() -> None:
    stream = plan()
    stream.opened("beginning")
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == "beginning"


def test_first_call_tries_every_address() -> None:
    """Only when all have failed is it an error; then it is one, as nothing was open yet."""
    stream = plan(addresses=2)
    stream.failed(ClientError("UNAVAILABLE", "one"))
    with pytest.raises(ClientError, match="other"):
        stream.failed(ClientError("UNAVAILABLE", "other"))


def test_replay_cut_before_its_first_bar_restarts() -> None:
    stream = plan(start_time=START)
    stream.opened("")
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == ""
    assert stream.request().HasField("start_time")


def test_repeated_bar_is_delivered_once() -> None:
    stream = plan()
    stream.opened("")
    assert stream.received(message(Kind.CLOSE, "one"))
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert not stream.received(message(Kind.CLOSE, "one"))
    assert stream.received(message(Kind.REVISION, "two", revision=1))


def test_delays_grow_until_messages_come() -> None:
    stream = plan()
    stream.opened("")
    delays = [stream.failed(ClientError("UNAVAILABLE", "")) for _ in range(20)]
    assert delays[0] <= 0.1
    assert all(5 <= delay <= 10 for delay in delays[10:])
    stream.received(message(Kind.UPDATE))
    assert stream.failed(ClientError("UNAVAILABLE", "")) <= 0.1


@pytest.mark.parametrize("code", ["NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED", "INTERNAL"])
def test_permanent_failures_are_raised(code: str) -> None:
    with pytest.raises(ClientError):
        plan().failed(ClientError(code, "no"))


def test_without_reconnect_every_failure_is_raised() -> None:
    stream = plan(reconnect=False)
    stream.opened("")
    with pytest.raises(ClientError):
        stream.failed(ClientError("UNAVAILABLE", ""))


def test_stream_that_never_opened_gives_up() -> None:
    with pytest.raises(ClientError):
        plan().failed(ClientError("UNAVAILABLE", "no daemon answers"))


@pytest.mark.parametrize("name", ["symbols", "intervals"])
def test_string_instead_of_a_list_is_refused(name: str) -> None:
    options: dict[str, Any] = {"symbols": [], "intervals": [], "start_time": None, "closed_only": False}
    options |= {"max_updates_per_second": 0, "resume_token": "", "reconnect": True, name: "1m"}
    with pytest.raises(ValueError, match=rf"{name} is one string: give a list, such as \['1m'\]"):
        BarStreamPlan(**options)


def test_token_is_stripped() -> None:
    assert metadata(" secret\n") == [("authorization", "Bearer secret")]
    assert metadata(None) == []


@pytest.mark.parametrize("token", ["two words", "zwei\nZeilen", "schlüssel"])
def test_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="give one line of the daemon's tokens file"):
        metadata(token)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware datetime"):
        encode_time(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "host:port", "host:99999"])
def test_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        parse_address(address)


def test_heartbeats_are_dropped_by_default() -> None:
    """A loop over a stream sees bars only, however quiet the market is."""
    beat = Heartbeat(sequence=1, exchange_time=None, send_time=START)
    assert not plan().received(beat)
    assert plan(heartbeats=True).received(beat)
