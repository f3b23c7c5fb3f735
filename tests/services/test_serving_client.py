"""The policy process whose policy is a server: chunks like any other's, and what it does when the server fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from models.exchange.codec import pack, unpack
from models.exchange.presets import LAYOUTS
from tests.services.serving_kit import SPEED_M_S, STEP_S, STEPS, TOKEN, metadata, mover, serving
from workbench.core.chunks import Withdrawal, chunk_spec, unpack_chunk
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, StreamSpec, arm_axes
from workbench.services.inference import Answer, ChunkPlayer
from workbench.services.remote_policy import RemotePolicy, child_values, is_remote
from workbench.services.settings import PolicySettings, Settings

AXES = arm_axes(6)
STATE = np.array([0.1] * 6 + [1.0, 0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0], np.float32)


class Rig:
    """Rings of a little station, and what the policy process says."""

    def __init__(self, folder: Path) -> None:
        specs = [StreamSpec(f"observation.images.{name}", (24, 32, 3), "uint8") for name in ("front", "wrist")]
        specs.append(StreamSpec("observation.state", (14,), "float32", "SI", 100.0, AXES))
        self.rings = {spec.name: Ring.create(folder / f"{spec.name}.ring", spec, 32) for spec in specs}
        self.out = Ring.create(folder / "chunks.ring", chunk_spec(STEPS), 32)
        self.said: list[str] = []
        self.policies: list[RemotePolicy] = []
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self.show()

    def show(self) -> int:
        now = time.monotonic_ns()
        for ring in self.rings.values():
            item = STATE if ring.spec.axes else np.zeros(ring.spec.shape, np.uint8)
            ring.write(item, sequence=ring.written, t_device_ns=now, t_host_ns=now)
        return now

    def run(self) -> None:
        self._writer.start()

    def _write(self) -> None:
        while not self._ended.wait(0.02):
            self.show()

    def policy(self, url: str, **settings: Any) -> RemotePolicy:
        paths = {name: str(ring.path) for name, ring in self.rings.items()}
        values = {"connect_s": 3.0, "warm_up_s": 3.0, "answer_s": 0.5, **settings}
        made = RemotePolicy(PolicySettings(url=url, **values), paths, None, self.said.append)
        self.policies.append(made)
        return made

    def newest(self) -> ActionChunk:
        frame = self.out.latest()
        assert frame is not None
        return unpack_chunk(frame, "x")

    def close(self) -> None:
        self._ended.set()
        for policy in self.policies:
            policy.close()
        if self._writer.is_alive():
            self._writer.join(2)
        for ring in (*self.rings.values(), self.out):
            ring.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def think_until(policy: RemotePolicy, done: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        policy.think()
        time.sleep(policy.wait_s() if policy.stats()["running"] else 0.005)


def driving(rig: Rig, policy: RemotePolicy) -> None:
    policy.give_ring(str(rig.out.path))
    policy.set_task("move")
    policy.start()
    rig.run()
    think_until(policy, lambda: rig.out.written >= 2)


def test_a_single_chunk_is_what_the_server_answered(rig: Rig) -> None:
    with serving() as server:
        policy = rig.policy(server.url)
        with pytest.raises(StateError, match="no task"):
            policy.act()
        described = policy.describe()
        assert described["steps"] == STEPS and described["step_s"] == STEP_S
        assert described["policy_id"] == f"mover@127.0.0.1:{server.port}"
        policy.set_task("move")
        now = rig.show()
        chunk = policy.act()
        assert chunk.t_observed_ns == now and chunk.policy_id == described["policy_id"]
        wanted = 0.4 + SPEED_M_S * STEP_S * np.arange(1, STEPS + 1)
        np.testing.assert_allclose(chunk.targets[:, 0], wanted, atol=1e-6)
        np.testing.assert_allclose(chunk.targets[:, 3:], np.tile([1, 0, 0, 0, 1], (STEPS, 1)), atol=1e-6)
        assert policy.act(t_observed_ns=77).t_observed_ns == 77


def test_it_thinks_on_at_the_servers_pace_until_told_to_pause(rig: Rig) -> None:
    with serving() as server:
        policy = rig.policy(server.url)
        driving(rig, policy)
        begun, before = time.monotonic(), rig.out.written
        think_until(policy, lambda: rig.out.written >= before + 4)
        assert time.monotonic() - begun > 3 * STEP_S * 0.9, "one chunk per step, not one per picture"
        assert [rig.newest().number > 0, rig.newest().step_s] == [True, STEP_S]
        policy.pause()
        settled = rig.out.written
        time.sleep(0.25)
        policy.think()
        assert rig.out.written == settled
        assert policy.stats()["latency_ms_p50"] > 0


def withdrawn(rig: Rig, why: Withdrawal) -> bool:
    frame = rig.out.latest()
    return frame is not None and unpack_chunk(frame, "x").step_s == -float(why)


def test_a_lost_server_takes_the_chunks_back_and_waits_for_a_person(rig: Rig) -> None:
    with serving() as server:
        policy, port = rig.policy(server.url), server.port
        driving(rig, policy)
    think_until(policy, lambda: withdrawn(rig, Withdrawal.LOST), 1.0)
    player, now = ChunkPlayer(), time.monotonic_ns()
    assert player.accept(rig.newest(), np.zeros(8), now) is Answer.LOST and Answer.LOST.holds
    player.reset(now + 1)
    assert player.accept(rig.newest(), np.zeros(8), now + 2) is Answer.OLD, "what a person has answered counts no more"
    settled = rig.out.written
    with pytest.raises(WorkbenchError, match="cannot be reached"):
        rig.policy(f"ws://127.0.0.1:{port}", connect_s=0.3).describe()
    with serving(port=port):
        think_until(policy, lambda: policy.stats()["connected"])
        time.sleep(0.3)
        policy.think()
        assert rig.out.written == settled and not policy.stats()["running"], "it must not go on by itself"
        policy.start()
        think_until(policy, lambda: rig.out.written > settled)
        assert rig.newest().step_s == STEP_S
    assert any("is lost" in words and "until a person" in words for words in rig.said)


def test_a_server_that_comes_back_as_another_is_not_followed(rig: Rig) -> None:
    with serving() as server:
        policy, port = rig.policy(server.url), server.port
        driving(rig, policy)
    with serving(port=port, hello={**metadata(), "model": "other"}):
        think_until(policy, lambda: policy.stats()["connected"])
        with pytest.raises(WorkbenchError, match="something else than before"):
            policy.start()
        assert not policy.stats()["running"]


Wrong = dict[str, Any] | bytes | str | None
GOOD = np.tile([0.4, 0, 0.2, 1, 0, 0, 0, 1.0], (STEPS, 1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"actions": np.full((STEPS, 8), np.nan)}, "not finite"),
        ({"actions": GOOD[:5]}, "5 actions instead of 16"),
        ({"actions": GOOD[:, :7]}, "actions of 7 numbers"),
        ({"actions": GOOD * 1e6}, "no arm reaches|no direction"),
        ({}, "no 'actions'"),
        (b"\xc1\xc1", "format"),
        (b"", "format"),
        ("Traceback (most recent call last):\n  File x\nRuntimeError: CUDA out of memory", "CUDA out of memory"),
    ],
)
def test_senseless_answers_take_the_chunks_back(rig: Rig, wrong: Wrong, words: str) -> None:
    wanted: list[Wrong] = []
    with raw_server(lambda: wanted[0] if wanted else {"actions": GOOD}) as url:
        policy = rig.policy(url)
        driving(rig, policy)
        wanted.append(wrong)
        think_until(policy, lambda: withdrawn(rig, Withdrawal.NONSENSE), 2.0)
        assert not policy.stats()["running"]
        assert len(rig.said) == 1
    assert re.search(words, rig.said[0]), rig.said


def test_a_silent_server_counts_as_lost(rig: Rig) -> None:
    wanted: list[Wrong] = []
    with raw_server(lambda: wanted[0] if wanted else {"actions": GOOD}) as url:
        policy = rig.policy(url, answer_s=0.3)
        driving(rig, policy)
        wanted.append(None)
        think_until(policy, lambda: withdrawn(rig, Withdrawal.LOST), 2.0)
    assert "no answer in 0.3 s" in rig.said[0]


class raw_server:  # noqa: N801  (used like a function)
    """A server of another make: says little about itself and answers what the test wants; None = nothing."""

    def __init__(self, answer: Callable[[], Wrong]) -> None:
        self._answer = answer

    def __enter__(self) -> str:
        self._server = serve(self._handle, "127.0.0.1", 0, compression=None, max_size=None)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _handle(self, connection: ServerConnection) -> None:
        connection.send(pack({"step_s": STEP_S}))
        for data in connection:
            assert unpack(data)["prompt"]
            reply = self._answer()
            if reply is not None:
                connection.send(pack(reply) if isinstance(reply, dict) else reply)

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)


def test_a_token_is_shown_and_a_wrong_one_explained(rig: Rig) -> None:
    with serving(token=TOKEN) as server:
        assert rig.policy(server.url, token=TOKEN).describe()["steps"] == STEPS
        with pytest.raises(WorkbenchError, match="Give its token"):
            rig.policy(server.url, token="a-wrong-token-x", connect_s=0.5).describe()


def test_another_layout_is_spoken_by_both_sides(rig: Rig) -> None:
    layout = LAYOUTS["openclap"]
    with serving(mover(layout), {"action_chunk_size": STEPS}) as server:
        policy = rig.policy(server.url, layout="openclap")
        policy.set_task("move")
        chunk = policy.act()
        assert chunk.step_s == pytest.approx(1 / 30)
        wanted = 0.4 + SPEED_M_S * STEP_S * np.arange(1, STEPS + 1)
        np.testing.assert_allclose(chunk.targets[:, 0], wanted, atol=1e-5)


def test_a_server_that_wants_what_the_station_lacks_is_refused(rig: Rig) -> None:
    hello = {**metadata(), "cameras": ["side"]}
    with serving(hello=hello) as server, pytest.raises(WorkbenchError, match=r"observation\.images\.side"):
        rig.policy(server.url).describe()
    with serving(hello={}) as server, pytest.raises(WorkbenchError, match="step_s"):
        rig.policy(server.url).describe()
    for hello in ({"cameras": "front"}, {"cameras": [1, {}]}, {"model": ["x"]}):
        with serving(hello={**metadata(), **hello}) as server:
            assert rig.policy(server.url).describe()["steps"] == STEPS


@pytest.mark.parametrize("url", ["ws://", "http://here:8000", "ws://user:word@here", "ws://here:0", "ws://here:99999"])
def test_wrong_addresses_are_said(rig: Rig, url: str) -> None:
    with pytest.raises(WorkbenchError, match="no address of a policy server"):
        rig.policy(url)


def test_the_token_comes_from_the_call_the_environment_or_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(policy={"token": "from-the-settings"})
    monkeypatch.delenv("WORKBENCH_POLICY_TOKEN", raising=False)
    assert child_values(settings, "ws://here")["policy"]["token"] == "from-the-settings"
    monkeypatch.setenv("WORKBENCH_POLICY_TOKEN", "from-the-environment")
    assert child_values(settings, "ws://here")["policy"]["token"] == "from-the-environment"
    assert child_values(settings, "ws://here", "given")["policy"]["token"] == "given"
    assert "from-the-settings" not in str(settings.plain()) + repr(settings), "manifests must not hold it"
    assert is_remote("wss://here") and not is_remote("01a2")
