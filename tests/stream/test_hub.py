"""Who gets what, and what the hub remembers."""

import pytest
from msgspec.structs import replace

from candled.domain.event import BarEvent
from candled.stream.hub import TooManyStreamsError
from candled.stream.resume import LivePoint
from candled.stream.subscription import EndCause, Selection
from tests.stream.support import START, Recorder, World, close, five_minutes, minute, revise, summaries, update


def open_live(world: World, selection: Selection) -> Recorder:
    outlet = Recorder()
    subscription = world.hub.subscribe(selection, outlet)
    world.hub.go_live(subscription)
    while subscription.take(0, 100):
        pass
    return outlet


def test_stream_gets_what_it_chose() -> None:
    """A stream gets only the symbols and intervals of its request."""
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


def test_updates_make_forming_bars_wanted() -> None:
    """Only streams that take updates cause forming bars to be made."""
    world = World()
    open_live(world, Selection(intervals=frozenset({"5m"}), symbols=frozenset({"BTCUSDT"})))
    open_live(world, Selection(intervals=frozenset({"1h"}), closed_only=True))
    assert world.hub.wanted("BTCUSDT") == {"5m"}
    assert world.hub.wanted("ETHUSDT") == set()


def test_unsubscribed_intervals_are_not_wanted() -> None:
    world = World()
    subscription = world.hub.subscribe(Selection(intervals=frozenset({"5m"})), Recorder())
    assert world.hub.wanted("BTCUSDT") == {"5m"}
    world.hub.unsubscribe(subscription)
    assert world.hub.wanted("BTCUSDT") == set()
    assert world.hub.statistics().subscribers == 0


def test_leaving_during_a_publication_affects_no_other() -> None:
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


def test_closed_bars_are_kept_until_they_are_stored() -> None:
    world = World()
    world.publish(close(minute(0), 1), update(minute(1)), close(minute(1), 2))
    assert world.hub.statistics().unstored == 2
    world.stored.store([close(minute(0), 1)])
    messages = world.hub.unstored_after(Selection(), LivePoint.before(0), 0)
    assert summaries(messages) == [("CLOSE", 1)]


def with_floor(event: BarEvent, position: int) -> BarEvent:
    """Resuming after it begins at this position, for a longer bar that is still to be emitted."""
    return replace(event, resume_floor=position)


def test_resume_includes_pending_longer_bars() -> None:
    """A stream that ends while a longer bar is to be emitted gets it after resuming."""
    world = World()
    outlet = open_live(world, Selection(closed_only=True))
    world.publish(close(minute(0), 1), with_floor(revise(minute(0), 2), 2), with_floor(close(minute(1), 3), 2))
    tokens = [message.resume_token for message in outlet.sent]
    assert [world.hub.tokens.decode(token) for token in tokens] == [
        LivePoint.of(close(minute(0), 1)),
        LivePoint.before(2),
        LivePoint.before(2),
    ]
    world.publish(revise(five_minutes(0), 2))
    selection = Selection(intervals=frozenset({"5m"}))
    point = world.hub.tokens.decode(tokens[-1])
    assert isinstance(point, LivePoint)
    assert summaries(world.hub.unstored_after(selection, point, 0)) == [("REVISION", 0)]


def test_new_stream_begins_before_pending_longer_bars() -> None:
    world = World()
    world.publish(close(minute(0), 1), with_floor(revise(minute(0), 2), 2), with_floor(close(minute(1), 3), 2))
    assert world.hub.here == LivePoint.before(2)
    world.publish(revise(five_minutes(0), 2))
    assert world.hub.here == LivePoint.after(3)


def test_resume_time_covers_open_bars_of_every_interval() -> None:
    world = World()
    subscription = world.hub.subscribe(
        Selection(symbols=frozenset({"BTCUSDT"}), intervals=frozenset({"1m", "1h"})), Recorder()
    )
    world.publish(close(minute(90), 1))
    world.hub.close()
    assert subscription.ended is not None
    assert subscription.ended.resume_time == START + 60 * 60_000_000


def test_streams_are_sent_elsewhere() -> None:
    """All that are open end, with what resumes them; one that begins afterwards is served."""
    world = World()
    subscription = world.hub.subscribe(Selection(), Recorder())
    world.hub.go_live(subscription)
    world.publish(close(minute(0), 1))
    world.hub.send_elsewhere()
    assert subscription.ended is not None
    assert (subscription.ended.cause, subscription.ended.resume_time) == (EndCause.CUT_OFF, START)
    assert world.hub.subscribe(Selection(), Recorder()).ended is None


def test_removed_symbol_ends_only_streams_that_name_it() -> None:
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
    assert summaries(subscriptions[0].take(0, 100)) == [("CLOSE", 0)], "closed bars are still sent"
    assert subscriptions[1].ended is None
