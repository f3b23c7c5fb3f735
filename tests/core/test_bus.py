from __future__ import annotations

import logging
import threading

from workbench.core.bus import Bus
from workbench.core.events import DriverChanged, Failed, RecorderChanged


def test_listeners_hear_their_kind_only():
    bus, heard = Bus(), []
    bus.subscribe(RecorderChanged, heard.append)
    bus.publish(RecorderChanged("armed"))
    bus.publish(DriverChanged("ready"))
    assert heard == [RecorderChanged("armed")]


def test_subscribing_to_object_hears_everything_in_order():
    bus, heard = Bus(), []
    bus.subscribe(object, heard.append)
    events = [RecorderChanged("armed"), Failed("here", "x"), DriverChanged("ready")]
    [bus.publish(event) for event in events]
    assert heard == events


def test_a_closed_subscription_is_silent():
    bus, heard = Bus(), []
    with bus.subscribe(Failed, heard.append):
        bus.publish(Failed("a", "b"))
    bus.publish(Failed("c", "d"))
    assert len(heard) == 1


def test_closing_twice_does_not_end_another_subscription_of_the_same_listener():
    bus, heard = Bus(), []
    first = bus.subscribe(Failed, heard.append)
    bus.subscribe(Failed, heard.append)
    first.close()
    first.close()
    bus.publish(Failed("a", "b"))
    assert len(heard) == 1


def test_a_listener_that_raises_is_logged_and_the_others_still_hear(caplog):
    bus, heard = Bus(), []
    bus.subscribe(Failed, lambda event: 1 / 0)
    bus.subscribe(Failed, heard.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(Failed("a", "b"))
    assert len(heard) == 1
    assert "a listener failed on Failed" in caplog.text


def test_a_listener_may_subscribe_publish_and_close_while_it_listens():
    bus, heard = Bus(), []

    def listen(event):
        subscription.close()
        bus.subscribe(DriverChanged, heard.append)
        bus.publish(DriverChanged("parked"))

    subscription = bus.subscribe(Failed, listen)
    bus.publish(Failed("a", "b"))
    bus.publish(Failed("a", "b"))
    assert heard == [DriverChanged("parked")]


def test_nothing_is_lost_between_threads():
    bus, heard, lock = Bus(), [], threading.Lock()

    def listen(event):
        with lock:
            heard.append(event)

    bus.subscribe(Failed, listen)

    def work(number):
        for i in range(200):
            with bus.subscribe(DriverChanged, listen):
                bus.publish(Failed(str(number), str(i)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(heard) == 800
