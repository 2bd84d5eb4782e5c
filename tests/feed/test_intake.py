"""What the intake makes of decoded frames, besides trades."""

import trio

from candled.domain.feed_event import FeedEvent, LastTradeFound, NewestId, NewestIdsStated, TradesArrived
from candled.domain.trade import Trade
from candled.feed.adapter import Decoded
from candled.feed.counts import FeedCounts
from candled.feed.intake import Intake

_LAST = Trade("X", 9, 9, 100, 100, 1_700_000_000_000_000, False)


def taken(intake: Intake, decoded: Decoded, now: float = 1.0, room: int = 10) -> list[FeedEvent]:
    send, receive = trio.open_memory_channel[FeedEvent](room)
    intake.take(decoded, now, send)
    events = []
    while receive.statistics().current_buffer_used:
        events.append(receive.receive_nowait())
    return events


def intake_of(*symbols: str) -> Intake:
    return Intake(FeedCounts(), symbols.__contains__)


def test_last_trade_is_handed_over() -> None:
    """The trade before the subscription says what was missed, and where a silent symbol stands."""
    intake = intake_of("X")
    assert taken(intake, Decoded(last_trades=[_LAST])) == [LastTradeFound("X", _LAST)]
    assert intake.pace("X").last_id == 9


def test_last_trade_without_room_is_asked_for() -> None:
    """It is not noted as known, so that the check of silent symbols finds it."""
    intake = intake_of("X")
    assert taken(intake, Decoded(last_trades=[_LAST]), room=0) == []
    assert intake.pace("X").is_suspect(1.0)


def test_newest_ids_are_handed_over() -> None:
    """Those of symbols that are not followed are left out."""
    ours, other = NewestId("X", 9, 5), NewestId("Y", 3, 5)
    assert taken(intake_of("X"), Decoded(newest_ids=[ours, other])) == [NewestIdsStated((ours,), 1.0)]


def test_heartbeat_tells_the_time() -> None:
    """Event times are emitted without trades, too."""
    assert taken(intake_of("X"), Decoded(event_times={"X": 7})) == [TradesArrived([], {"X": 7}, 1.0)]


def test_times_of_others_are_left_out() -> None:
    """A name that nobody follows is no source of the exchange's time, however many there are."""
    intake = intake_of("X")
    others = {f"MADEUP{number}": 1_800_000_000_000_000 for number in range(3)}
    assert taken(intake, Decoded(event_times={**others, "X": 7, "Y": 8})) == [TradesArrived([], {"X": 7}, 1.0)]
    assert taken(intake, Decoded(event_times=dict(others))) == []


def test_times_of_a_removed_symbol_are_ignored() -> None:
    """Messages still under way when a symbol is removed do not bring it back as a source of time."""
    followed = {"X", "Y"}
    intake = Intake(FeedCounts(), followed.__contains__)
    taken(intake, Decoded(trades=[_LAST], event_times={"X": 7}))
    followed.remove("X")
    intake.forget("X")
    assert taken(intake, Decoded(trades=[_LAST], event_times={"X": 8})) == [TradesArrived([_LAST], {}, 1.0)]


def test_quiet_market_with_heartbeats_is_not_checked() -> None:
    """Whoever states again and again that nothing is newer than what came need not be asked over REST."""
    intake = intake_of("X")
    taken(intake, Decoded(last_trades=[_LAST]), now=0.0)
    taken(intake, Decoded(newest_ids=[NewestId("X", 9, 5)]), now=100.0)
    assert not intake.pace("X").is_suspect(102.0)
    taken(intake, Decoded(newest_ids=[NewestId("X", 12, 5)]), now=103.0)
    assert intake.pace("X").is_suspect(200.0)
