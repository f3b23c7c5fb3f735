"""The page for headsets and phones: who gets in, what is believed, and what every kind of loss leads to."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
import subprocess
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from hardware.headset.certificate import own_names, tls_context
from hardware.headset.messages import HandMessage, Lateness, parse
from hardware.headset.server import BURST, BUSY, MESSAGES_PER_S, NONSENSE, TOO_MANY
from hardware.teleop import TELEOPS, words_of
from tests.emulators.headset import HeadsetClient, trusting
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import DeviceError
from workbench.core.rate import RateLimit

STATE = state(START_RAD, 0, gripper=0.9)
PERIOD_S = 0.01


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificate")


@pytest.fixture
def device(folder):
    device = TELEOPS.build("webxr", port=0, certificate_folder=str(folder), speed_m_s=0.5)
    device.open()
    yield device
    device.close()


@pytest.fixture
def url(device):
    return words_of(device).split()[1]


@pytest.fixture
def client(url):
    client = HeadsetClient(url)
    yield client
    client.close()


def read(device):
    return device.read(STATE, time.monotonic_ns(), PERIOD_S)


def until(device, wanted, seconds=2.0, again=lambda: None):
    end = time.monotonic() + seconds
    while not wanted(action := read(device)):
        assert time.monotonic() < end, f"never came: {action}, {device.words}"
        again()
        time.sleep(0.005)
    return action


def engage(device, client, place=(0, 0, 0)):
    until(device, lambda _: device.words == "hold to move", again=lambda: client.place(False, place))
    return until(device, lambda action: action is not None, again=lambda: client.place(True, place))


# who gets in -------------------------------------------------------------------------------------------------------


def get(url, path, host=None):
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=trusting(), timeout=5)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_the_page_is_served_over_tls_only_and_nothing_else_is(url):
    answer, body = get(url, "/?anything")
    assert answer.status == 200 and "hand.js" in body and answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert len(answer.headers.get_all("Content-Type")) == 1
    script, body = get(url, "/hand.js")
    assert script.headers["Content-Type"].startswith("text/javascript") and "requestSession" in body
    assert get(url, "/hand.css")[0].status == 200
    for path in ("/server.py", "/../server.py", "/%2e%2e/messages.py", "/hand.js/", "/favicon.ico"):
        assert get(url, path)[0].status == 404, path
    assert get(url, "/", host="evil.example:8443")[0].status == 403
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"token" not in plain.recv(4096)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({}, 101),
        ({"Sec-WebSocket-Protocol": "clap-workbench-hand"}, 401),
        ({"Sec-WebSocket-Protocol": "clap-workbench-hand, token.0123456789abcdef"}, 401),
        ({"Sec-WebSocket-Protocol": "clap-workbench-hand, token.\xe4"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": ""}, 403),
        ({"Host": "evil.example", "Origin": "https://evil.example"}, 403),
    ],
)
def test_strangers_are_refused_before_they_can_say_anything(device, url, wrong, status):
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc,
        "Origin": f"https://{parts.netloc}",
        "Sec-WebSocket-Protocol": f"clap-workbench-hand, token.{parts.fragment}",
        **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **wrong,
    }
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=trusting(), timeout=5)
    connection.request("GET", "/hand", headers=headers)
    assert connection.getresponse().status == status
    connection.close()
    assert read(device) is None


def test_every_start_has_a_new_token_and_an_old_one_is_refused(device, url):
    device.open()
    new = words_of(device).split()[1]
    assert urlsplit(new).fragment != urlsplit(url).fragment and len(urlsplit(new).fragment) >= 16
    with pytest.raises(InvalidStatus):
        HeadsetClient(new, token=urlsplit(url).fragment)


def test_a_second_hand_is_refused_until_the_first_has_gone(device, url, client):
    engage(device, client)
    second = HeadsetClient(url)
    assert second.closed_with() == BUSY
    client.place(True, (0, 0, 0))
    until(device, lambda action: action is not None)
    client.close()
    until(device, lambda _: "open https" in device.words)
    third = HeadsetClient(url)
    engage(device, third)
    third.close()


def test_it_serves_this_machine_only_unless_asked(device):
    assert urlsplit(words_of(device).split()[1]).hostname == "127.0.0.1"
    port = urlsplit(words_of(device).split()[1]).port
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=1)


def test_a_taken_port_is_said(device, folder):
    port = urlsplit(words_of(device).split()[1]).port
    with pytest.raises(DeviceError, match="cannot be served"):
        TELEOPS.build("webxr", port=port, certificate_folder=str(folder)).open()


# what is believed --------------------------------------------------------------------------------------------------


def test_too_long_too_many_and_nonsense_end_the_connection(url):
    for talk, code in (
        (lambda socket: socket.send(json.dumps({"t": 0, "held": False, "mark": "x" * 2000})), 1009),
        (lambda socket: socket.send("[1, 2"), NONSENSE),
        (lambda socket: socket.send(b"\x00"), NONSENSE),
        (lambda socket: socket.send('{"t": 0, "held": true, "pose": [NaN, 0, 0, 1, 0, 0, 0]}'), NONSENSE),
        (lambda socket: [socket.send('{"t": 0, "held": false}') for _ in range(int(BURST) + 60)], TOO_MANY),
    ):
        client = HeadsetClient(url)
        try:
            talk(client.socket)
        except Exception as error:
            assert "sent" in str(error) or "closed" in str(error).lower() or "received" in str(error), error
        assert client.closed_with() == code
        client.close()


keys = st.sampled_from(["t", "held", "pose", "twist", "lever", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@given(st.one_of(st.text(max_size=60), json_values.map(json.dumps)))
def test_whatever_comes_is_a_message_or_a_value_error(text):
    try:
        message = parse(text)
    except ValueError:
        return
    numbers = [message.t_ms, *([] if message.position_m is None else [*message.position_m, *message.quaternion])]
    assert np.all(np.isfinite(numbers)) and isinstance(message.held, bool)


def test_a_message_carries_a_place_deflections_and_a_lever():
    message = parse('{"t": 5, "held": true, "pose": [1, 2, 3, 1, 0, 0, 0], "twist": [1, 0, 0, 0, 0, -1], "lever": 0.5}')
    assert isinstance(message, HandMessage) and message.held and message.lever == 0.5
    assert list(message.position_m) == [1, 2, 3] and list(message.twist) == [1, 0, 0, 0, 0, -1]
    for wrong in (
        '{"t": 5}',
        '{"t": true, "held": true}',
        '{"t": 0, "held": true, "lever": 2}',
        '{"held": true, "t": 1e400}',
    ):
        with pytest.raises(ValueError):
            parse(wrong)


@given(st.lists(st.floats(0, 3.0), min_size=2, max_size=50), st.floats(-1e6, 1e6))
def test_lateness_is_never_less_than_against_the_quickest_and_needs_no_common_clock(delays, offset_s):
    lateness, arrived = Lateness(), 100.0
    for i, delay in enumerate(delays):
        arrived = max(arrived, 100.0 + i * 0.02 + delay)
        said = lateness.of((100.0 + i * 0.02 + offset_s) * 1e3, arrived)
        real = arrived - (100.0 + i * 0.02)
        assert -1e-6 <= said <= real + 1e-6


def test_a_rate_limit_lets_a_headset_pass_and_a_flood_not():
    now = [0.0]
    limit = RateLimit(MESSAGES_PER_S, BURST, lambda: now[0])
    for _ in range(1200):
        now[0] += 1 / 120
        assert limit.allows()
    assert sum(limit.allows() for _ in range(1000)) <= BURST + 1


# what the hand does ------------------------------------------------------------------------------------------------


def test_the_arm_follows_the_hand_from_where_the_clutch_closed(device, client):
    """Room to base: to the right is -y, up is z, towards the viewer is -x."""
    engage(device, client, (5, 1, 2))
    for end, expected in (((5, 1, 1.9), [0.1, 0, 0]), ((4.9, 1, 1.9), [0, 0.1, 0]), ((4.9, 1.1, 1.9), [0, 0, 0.1])):
        moved = np.zeros(3)
        for _ in range(120):
            client.place(True, end)
            action = read(device)
            if action is not None:
                assert np.linalg.norm(action.linear_m) <= 0.5 * PERIOD_S + 1e-9
                moved += action.linear_m
            time.sleep(0.002 if np.linalg.norm(moved) < 0.0999 else 0)
            if np.linalg.norm(moved) > 0.0999:
                break
        assert np.allclose(moved, expected, atol=1e-3)
    client.place(False, (4.9, 1.1, 1.9))
    until(device, lambda action: action is None)
    client.place(True, (4.7, 1.1, 1.9))
    action = until(device, lambda action: action is not None)
    assert np.allclose(action.linear_m, 0), "what the hand did while open is not caught up"


def test_a_clutch_held_on_arrival_does_not_count(device, client):
    for _ in range(20):
        client.place(True, (0, 0, 0))
        assert read(device) is None
        time.sleep(0.01)
    assert "let go once" in device.words
    engage(device, client)


def test_touch_pads_are_a_speed_and_levers_and_marks_arrive(device, client):
    engage(device, client)
    client.say(True, twist=[1, 0, 0, 0, 0, 0], lever=0.2)
    action = until(device, lambda action: action is not None and bool(np.any(action.linear_m)))
    assert np.allclose(action.linear_m, [0.5 * PERIOD_S, 0, 0]) and action.gripper == pytest.approx(0.9)
    client.say(True, twist=[0, 0, 0, 0, 0, 0], lever=0.4, mark="success")
    assert until(device, lambda action: action is not None and action.gripper < 0.8).gripper == pytest.approx(0.4)
    assert device.take_marks() == ("success",)


def test_a_hand_that_jumps_was_lost_and_must_let_go(device, client):
    engage(device, client)
    until(device, lambda action: action is None, again=lambda: client.place(True, (1.0, 0, 0)))
    client.place(True, (1.0, 0, 0))
    time.sleep(0.02)
    assert read(device) is None
    engage(device, client, (1.0, 0, 0))


@pytest.mark.parametrize("loss", ["silence", "goodbye", "cut"])
def test_every_loss_in_mid_motion_is_no_input_within_150_ms(device, client, loss):
    engage(device, client)
    client.place(True, (0, 0, -0.2))
    until(device, lambda action: action is not None and bool(np.any(action.linear_m)))
    {"silence": lambda: None, "goodbye": client.close, "cut": client.drop}[loss]()
    lost_s = time.monotonic()
    until(device, lambda action: action is None, 0.3)
    assert time.monotonic() - lost_s < 0.17
    for _ in range(5):
        assert read(device) is None


def test_old_motion_delivered_at_once_after_a_stall_is_not_played(device, client):
    engage(device, client)
    client.delay_s = 0.5  # these words were said half a second ago
    time.sleep(0.2)
    for i in range(20):
        client.place(True, (0, 0, -0.01 * i))
    time.sleep(0.05)
    assert read(device) is None
    client.place(False, (0, 0, 0))  # letting go counts, however late
    until(device, lambda _: device.words == "hold to move")


def test_closing_in_mid_motion_leaves_nothing_behind(device, client):
    engage(device, client)
    device.close()
    assert read(device) is None and client.closed_with() in (1001, 1012, None)
    assert not [thread for thread in threading.enumerate() if thread.name == "headset"]


# the certificate ---------------------------------------------------------------------------------------------------


def test_a_certificate_is_kept_private_and_made_anew_only_when_it_must(tmp_path):
    folder = tmp_path / "new"
    names = own_names("192.168.7.7")
    assert isinstance(tls_context(folder, names), ssl.SSLContext)
    first = (folder / "certificate.pem").read_bytes()
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", folder / "certificate.pem"], capture_output=True, text=True
    ).stdout
    assert "IP Address:192.168.7.7" in text and "DNS:localhost" in text
    tls_context(folder, names)
    assert (folder / "certificate.pem").read_bytes() == first
    tls_context(folder, (*names, "10.0.0.9"))
    assert (folder / "certificate.pem").read_bytes() != first


def test_a_machine_without_openssl_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt install openssl"):
        TELEOPS.build("webxr", port=0, certificate_folder=str(tmp_path / "x")).open()
