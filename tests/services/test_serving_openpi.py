"""The real openpi client asks our server, and our client asks openpi's server code, each in an environment of its own.

The client package pins an older NumPy, so it never shares ours. Where the packages cannot be had, this says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.exchange.presets import LAYOUTS
from tests.services.serving_kit import STEPS, TOKEN, mover, serving
from tests.services.test_serving_client import Rig, think_until

pytestmark = pytest.mark.slow
READY_MADE = "WORKBENCH_OPENPI_PYTHON"  # a Python that has both packages, to save making one

CLIENT = """
    import json, sys
    import numpy as np
    from openpi_client.action_chunk_broker import ActionChunkBroker
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    policy = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]), api_key=sys.argv[2])
    seen = {"observation/image": np.zeros((224, 224, 3), np.uint8),
            "observation/wrist_image": np.zeros((224, 224, 3), np.uint8),
            "observation/state": np.array([0.4, 0, 0.2, 0, 0, 0, 1, 0]), "prompt": "move"}
    answers = [policy.infer(seen) for _ in range(3)]
    broker = ActionChunkBroker(policy, 4)
    steps = [broker.infer(seen)["actions"] for _ in range(6)]
    try:
        policy.infer({"prompt": "move"})
        refused = ""
    except RuntimeError as error:
        refused = str(error)
    print(json.dumps({"metadata": policy.get_server_metadata()["model"], "actions": answers[0]["actions"].tolist(),
        "timing": answers[2]["server_timing"], "steps": [step.shape for step in steps], "refused": refused}))
"""

SERVER = """
    import socket, sys
    import numpy as np
    from openpi_server.websocket_policy_server import WebsocketPolicyServer

    class Mover:
        def infer(self, seen):
            assert seen["observation/image"].shape == (224, 224, 3), seen["observation/image"].shape
            assert seen["observation/state"].shape == (8,) and seen["prompt"] == "move", seen["prompt"]
            actions = np.zeros((10, 7), np.float64)
            actions[:, 0], actions[:, 6] = 0.002, 0.25
            return {"actions": actions, "policy_timing": {"infer_ms": 1.0}}
        def reset(self): pass

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(port, flush=True)
    WebsocketPolicyServer(Mover(), host="127.0.0.1", port=port, metadata={}).serve_forever()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has openpi's client and server packages."""
    if os.environ.get(READY_MADE):
        return os.environ[READY_MADE]
    folder = tmp_path_factory.mktemp("openpi")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    chosen = folder / "bin" / "python"
    words = [chosen, "-m", "pip", "install", "--quiet", "openpi-client", "openpi-server", "typing_extensions"]
    made = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)
    if made.returncode:
        pytest.skip(f"openpi's packages cannot be had here: {made.stderr.strip()[-200:]}")
    return str(chosen)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_the_real_client_talks_to_our_server(python: str) -> None:
    layout = LAYOUTS["openpi-libero"]
    with serving(mover(layout), token=TOKEN) as server:
        words = [python, "-c", textwrap.dedent(CLIENT), str(server.port), TOKEN]
        told = json.loads(subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert told["metadata"] == "mover" and np.shape(told["actions"]) == (STEPS, 7)
    np.testing.assert_allclose(np.array(told["actions"])[:, 0], 0.003, atol=1e-6)
    assert told["timing"]["infer_ms"] >= 0 and told["timing"]["prev_total_ms"] > 0
    assert told["steps"] == [[7]] * 6
    assert "observation/image" in told["refused"]
    assert server.counts["answered"] == 5 and server.counts["refused"] == 1


def test_our_client_talks_to_openpis_server(python: str, rig: Rig) -> None:
    process = subprocess.Popen([python, "-c", textwrap.dedent(SERVER)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = f"ws://127.0.0.1:{int(process.stdout.readline())}"
        policy = rig.policy(url, layout="openpi-libero", connect_s=20.0, answer_s=5.0)
        policy.set_task("move")
        chunk = policy.act()
        np.testing.assert_allclose(chunk.targets[:, 0], 0.4 + 0.002 * np.arange(1, 11), atol=1e-6)
        np.testing.assert_allclose(chunk.targets[:, 7], 0.75, atol=1e-6)
        assert chunk.step_s == pytest.approx(1 / 20)
        policy.set_task("something it was not asked to do")  # its check fails: a traceback comes as text
        with pytest.raises(Exception, match="says: AssertionError"):
            policy.act()
        think_until(policy, lambda: policy.stats()["connected"])
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
