"""A real model behind the policy server: the same chunks as in its own process, told in the layout that was chosen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.exchange.codec import pack, unpack
from models.exchange.presets import LAYOUTS, seeing
from models.policy import Policy
from models.policy_server import ServedPolicy
from storage.episode import Episode
from storage.layout import Home
from tests.models.conftest import Set
from tests.services.serving_kit import TOKEN
from tests.services.test_serving_client import Rig
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import POSE_AXES
from workbench.services.serving import Serving, door_of
from workbench.services.settings import PolicySettings

ROOT = Path(__file__).parents[2]
INSTRUCTION = "put the red cube on the white plate"
Seen = tuple[dict[str, np.ndarray], np.ndarray, tuple[str, ...]]


@pytest.fixture(scope="module")
def policy(small_policy: Path) -> Policy:
    return Policy.load(small_policy)


@pytest.fixture(scope="module")
def seen(small_set: Set) -> Seen:
    with Episode.open(small_set.home, small_set.robot[0]) as take:
        pictures = {name: take.read(f"observation.images.{name}", 3) for name in ("front", "wrist")}
        return pictures, take.read("observation.state", 3), take.manifest.streams["observation.state"].axes


@pytest.mark.parametrize("head", ["rf", "ntp"])
def test_the_answer_is_the_policys_own_chunk(policy: Policy, seen: Seen, head: str) -> None:
    pictures, state, axes = seen
    served = ServedPolicy(policy, head, None)
    told = served.metadata()
    layout = seeing(LAYOUTS["workbench"], told["cameras"])
    client: dict[str, object] = {}
    answer = served.answer(unpack(pack(layout.request(pictures, state, axes, INSTRUCTION))), client)
    targets = layout.chunk(unpack(pack(answer)), state, axes)
    expected = policy.act(pictures, state, axes, INSTRUCTION, 0, head=head).targets
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    assert (told["action_horizon"], told["step_s"], told["head"]) == (len(expected), policy.step_s, head)
    assert unpack(pack(told))["model"] == policy.policy_id


def test_chunks_are_counted_per_client_and_instruction(policy: Policy, seen: Seen) -> None:
    served, (pictures, state, axes) = ServedPolicy(policy, "rf", None), seen
    layout = seeing(LAYOUTS["workbench"], policy.cameras)
    one: dict[str, object] = {}
    two: dict[str, object] = {}

    def number(client: dict[str, object], words: str) -> int:
        return int(served.answer(layout.request(pictures, state, axes, words), client)["chunk"])

    assert [number(one, "a"), number(one, "a"), number(two, "a"), number(one, "b"), number(one, "b")] == [0, 1, 0, 0, 1]


def test_a_client_of_another_make_is_understood(policy: Policy, seen: Seen) -> None:
    """Moves from the pose where it was seen, as CLAP's official server sends them."""
    pictures, state, axes = seen
    layout = LAYOUTS["openclap"]
    served = ServedPolicy(policy, "rf", layout)
    request = layout.request(pictures, state, axes, INSTRUCTION)
    answer = unpack(pack(served.answer(unpack(pack(request)), {})))
    rows = np.array(answer["data"]["actions"][0])
    assert rows.shape[1] == 7
    seen_small, pose, _ = layout.understand(request)
    expected = policy.act(seen_small, pose, (*POSE_AXES, "gripper"), INSTRUCTION, 0).targets
    np.testing.assert_allclose(rows[:, :3], expected[:, :3] - pose[:3], atol=1e-5)


def test_what_cannot_be_served_is_said_before_anybody_connects(policy: Policy) -> None:
    with pytest.raises(WorkbenchError, match="does not say where the tool is"):
        ServedPolicy(policy, "rf", LAYOUTS["openpi-droid"])
    with pytest.raises(WorkbenchError, match="no picture of the camera 'wrist'"):
        ServedPolicy(policy, "rf", seeing(LAYOUTS["workbench"], ["front"]))
    with pytest.raises(NotFoundError):
        ServedPolicy(policy, "rff", None)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_a_served_model_drives_a_policy_process(small_policy: Path, rig: Rig) -> None:
    home = Home.open(small_policy.parents[1])
    serving = Serving(home, small_policy.name, door_of("127.0.0.1", 0, TOKEN), threads=True)
    serving.start(PolicySettings())
    try:
        assert serving.metadata["model"] == small_policy.name and serving.url.startswith("ws://127.0.0.1:")
        policy = rig.policy(serving.url, token=TOKEN, answer_s=5.0, warm_up_s=20.0)
        policy.set_task(INSTRUCTION)
        chunk = policy.act()
        assert chunk.targets.shape == (serving.metadata["action_horizon"], 8)
        assert chunk.policy_id.startswith(small_policy.name)
        assert serving.stats()["answered"] == 2, "one to warm up, one that was asked for"
    finally:
        serving.close()
    with pytest.raises(WorkbenchError, match="Start serving first"):
        serving.stats()


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    serving = Serving(Home.open(tmp_path), "nothing", door_of("127.0.0.1", 0), threads=True)
    with pytest.raises(WorkbenchError, match="nothing"):
        serving.start()


@pytest.mark.slow
def test_serve_and_rollout_as_on_the_page(small_policy: Path, tmp_path: Path) -> None:
    """Of docs/remote.md: a served model is asked by a rollout in lockstep; Ctrl-C ends the server cleanly."""
    home = Home.open(small_policy.parents[1]).path
    environment = {
        **os.environ,
        "WORKBENCH_HOME": str(home),
        "MUJOCO_GL": "egl",
        "WORKBENCH_POLICY_TOKEN": "of-this-test",
    }
    main = [sys.executable, str(ROOT / "main.py")]
    words = [*main, "serve", "--model", small_policy.name, "--port", "0", "--json"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["listening"]
        with urllib.request.urlopen(url.replace("ws://", "http://") + "/healthz", timeout=10) as answer:
            assert answer.read() == b"OK\n"
        rollout = [*main, "rollout", "--policy", url, "--task", "red_cube_to_white_plate", "--json"]
        done = subprocess.run(rollout, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["n"] == 1 and told["model"] == url and told["trials"][0]["episode"]
        wrong = {**environment, "WORKBENCH_POLICY_TOKEN": "of-another-test"}
        refused = subprocess.run(rollout, capture_output=True, text=True, env=wrong, cwd=tmp_path, timeout=300)
        assert refused.returncode == 1 and "Give its token" in refused.stderr
        server.send_signal(signal.SIGINT)
        last = server.stdout.read().splitlines()[-1]
        assert server.wait(30) == 0
        assert json.loads(last)["answered"] >= 2 and json.loads(last)["url"] == url
        time.sleep(0.2)
        with pytest.raises(OSError):
            urllib.request.urlopen(url.replace("ws://", "http://") + "/healthz", timeout=2)
    finally:
        server.kill()
        server.wait(10)
