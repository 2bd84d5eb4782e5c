"""Who gets what, and what the hub remembers."""

import pytest
from msgspec.structs import replace

from candled.domain.event import BarEvent
from candled.stream.hub import HistoryBehindError, TooManyStreamsError
from candled.stream.subscription import EndCause, Selection
from candled.stream.tokens import LivePoint, parse_token
from tests.stream.support import START, Recorder, World, close, five_minutes, minute, revise, told, update


def open_live(world: World, selection: Selection) -> Recorder:
    outlet = Recorder()
    subscription = world.hub.subscribe(selection, outlet)
    world.hub.go_live(subscription)
    while subscription.take(0, 100):
        pass
    return outlet


def test_a_stream_gets_only_the_symbols_and_intervals_that_it_chose() -> None:
    world = World()
    outlet = open_live(world, Selection(symbols=frozenset({"ETHUSDT"}), intervals=frozenset({"1m"})))
    world.publish(close(minute(0), 1), close(minute(0, symbol="ETHUSDT"), 2), close(five_minutes(0, "ETHUSDT"), 2))
    assert [m.bar.symbol for m in outlet.sent if m.bar] == ["ETHUSDT"]


def test_no_symbols_means_all() -> None:
    world = World()
    outlet = open_live(world, Selection())
    world.publish(close(minute(0), 1), close(minute(0, symbol="ETHUSDT"), 2))
    assert [m.bar.symbol for m in outlet.sent if m.bar] == ["BTCUSDT", "ETHUSDT"]


def test_all_streams_share_one_message() -> None:
    world = World()
    outlets = [open_live(world, Selection()), open_live(world, Selection(symbols=frozenset({"BTCUSDT"})))]
    world.publish(close(minute(0), 1))
    assert outlets[0].sent[0] is outlets[1].sent[0]


def test_only_streams_that_take_updates_make_a_forming_bar_wanted() -> None:
    world = World()
    open_live(world, Selection(intervals=frozenset({"5m"}), symbols=frozenset({"BTCUSDT"})))
    open_live(world, Selection(intervals=frozenset({"1h"}), closed_only=True))
    assert world.hub.wanted("BTCUSDT") == {"5m"}
    assert world.hub.wanted("ETHUSDT") == set()


def test_what_nobody_takes_any_more_is_not_wanted() -> None:
    world = World()
    subscription = world.hub.subscribe(Selection(intervals=frozenset({"5m"})), Recorder())
    assert world.hub.wanted("BTCUSDT") == {"5m"}
    world.hub.unsubscribe(subscription)
    assert world.hub.wanted("BTCUSDT") == set()
    assert world.hub.statistics().subscribers == 0


def test_a_stream_that_leaves_while_others_are_served_hurts_nobody() -> None:
    world = World()

    class Leaver(Recorder):
        def send_now(self, messages):  # type: ignore[no-untyped-def]
            world.hub.unsubscribe(leaving)
            return True

    before = open_live(world, Selection())
    leaving = world.hub.subscribe(Selection(), Leaver())
    world.hub.go_live(leaving)
    leaving.take(0, 1)
    after = open_live(world, Selection())
    world.publish(close(minute(0), 1))
    assert len(before.sent) == len(after.sent) == 1


def test_streams_beyond_the_limit_are_refused() -> None:
    world = World(streams_max=1)
    open_live(world, Selection())
    with pytest.raises(TooManyStreamsError):
        world.hub.subscribe(Selection(), Recorder())


def test_closed_bars_are_remembered_until_they_are_stored() -> None:
    world = World()
    world.publish(close(minute(0), 1), update(minute(1)), close(minute(1), 2))
    assert world.hub.statistics().unstored == 2
    world.stored.store([close(minute(0), 1)])
    messages = world.hub.unstored_after(Selection(), LivePoint.before(0), 0)
    assert told(messages) == [("CLOSE", 1)]


def owing(event: BarEvent, position: int) -> BarEvent:
    return replace(event, owed_from=position)


def test_who_breaks_off_while_a_longer_bar_is_owed_is_told_it_after_resuming() -> None:
    world = World()
    outlet = open_live(world, Selection(closed_only=True))
    world.publish(close(minute(0), 1), owing(revise(minute(0), 2), 2), owing(close(minute(1), 3), 2))
    tokens = [message.resume_token for message in outlet.sent]
    assert [parse_token(token) for token in tokens] == [
        LivePoint.of(close(minute(0), 1)),
        LivePoint.before(2),
        LivePoint.before(2),
    ]
    world.publish(revise(five_minutes(0), 2))
    selection = Selection(intervals=frozenset({"5m"}))
    point = parse_token(tokens[-1])
    assert isinstance(point, LivePoint)
    assert told(world.hub.unstored_after(selection, point, 0)) == [("REVISION", 0)]


def test_a_stream_that_begins_while_a_longer_bar_is_owed_begins_before_it() -> None:
    world = World()
    world.publish(close(minute(0), 1), owing(revise(minute(0), 2), 2), owing(close(minute(1), 3), 2))
    assert world.hub.here == LivePoint.before(2)
    world.publish(revise(five_minutes(0), 2))
    assert world.hub.here == LivePoint.after(3)


def test_a_replay_is_refused_while_closed_bars_are_forgotten_that_are_not_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("candled.stream.hub._UNSTORED_MAX", 2)
    world = World()
    for index in range(4):
        world.publish(close(minute(index), index + 1))
    with pytest.raises(HistoryBehindError):
        world.hub.unstored_after(Selection(), None, START)


def test_the_resume_time_covers_bars_of_every_interval_that_are_still_open() -> None:
    world = World()
    subscription = world.hub.subscribe(
        Selection(symbols=frozenset({"BTCUSDT"}), intervals=frozenset({"1m", "1h"})), Recorder()
    )
    world.publish(close(minute(90), 1))
    world.hub.close()
    assert subscription.ended is not None
    assert subscription.ended.resume_time == START + 60 * 60_000_000


def test_streams_that_name_a_removed_symbol_end_and_those_of_all_go_on() -> None:
    world = World()
    chosen = Selection(symbols=frozenset({"BTCUSDT", "ETHUSDT"}))
    subscriptions = [world.hub.subscribe(selection, Recorder()) for selection in (chosen, Selection())]
    for subscription in subscriptions:
        world.hub.go_live(subscription)
    world.publish(close(minute(0, symbol="ETHUSDT"), 1))
    world.hub.forget("ETHUSDT")
    ended = subscriptions[0].ended
    assert ended is not None
    assert (ended.cause, ended.symbol, ended.resume_time) == (EndCause.REMOVED, "ETHUSDT", START)
    assert told(subscriptions[0].take(0, 100)) == [("CLOSE", 0)], "what was closed is still told"
    assert subscriptions[1].ended is None
