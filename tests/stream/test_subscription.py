"""What one stream gets: conflation, order, bounds, rates. Time is a number that the test moves."""

from candled.stream.message import Message, MessageKind
from candled.stream.subscription import EndCause, Selection
from tests.stream.support import START, Recorder, World, close, minute, summaries, update

MINUTE_0 = Selection()


def live(world: World, outlet: Recorder, selection: Selection = MINUTE_0):  # type: ignore[no-untyped-def]
    subscription = world.hub.subscribe(selection, outlet)
    world.hub.go_live(subscription)
    while subscription.take(world.now, 100):
        pass
    subscription.seconds_until_due(world.now)
    return subscription


def test_fast_stream_gets_each_message() -> None:
    """A stream that keeps up gets each message at once."""
    world, outlet = World(), Recorder()
    live(world, outlet)
    world.publish(update(minute(0, trades=1)), update(minute(0, trades=2)), close(minute(0, trades=2), 1))
    assert summaries(outlet.sent) == [("UPDATE", 0), ("UPDATE", 0), ("CLOSE", 0)]


def test_slow_stream_gets_the_newest() -> None:
    """A slow stream gets the newest forming bar only."""
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    for trades in (1, 2, 3):
        world.publish(update(minute(0, trades=trades)))
    (message,) = subscription.take(0, 10)
    assert message.bar is not None
    assert message.bar.trade_count == 3
    assert world.hub.statistics().conflated == 2


def test_slow_stream_gets_closed_bars_first() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(update(minute(0)), close(minute(0), 1), update(minute(1)), close(minute(1), 2))
    world.publish(update(minute(2)))
    assert summaries(subscription.take(0, 10)) == [("CLOSE", 0), ("CLOSE", 1), ("UPDATE", 2)]


def test_close_discards_the_waiting_update() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(update(minute(0)), close(minute(0), 1))
    assert summaries(subscription.take(0, 10)) == [("CLOSE", 0)]


def test_messages_never_overtake_waiting_ones() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(close(minute(0), 1))
    outlet.ready = True
    world.publish(close(minute(1), 2))
    assert outlet.sent == []
    assert summaries(subscription.take(0, 10)) == [("CLOSE", 0), ("CLOSE", 1)]


def test_direct_sends_wait_for_the_sending_task() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(close(minute(0), 1))
    subscription.take(0, 10)
    outlet.ready = True
    world.publish(close(minute(1), 2))
    assert outlet.sent == []
    subscription.take(0, 10)
    assert subscription.take(0, 10) == []
    world.publish(close(minute(2), 3))
    assert summaries(outlet.sent) == [("CLOSE", 2)]


def test_lagging_stream_ends_with_a_resume_time() -> None:
    world, outlet = World(backlog_max=3), Recorder(ready=False)
    subscription = live(world, outlet)
    for index in range(5):
        world.publish(close(minute(index), index + 1))
    assert subscription.ended is not None
    assert subscription.ended.cause is EndCause.FELL_BEHIND
    assert subscription.ended.resume_time == START
    assert subscription.take(0, 10) == []
    assert world.hub.statistics().fell_behind == 1


def test_stop_sends_waiting_closed_bars_first() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(close(minute(0), 1), update(minute(1)))
    world.hub.close()
    assert summaries(subscription.take(0, 10)) == [("CLOSE", 0)]
    assert subscription.take(0, 10) == []
    assert subscription.ended is not None
    assert subscription.ended.cause is EndCause.SHUTDOWN


def test_closed_only_gets_neither_snapshot_nor_update() -> None:
    world, outlet = World(), Recorder()
    world.publish(update(minute(0)))
    subscription = world.hub.subscribe(Selection(closed_only=True), outlet)
    world.hub.go_live(subscription)
    assert subscription.take(0, 10) == []
    world.publish(update(minute(0)), close(minute(0), 1))
    assert summaries(outlet.sent) == [("CLOSE", 0)]


def test_forming_bar_begins_with_a_snapshot() -> None:
    """Even if a trade comes before the snapshot was taken."""
    world, outlet = World(), Recorder(ready=False)
    world.publish(update(minute(0, trades=1)))
    subscription = world.hub.subscribe(Selection(), outlet)
    world.hub.go_live(subscription)
    world.publish(update(minute(0, trades=2)))
    (message,) = subscription.take(0, 10)
    assert message.kind.name == "SNAPSHOT"
    assert message.bar is not None
    assert message.bar.trade_count == 2


def test_rate_limit_keeps_the_newest_update() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet, Selection(updates_per_second=2))
    sent = []
    for tick in range(20):
        world.now = tick * 0.1
        world.publish(update(minute(0, trades=tick + 1)), update(minute(0, symbol="ETHUSDT", trades=tick + 1)))
        sent += subscription.take(world.now, 10)
    assert outlet.sent == []
    counts = [m.bar.trade_count for m in sent if m.bar and m.bar.symbol == "BTCUSDT"]
    assert counts == [1, 6, 11, 16]
    assert len(sent) == 8


def test_rate_limit_never_delays_closed_bars() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet, Selection(updates_per_second=0.001))
    world.publish(update(minute(0)))
    assert summaries(subscription.take(0, 10)) == [("UPDATE", 0)]
    world.publish(update(minute(0)), close(minute(0), 1))
    assert summaries(subscription.take(0, 10)) == [("CLOSE", 0)]


def test_rate_limited_task_sleeps_until_the_next_update() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet, Selection(updates_per_second=2))
    world.publish(update(minute(0, trades=1)))
    subscription.take(0, 10)
    world.publish(update(minute(0, trades=2)))
    assert subscription.take(0.1, 10) == []
    assert subscription.seconds_until_due(0.1) == 0.4
    assert len(subscription.take(0.5, 10)) == 1


def test_heartbeat_after_fifteen_idle_seconds() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet)
    assert subscription.take(14.9, 10) == []
    assert summaries(subscription.take(15.0, 10)) == [("HEARTBEAT", None)]
    assert subscription.take(15.1, 10) == []
    assert 14.8 < subscription.seconds_until_due(15.1) < 15


def test_heartbeat_is_due_however_its_time_rounds() -> None:
    for number in range(200):
        world, outlet = World(), Recorder()
        world.now = number / 7
        subscription = live(world, outlet)
        assert subscription.take(world.now + 3.3, 10) == []
        quiet_since = subscription._quiet_since
        assert summaries(subscription.take(quiet_since + 15.0, 10)) == [("HEARTBEAT", None)]


def test_direct_message_postpones_the_heartbeat() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet)
    world.now = 10
    world.publish(update(minute(0)))
    assert subscription.take(15.0, 10) == []
    assert summaries(subscription.take(25.0, 10)) == [("HEARTBEAT", None)]


def test_snapshots_are_made_when_taken() -> None:
    """Of many forming bars only those that are about to be sent are asked for."""
    world, asked = World(), []
    subscription = world.hub.subscribe(MINUTE_0, Recorder(ready=False))

    def snapshot(symbol: str, _interval: str) -> Message:
        asked.append(symbol)
        return Message(MessageKind.SNAPSHOT, minute(0, symbol=symbol), START)

    subscription.go_live([("A", "1m"), ("B", "1m"), ("C", "1m")], snapshot)
    assert asked == []
    assert [message.bar and message.bar.symbol for message in subscription.take(0, 2)] == ["A", "B"]
    assert asked == ["A", "B"]
    assert [message.bar and message.bar.symbol for message in subscription.take(0, 2)] == ["C"]


def test_an_update_replaces_the_snapshot_that_is_due() -> None:
    """A trade that comes before its snapshot was sent is in the snapshot, and not an update before it."""
    world = World()
    world.publish(update(minute(0, trades=1)))
    subscription = world.hub.subscribe(MINUTE_0, Recorder(ready=False))
    world.hub.go_live(subscription)
    world.publish(update(minute(0, trades=2)))
    messages = subscription.take(0, 10)
    assert summaries(messages) == [("SNAPSHOT", 0)]
    assert [message.bar and message.bar.trade_count for message in messages] == [2]


def test_snapshots_skip_symbols_without_a_bar() -> None:
    """A stream that asks for many symbols of which few have a forming bar gets those at once."""
    world = World()
    subscription = world.hub.subscribe(MINUTE_0, Recorder(ready=False))

    def snapshot(symbol: str, _interval: str) -> Message | None:
        return Message(MessageKind.SNAPSHOT, minute(0), START) if symbol == "LAST" else None

    subscription.go_live([*((f"NONE{number}", "1m") for number in range(100)), ("LAST", "1m")], snapshot)
    assert summaries(subscription.take(0, 10)) == [("SNAPSHOT", 0)]
    assert subscription.take(0, 10) == []
