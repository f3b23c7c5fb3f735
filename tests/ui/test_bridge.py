"""Events reach the window's thread, never a closed panel; slow work comes back with a result or a reason."""

from __future__ import annotations

import threading

from PyQt6.QtCore import QCoreApplication, QThread
from pytestqt.qtbot import QtBot

from ui.bridge import Bridge
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, TakeDiscarded


def test_events_from_any_thread_arrive_in_the_windows_thread(qtbot: QtBot, bridge: Bridge) -> None:
    heard: list[tuple[Failed, bool]] = []
    listeners = bridge.listeners()
    window_thread = QThread.currentThread()
    listeners.on(Failed, lambda event: heard.append((event, QThread.currentThread() is window_thread)))
    thread = threading.Thread(target=lambda: [bridge._bus.publish(Failed("arm", str(i))) for i in range(20)])
    thread.start()
    thread.join()
    assert heard == [], "handlers must not run in the publisher's thread"
    qtbot.waitUntil(lambda: len(heard) == 20)
    assert [event.message for event, _ in heard] == [str(i) for i in range(20)]
    assert all(right for _, right in heard)


def test_a_closed_panel_hears_nothing_even_of_what_was_on_its_way(qtbot: QtBot, bridge: Bridge) -> None:
    heard: list[object] = []
    listeners = bridge.listeners()
    listeners.on(TakeDiscarded, heard.append)
    bridge._bus.publish(TakeDiscarded("a"))
    listeners.close()
    bridge._bus.publish(TakeDiscarded("b"))
    QCoreApplication.processEvents()
    assert heard == []
    assert bridge._bus._listeners == []


def test_background_work_reports_result_and_reason(qtbot: QtBot, bridge: Bridge) -> None:
    results: list[int] = []
    errors: list[WorkbenchError] = []
    bridge.run_in_background(lambda: 6 * 7, results.append, errors.append)

    def refuse() -> int:
        raise WorkbenchError("the disk is full", "Free some space")

    def break_() -> int:
        raise ZeroDivisionError("by zero")

    bridge.run_in_background(refuse, results.append, errors.append)
    bridge.run_in_background(break_, results.append, errors.append)
    qtbot.waitUntil(lambda: len(results) == 1 and len(errors) == 2)
    assert results == [42]
    assert str(errors[0]) == "the disk is full. Free some space."
    assert "ZeroDivisionError" in errors[1].what and errors[1].next_step


def test_urgent_work_does_not_wait_for_orders(qtbot: QtBot, bridge: Bridge) -> None:
    gate = threading.Event()
    order: list[str] = []
    bridge.run_in_background(lambda: gate.wait(10), lambda _: order.append("slow order"), lane="orders")
    bridge.run_in_background(lambda: True, lambda _: order.append("stop"), lane="urgent")
    qtbot.waitUntil(lambda: order == ["stop"])
    gate.set()
    qtbot.waitUntil(lambda: order == ["stop", "slow order"])


def test_nothing_is_reported_after_closing(qtbot: QtBot) -> None:
    bridge = Bridge(Bus())
    reported: list[int] = []
    gate = threading.Event()
    bridge.run_in_background(lambda: gate.wait(10), lambda _: reported.append(1))
    gate.set()
    bridge.close()
    bridge.post(lambda: reported.append(2))
    bridge.run_in_background(lambda: 3, reported.append)
    QCoreApplication.processEvents()
    assert reported == []
    assert not [t for t in threading.enumerate() if t.name.startswith("ui-")]
