"""What the control loop relies on, for every registered kind of teleoperation device."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from hardware.sim.station import find
from hardware.teleop import TELEOPS, marks_of, words_of
from tests.conformance.benches import TASK, Bench, check_config, simulated
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import WorkbenchError

PERIOD_S = 0.01


@dataclasses.dataclass
class Hand(Bench):
    """A bench with an operator's hand on the device.

    Attributes:
        release, hold: the dead-man's switch, held with some motion wanted. None: the kind has no dead-man.
        within_s: how soon ``unplug`` must be noticed.
    """

    release: Callable[[], None] | None = None
    hold: Callable[[], None] = lambda: None
    within_s: float = 0.15


@contextmanager
def keyboard():
    """Keys come from the window, so the bench presses them on the device itself."""
    yield Hand({}, lambda seconds: None, lambda: None, time.monotonic_ns)


@contextmanager
def gamepad():
    from tests.emulators.joystick import VirtualGamepad

    pad = VirtualGamepad()

    def hold():
        pad.axis("lefty", -1.0)
        pad.button("leftshoulder", True)

    try:
        release = lambda: pad.button("leftshoulder", False)  # noqa: E731
        yield Hand({}, time.sleep, pad.unplug, time.monotonic_ns, release, hold)
    finally:
        pad.close()


@contextmanager
def spacemouse():
    from tests.emulators.spacemouse import attach

    with pytest.MonkeyPatch.context() as patch:
        mouse = attach(patch)

        def hold():
            mouse.press(0)
            mouse.push(y=-350)

        def unplug():
            mouse.gone = True

        yield Hand({}, time.sleep, unplug, time.monotonic_ns, mouse.press, hold)


@contextmanager
def webxr(tmp_path):
    from tests.emulators.headset import HeadsetClient

    clients: list[HeadsetClient] = []

    def client():
        device = place.device
        if not clients:
            clients.append(HeadsetClient(words_of(device).split()[1]))
        return clients[-1]

    def unplug():
        clients[-1].drop()

    place = Hand(
        {"port": 0, "certificate_folder": str(tmp_path)},
        time.sleep,
        unplug,
        time.monotonic_ns,
        lambda: client().place(False, (0, 0, 0)),
        lambda: client().say(True, twist=[1, 0, 0, 0, 0, 0]),
    )
    try:
        yield place
    finally:
        for one in clients:
            one.close()


@contextmanager
def leader(family, tmp_path):
    from tests.hardware.test_teleop_leader import CALIBRATION, OPEN, SQUEEZED, Leader

    hand = Leader(family, START_RAD + 0.3)
    CALIBRATION.save(tmp_path / "leader.json")
    settings = {"port": hand.bus.port, "calibration": str(tmp_path / "leader.json")}
    steps = iter([SQUEEZED] * 8 + [OPEN] * 1000)

    def unplug():
        for servo in hand.bus.servos.values():
            servo.alive = False

    try:
        hold = lambda: hand.trigger(next(steps))  # noqa: E731
        yield Hand(settings, time.sleep, unplug, time.monotonic_ns, lambda: hand.trigger(OPEN), hold, 0.3)
    finally:
        hand.bus.close()


@contextmanager
def recorded(tmp_path):
    """A motion that begins half a radian away: the fifty ticks that are looked at belong to the way there."""
    from hardware.motion import Motion

    t_s = np.linspace(0.0, 2.0, 201)
    Motion(t_s, START_RAD + 0.5 + 0.1 * np.sin(t_s)[:, None], np.full(201, 0.5)).save(tmp_path / "motion.npz")
    yield Hand({"path": str(tmp_path / "motion.npz")}, lambda seconds: None, lambda: None, time.monotonic_ns)


BENCHES: dict[str, Callable[[Any], Any]] = {
    "scripted": lambda folder: simulated(task=TASK, seed=0),
    "keyboard": lambda folder: keyboard(),
    "recorded": recorded,
    "gamepad": lambda folder: gamepad(),
    "spacemouse": lambda folder: spacemouse(),
    "webxr": webxr,
    "so101_leader": lambda folder: leader("feetech", folder),
    "gello": lambda folder: leader("dynamixel", folder),
}
KINDS = sorted(TELEOPS.all())


def build(plugin, settings):
    """Without the registry's check of what is missing: a bench may stand in for a system library."""
    return plugin.build(plugin.config(**settings))


@pytest.fixture(params=KINDS)
def bench(request, tmp_path):
    kind = request.param
    plugin = TELEOPS.get(kind)
    if plugin.missing_reason() and kind != "spacemouse":
        pytest.skip(plugin.missing_reason())
    if kind not in BENCHES:
        pytest.skip(f"no stand-in for a '{kind}' device")
    with BENCHES[kind](tmp_path) as bench:
        yield plugin, bench


def measured(place):
    address = place.settings.get("address")
    return find(address).arm_state() if address else state(START_RAD, place.now_ns())


def hands_on(place, device):
    """The hand of this bench on this device: release and hold, or None where there is no dead-man."""
    place.device = device
    if hasattr(device, "set_keys"):
        return lambda: device.set_keys(frozenset()), lambda: device.set_keys(frozenset("w"))
    return (place.release, place.hold) if getattr(place, "release", None) else None


def read_for(device, place, seconds, again, wanted=lambda action: False):
    """Read at the tick's pace, doing ``again`` before each, until an action is as wanted; all actions."""
    actions, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        again()
        actions.append(device.read(measured(place), place.now_ns(), PERIOD_S))
        if wanted(actions[-1]):
            break
        time.sleep(PERIOD_S)
    return actions


def moves(action):
    return action is not None and (action.joints_rad is not None or bool(np.any(action.linear_m)))


def engage(device, place):
    hands = hands_on(place, device)
    if hands is not None:
        release, hold = hands
        read_for(device, place, 0.15, release)
        assert moves(read_for(device, place, 2.0, hold, moves)[-1]), words_of(device)
    return hands


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(TELEOPS.get(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_are_a_sentence(kind):
    if TELEOPS.get(kind).missing_reason():
        pytest.skip(TELEOPS.get(kind).missing_reason())
    with pytest.raises(WorkbenchError, match="wrong settings"):
        TELEOPS.build(kind, no_such_setting=1)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_for_devices_opens_none_and_ends_in_time(kind):
    started = time.monotonic()
    found = TELEOPS.get(kind).look()
    assert time.monotonic() - started < 3.0 and (found is None or all(one.id for one in found))


def test_moves_are_bounded_finite_and_never_block(bench):
    plugin, place = bench
    device = build(plugin, place.settings)
    config = plugin.config(**place.settings)
    most_m, most_rad = getattr(config, "speed_m_s", 1.0), getattr(config, "turn_rad_s", 3.0)
    device.open()
    try:
        hands = engage(device, place)
        moved, spent_s = 0, []
        for _ in range(50):
            if hands is not None:
                hands[1]()
            now = measured(place)
            started = time.perf_counter()
            action = device.read(now, place.now_ns(), PERIOD_S)
            spent_s.append(time.perf_counter() - started)
            place.advance(0.0)
            if action is None:
                continue
            assert action.linear_m.shape == action.angular_rad.shape == (3,)
            assert np.linalg.norm(action.linear_m) <= most_m * PERIOD_S * (1 + 1e-9), "also fails for what is no number"
            assert np.linalg.norm(action.angular_rad) <= most_rad * PERIOD_S * (1 + 1e-9)
            assert 0.0 <= action.gripper <= 1.0 and isinstance(action.engaged, bool)
            if action.joints_rad is not None:
                assert action.joints_rad.shape == now.joints_rad.shape
                assert np.max(np.abs(action.joints_rad - now.joints_rad)) <= 0.2 + 1e-9
            moved += moves(action)
        assert moved > 40 and np.median(spent_s) < 0.002
        assert isinstance(words_of(device), str) and set(marks_of(device)) <= {"success", "failure"}
    finally:
        device.close()


def test_nothing_moves_before_the_dead_man_was_seen_released(bench):
    plugin, place = bench
    device = build(plugin, place.settings)
    device.open()
    try:
        hands = hands_on(place, device)
        if hands is None or hasattr(device, "set_keys"):
            pytest.skip("keys are seen going down; a script has no hand")
        release, hold = hands
        assert not any(read_for(device, place, 0.3, hold)), "held from the start"
        if plugin.config is not TELEOPS.get("gello").config:  # its squeeze is used up; other tests make it again
            read_for(device, place, 0.15, release)
            assert moves(read_for(device, place, 2.0, hold, moves)[-1])
            assert read_for(device, place, 2.0, release, lambda action: action is None)[-1] is None
    finally:
        device.close()


def test_losing_the_device_is_no_input_soon_and_not_an_exception(bench):
    plugin, place = bench
    device = build(plugin, place.settings)
    device.open()
    try:
        hands = engage(device, place)
        if hands is None or hasattr(device, "set_keys"):
            pytest.skip("nothing to unplug")
        place.unplug()
        lost_s = time.monotonic()
        assert read_for(device, place, 1.0, lambda: None, lambda action: action is None)[-1] is None
        assert time.monotonic() - lost_s < place.within_s + 0.05
        assert not any(read_for(device, place, 0.1, lambda: None))
    finally:
        device.close()


def test_a_pause_in_listening_ends_the_hold(bench):
    """The driver stops reading while somebody else drives: a dead-man held all the while must not move the arm then."""
    plugin, place = bench
    device = build(plugin, place.settings)
    device.open()
    try:
        hands = engage(device, place)
        if not getattr(device, "stays_open", False):
            pytest.skip("it is opened anew for every take-over")
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            hands[1]()
            time.sleep(0.02)
        assert not any(read_for(device, place, 0.1, hands[1])), words_of(device)
    finally:
        device.close()


def test_a_closed_device_gives_no_input_and_opens_again(bench):
    plugin, place = bench
    device = build(plugin, place.settings)
    for _ in range(2):
        device.open()
        device.close()
        device.close()
        assert device.read(measured(place), place.now_ns(), PERIOD_S) is None


def test_every_file_of_devices_says_what_its_options_mean():
    for kind, plugin in TELEOPS.all().items():
        assert inspect.getdoc(plugin.config), kind


def test_the_benches_are_for_kinds_that_exist():
    assert BENCHES.keys() == TELEOPS.all().keys(), "a new kind needs a bench"
