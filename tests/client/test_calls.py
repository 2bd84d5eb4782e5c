"""How a stream goes on after a break, and what may not be asked for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from candled.client.calls import BarStreamPlan, metadata, parse_address
from candled.client.decode import encode_time
from candled.client.model import Bar, ClientError, Kind, Message

START = datetime(2026, 1, 1, tzinfo=UTC)


def plan(*, start_time: datetime | None = None, reconnect: bool = True) -> BarStreamPlan:
    return BarStreamPlan(
        symbols=["BTCUSDT"],
        intervals=["1m"],
        start_time=start_time,
        closed_only=False,
        max_updates_per_second=0,
        resume_token="",
        reconnect=reconnect,
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


def test_after_a_break_the_newest_token_is_asked_for() -> None:
    stream = plan(start_time=START)
    stream.opened("")
    stream.received(message(Kind.CLOSE, "one"))
    stream.received(message(Kind.REVISION, "two", revision=1))
    stream.received(message(Kind.UPDATE))
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == "two"


def test_a_stream_that_was_told_no_closed_bar_resumes_from_its_beginning() -> None:
    stream = plan()
    stream.opened("beginning")
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == "beginning"


def test_a_replay_that_broke_before_its_first_bar_begins_again() -> None:
    stream = plan(start_time=START)
    stream.opened("")
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert stream.request().resume_token == ""
    assert stream.request().HasField("start_time")


def test_a_bar_that_comes_again_after_a_break_is_not_told_twice() -> None:
    stream = plan()
    stream.opened("")
    assert stream.received(message(Kind.CLOSE, "one"))
    stream.failed(ClientError("UNAVAILABLE", ""))
    assert not stream.received(message(Kind.CLOSE, "one"))
    assert stream.received(message(Kind.REVISION, "two", revision=1))


def test_delays_grow_to_a_bound_and_start_over_once_messages_come() -> None:
    stream = plan()
    stream.opened("")
    delays = [stream.failed(ClientError("UNAVAILABLE", "")) for _ in range(20)]
    assert delays[0] <= 0.1
    assert all(5 <= delay <= 10 for delay in delays[10:])
    stream.received(message(Kind.UPDATE))
    assert stream.failed(ClientError("UNAVAILABLE", "")) <= 0.1


@pytest.mark.parametrize("code", ["NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED", "INTERNAL"])
def test_what_asking_again_cannot_mend_is_raised(code: str) -> None:
    with pytest.raises(ClientError):
        plan().failed(ClientError(code, "no"))


def test_without_reconnect_every_failure_is_raised() -> None:
    stream = plan(reconnect=False)
    stream.opened("")
    with pytest.raises(ClientError):
        stream.failed(ClientError("UNAVAILABLE", ""))


def test_a_stream_that_never_opened_is_not_tried_for_ever() -> None:
    with pytest.raises(ClientError):
        plan().failed(ClientError("UNAVAILABLE", "no daemon answers"))


@pytest.mark.parametrize("name", ["symbols", "intervals"])
def test_a_string_where_a_list_is_due_is_refused(name: str) -> None:
    options: dict[str, Any] = {"symbols": [], "intervals": [], "start_time": None, "closed_only": False}
    options |= {"max_updates_per_second": 0, "resume_token": "", "reconnect": True, name: "1m"}
    with pytest.raises(ValueError, match=rf"{name} is one string: give a list, such as \['1m'\]"):
        BarStreamPlan(**options)


def test_a_token_is_sent_without_the_white_space_of_its_file() -> None:
    assert metadata(" secret\n") == [("authorization", "Bearer secret")]
    assert metadata(None) == []


@pytest.mark.parametrize("token", ["two words", "zwei\nZeilen", "schlüssel"])
def test_what_cannot_be_a_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="give one line of the daemon's tokens file"):
        metadata(token)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware datetime"):
        encode_time(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "host:port", "host:99999"])
def test_an_address_of_no_form_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        parse_address(address)
