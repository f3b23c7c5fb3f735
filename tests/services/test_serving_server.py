"""The policy server's door and manners: who gets in, what is cut off, and that nobody waits for anybody else."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from models.exchange.codec import pack, unpack
from models.exchange.door import Door
from models.exchange.presets import LAYOUTS
from models.exchange.server import PolicyServer
from tests.services.serving_kit import STEPS, TOKEN, metadata, serving
from workbench.core.errors import WorkbenchError

POSE = np.array([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0])


def request(**changes: Any) -> bytes:
    pictures = {f"observation.images.{name}": np.zeros((24, 32, 3), np.uint8) for name in ("front", "wrist")}
    return pack({**pictures, "observation.state": POSE, "prompt": "move", **changes})


def call(server: PolicyServer, **options: Any) -> AbstractContextManager[ClientConnection]:
    return connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None, proxy=None, **options)


def asked(client: ClientConnection, data: bytes | None = None) -> Any:
    client.send(request() if data is None else data)
    answer = client.recv(timeout=5)
    return answer if isinstance(answer, str) else unpack(answer)


def test_it_introduces_itself_answers_and_tells_the_time_it_took() -> None:
    with serving() as server, call(server) as client:
        hello = unpack(client.recv(timeout=5))
        assert (hello["model"], hello["action_horizon"], hello["step_s"]) == ("mover", STEPS, 0.1)
        first, second = asked(client), asked(client, request(request_id="second"))
        assert first["actions"].shape == (STEPS, 8) and first["actions"].dtype == np.float32
        np.testing.assert_allclose(first["actions"][-1, 0], 0.4 + 0.03 * 0.1 * STEPS, atol=1e-6)
        assert first["server_timing"]["infer_ms"] >= 0 and "prev_total_ms" not in first["server_timing"]
        assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"]
        assert second["policy_timing"]["infer_ms"] >= 0
        assert second["request_id"] == "second" and "request_id" not in first
    assert server.counts["answered"] == 2


def test_health_is_told_without_a_token() -> None:
    with serving(token=TOKEN) as server:
        page = f"http://127.0.0.1:{server.port}/healthz"
        with urllib.request.urlopen(page, timeout=5) as answer:
            assert answer.read() == b"OK\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Api-Key wrong-wrong-wrong"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Api-Key {TOKEN}x"}, 401),
        ({"Authorization": f"Api-Key {TOKEN}", "Origin": "http://evil.example"}, 403),
        ({"Authorization": f"Api-Key {TOKEN}"}, 101),
        ({"Authorization": f"bearer {TOKEN}"}, 101),
    ],
)
def test_only_who_shows_the_token_gets_in(headers: dict[str, str], status: int) -> None:
    with serving(token=TOKEN) as server:
        if status == 101:
            with call(server, additional_headers=headers) as client:
                assert unpack(client.recv(timeout=5))["model"] == "mover"
            return
        with pytest.raises(InvalidStatus) as refused, call(server, additional_headers=headers):
            pass
        assert refused.value.response.status_code == status


def test_a_page_in_a_browser_may_not_speak_even_without_a_token() -> None:
    with (
        serving() as server,
        pytest.raises(InvalidStatus) as refused,
        call(server, additional_headers={"Origin": "null"}),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "robot.local", ""])
def test_other_computers_are_not_served_without_a_token(host: str) -> None:
    with pytest.raises(WorkbenchError, match="this computer only"):
        PolicyServer(Door(host=host), {})
    Door(host=host, token=TOKEN).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8"])
def test_this_computer_is_served_without_a_token(host: str) -> None:
    Door(host=host).check()


@pytest.mark.parametrize("token", ["short", "a-token-with-a\nnew-line", "ein-schlüssel-wort"])
def test_a_weak_or_odd_token_is_refused(token: str) -> None:
    with pytest.raises(WorkbenchError, match="token must be"):
        Door(token=token).check()


def test_a_taken_port_is_said_in_words() -> None:
    with serving() as server, pytest.raises(WorkbenchError, match="Choose another --port"):
        PolicyServer(Door(port=server.port), {}).start()


@pytest.mark.parametrize(
    ("message", "code"), [(b"\xc1", 1007), ("hello", 1007), (b"\x91" * 50 + b"\xc0", 1007), (bytes(70_000), 1009)]
)
def test_nonsense_and_too_much_end_the_connection(message: bytes | str, code: int) -> None:
    with serving(most_bytes=65_536) as server, call(server) as bad, call(server) as good:
        bad.recv(timeout=5)
        good.recv(timeout=5)
        bad.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                bad.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code
        assert asked(good)["actions"].shape == (STEPS, 8), "others are served on"


def test_a_wrong_request_is_answered_in_words_and_the_connection_stays() -> None:
    with serving() as server, call(server) as client:
        client.recv(timeout=5)
        assert "must be the instruction" in asked(client, request(prompt=""))
        assert "8 finite numbers" in asked(client, request(**{"observation.state": np.full(8, np.nan)}))
        assert asked(client)["actions"].shape == (STEPS, 8)
    assert server.counts["refused"] == 2


def test_a_failing_policy_ends_that_connection_without_a_traceback() -> None:
    def broken(_message: Any, _state: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("/home/somebody/secret.py")

    with serving(broken) as server, call(server) as client:
        client.recv(timeout=5)
        words = asked(client)
        assert words == "the policy failed: ZeroDivisionError"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011


def test_who_asks_too_often_is_sent_away() -> None:
    with serving(requests_per_s=5.0, burst=3.0) as server, call(server) as client:
        client.recv(timeout=5)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(8):  # the server may be quicker than who sends
                client.send(request())
            while True:
                client.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_there_is_a_most_of_clients_and_places_become_free() -> None:
    with serving(clients=1) as server:
        with call(server) as client:
            client.recv(timeout=5)
            with pytest.raises(InvalidStatus) as refused, call(server):
                pass
            assert refused.value.response.status_code == 503
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                with call(server) as client:
                    assert unpack(client.recv(timeout=5))
                return
            except InvalidStatus:
                time.sleep(0.02)
        pytest.fail("the place did not become free")


def test_a_silent_client_is_sent_away() -> None:
    with serving(idle_s=0.2) as server, call(server) as client:
        client.recv(timeout=5)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4408


def test_two_clients_have_states_of_their_own() -> None:
    with serving() as server, call(server) as first, call(server) as second:
        first.recv(timeout=5), second.recv(timeout=5)
        assert [asked(first)["asked"] for _ in range(3)] == [1, 2, 3]
        assert asked(second, request(prompt="something else"))["heard"] == "something else"
        assert asked(second)["asked"] == 2
        assert asked(first)["asked"] == 4


def test_an_older_request_gives_way_to_a_newer_one_of_the_same_client() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(message: Any, _state: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        go_on.wait(5)
        return {"heard": message["prompt"]}

    with serving(slow) as server, call(server) as client:
        client.recv(timeout=5)
        client.send(request(prompt="first"))
        assert begun.wait(5)
        for words in ("second", "third"):
            client.send(request(prompt=words))
        assert "superseded" in str(client.recv(timeout=5))
        go_on.set()
        assert [unpack(client.recv(timeout=5))["heard"] for _ in range(2)] == ["first", "third"]


def lazy_client(server: PolicyServer, data: bytes) -> socket.socket:
    """Sends one request and never reads: a plain socket, because the library would read ahead."""
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", server.port))
    protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}"))
    protocol.send_request(protocol.connect())
    lazy.sendall(b"".join(protocol.data_to_send()))
    while protocol.state is not State.OPEN:
        protocol.receive_data(lazy.recv(4096))
    protocol.send_binary(data)
    lazy.sendall(b"".join(protocol.data_to_send()))
    return lazy


def test_a_client_that_does_not_read_delays_nobody_and_is_cut_off() -> None:
    def answer(message: Any, _state: dict[str, Any]) -> dict[str, Any]:
        return {"much": np.zeros(8_000_000 if message["prompt"] == "much" else 1, np.uint8)}

    with serving(answer, send_s=1.5, clients=2) as server, call(server) as good:
        good.recv(timeout=5)
        lazy = lazy_client(server, request(prompt="much"))
        slowest, end = 0.0, time.monotonic() + 5
        with pytest.raises(InvalidStatus), call(server):
            pass
        while True:
            begun = time.monotonic()
            assert asked(good)["much"].shape == (1,)
            slowest = max(slowest, time.monotonic() - begun)
            try:
                with call(server):
                    break
            except InvalidStatus:
                assert time.monotonic() < end, "the client that does not read was kept"
                time.sleep(0.02)
        assert slowest < 1.0, "a wait for the other would have lasted 1.5 s"
        lazy.close()


def test_encrypted_with_a_certificate_made_on_first_use(tmp_path: Any) -> None:
    with serving(tls_folder=str(tmp_path / "tls"), token=TOKEN) as server:
        assert server.url.startswith("wss://")
        context = ssl.create_default_context(cafile=tmp_path / "tls" / "certificate.pem")
        headers = {"Authorization": f"Api-Key {TOKEN}"}
        with connect(server.url, ssl=context, additional_headers=headers, proxy=None) as client:
            assert unpack(client.recv(timeout=5)) == unpack(pack(metadata(LAYOUTS["workbench"])))
        with pytest.raises(ssl.SSLError), connect(server.url, additional_headers=headers, proxy=None):
            pass
