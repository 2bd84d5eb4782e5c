"""What one stream gets: conflation, order, bounds, rates. Time is a number that the test moves."""

from candled.stream.subscription import EndCause, Selection
from tests.stream.support import START, Recorder, World, close, minute, told, update

MINUTE_0 = Selection()


def live(world: World, outlet: Recorder, selection: Selection = MINUTE_0):  # type: ignore[no-untyped-def]
    subscription = world.hub.subscribe(selection, outlet)
    world.hub.go_live(subscription)
    while subscription.take(world.now, 100):
        pass
    subscription.seconds_until_due(world.now)
    return subscription


def test_a_stream_that_keeps_up_gets_each_message_at_once() -> None:
    world, outlet = World(), Recorder()
    live(world, outlet)
    world.publish(update(minute(0, trades=1)), update(minute(0, trades=2)), close(minute(0, trades=2), 1))
    assert told(outlet.sent) == [("UPDATE", 0), ("UPDATE", 0), ("CLOSE", 0)]


def test_a_slow_stream_gets_the_newest_forming_bar_only() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    for trades in (1, 2, 3):
        world.publish(update(minute(0, trades=trades)))
    (message,) = subscription.take(0, 10)
    assert message.bar is not None
    assert message.bar.trade_count == 3
    assert world.hub.statistics().conflated == 2


def test_a_slow_stream_gets_every_closed_bar_before_any_forming_one() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(update(minute(0)), close(minute(0), 1), update(minute(1)), close(minute(1), 2))
    world.publish(update(minute(2)))
    assert told(subscription.take(0, 10)) == [("CLOSE", 0), ("CLOSE", 1), ("UPDATE", 2)]


def test_an_update_that_its_close_overtakes_is_never_told() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(update(minute(0)), close(minute(0), 1))
    assert told(subscription.take(0, 10)) == [("CLOSE", 0)]


def test_while_something_waits_nothing_is_sent_past_it() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(close(minute(0), 1))
    outlet.ready = True
    world.publish(close(minute(1), 2))
    assert outlet.sent == []
    assert told(subscription.take(0, 10)) == [("CLOSE", 0), ("CLOSE", 1)]


def test_nothing_is_sent_directly_until_the_task_has_sent_what_it_took() -> None:
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
    assert told(outlet.sent) == [("CLOSE", 2)]


def test_a_stream_too_far_behind_ends_and_says_from_where_to_resume() -> None:
    world, outlet = World(backlog_max=3), Recorder(ready=False)
    subscription = live(world, outlet)
    for index in range(5):
        world.publish(close(minute(index), index + 1))
    assert subscription.ended is not None
    assert subscription.ended.cause is EndCause.FELL_BEHIND
    assert subscription.ended.resume_time == START
    assert subscription.take(0, 10) == []
    assert world.hub.statistics().fell_behind == 1


def test_a_stop_lets_waiting_closed_bars_out_and_then_ends() -> None:
    world, outlet = World(), Recorder(ready=False)
    subscription = live(world, outlet)
    world.publish(close(minute(0), 1), update(minute(1)))
    world.hub.close()
    assert told(subscription.take(0, 10)) == [("CLOSE", 0)]
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
    assert told(outlet.sent) == [("CLOSE", 0)]


def test_the_first_message_of_a_forming_bar_is_a_snapshot_even_if_a_trade_overtakes_it() -> None:
    world, outlet = World(), Recorder(ready=False)
    world.publish(update(minute(0, trades=1)))
    subscription = world.hub.subscribe(Selection(), outlet)
    world.hub.go_live(subscription)
    world.publish(update(minute(0, trades=2)))
    (message,) = subscription.take(0, 10)
    assert message.kind.name == "SNAPSHOT"
    assert message.bar is not None
    assert message.bar.trade_count == 2


def test_a_rate_limits_updates_per_symbol_and_interval_and_keeps_the_newest() -> None:
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


def test_a_rate_never_holds_a_closed_bar() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet, Selection(updates_per_second=0.001))
    world.publish(update(minute(0)))
    assert told(subscription.take(0, 10)) == [("UPDATE", 0)]
    world.publish(update(minute(0)), close(minute(0), 1))
    assert told(subscription.take(0, 10)) == [("CLOSE", 0)]


def test_the_task_of_a_rate_limited_stream_sleeps_until_the_next_update_is_due() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet, Selection(updates_per_second=2))
    world.publish(update(minute(0, trades=1)))
    subscription.take(0, 10)
    world.publish(update(minute(0, trades=2)))
    assert subscription.take(0.1, 10) == []
    assert subscription.seconds_until_due(0.1) == 0.4
    assert len(subscription.take(0.5, 10)) == 1


def test_fifteen_silent_seconds_bring_a_heartbeat() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet)
    assert subscription.take(14.9, 10) == []
    assert told(subscription.take(15.0, 10)) == [("HEARTBEAT", None)]
    assert subscription.take(15.1, 10) == []
    assert 14.8 < subscription.seconds_until_due(15.1) < 15


def test_a_heartbeat_is_due_when_the_wait_for_it_is_over_however_that_rounds() -> None:
    for number in range(200):
        world, outlet = World(), Recorder()
        world.now = number / 7
        subscription = live(world, outlet)
        assert subscription.take(world.now + 3.3, 10) == []
        quiet_since = subscription._quiet_since
        assert told(subscription.take(quiet_since + 15.0, 10)) == [("HEARTBEAT", None)]


def test_a_message_sent_directly_puts_the_heartbeat_off() -> None:
    world, outlet = World(), Recorder()
    subscription = live(world, outlet)
    world.now = 10
    world.publish(update(minute(0)))
    assert subscription.take(15.0, 10) == []
    assert told(subscription.take(25.0, 10)) == [("HEARTBEAT", None)]
