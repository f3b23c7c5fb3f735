"""The whole story in its smallest size, through the command line, as a user would start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hardware.sim.tasks import DEMONSTRATED, NEW_TASK
from workbench.services.machine import PROJECT

pytestmark = pytest.mark.timeout(280)


def command(home: Path, *words: str) -> dict[str, Any]:
    """Run main.py in a process of its own; its JSON object."""
    line = [sys.executable, "main.py", *words, "--home", str(home), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=PROJECT, timeout=260)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walk") / "home"


@pytest.fixture(scope="module")
def told(home: Path) -> dict[str, Any]:
    """What the demonstration printed."""
    return command(home, "demo", "--plan", "tiny")


def test_the_published_keys_are_there(told: dict[str, Any], home: Path) -> None:
    episodes = told["episodes"]
    assert episodes["teleop"] >= 6 and episodes["human"] == 3
    assert episodes["rollout"] == 8  # two old tasks and the new one before and after; the token head on the old ones
    assert told["act_vae"]["rmse_mm"] > 0 and told["act_vae"]["perplexity"] >= 1 and told["act_vae"]["used"] >= 1
    aligned = told["alignment"]
    assert 0 <= aligned["retrieval_top1"] <= aligned["retrieval_top5"] <= 1
    assert 0 < aligned["chance"] < 1 and aligned["n"] > 1
    assert set(told["success"]) == {*DEMONSTRATED[:2], NEW_TASK}
    for line in told["success"].values():
        for when in ("before", "after"):
            rate = line[when]
            assert rate["n"] == 1 and rate["interval"][0] <= rate["success"] <= rate["interval"][1]
    assert told["latency_ms"]["rf"] > 0 and told["latency_ms"]["ntp"] > 0
    assert told["seconds"]["total"] > 0 and told["home"] == str(home)
    assert {"machine", "versions", "seed", "command"} <= set(told)


def test_the_report_stands_alone_and_shows_takes(told: dict[str, Any]) -> None:
    html = Path(told["report"]).read_text()
    assert html.count("data:image/jpeg;base64,") >= 5 and html.count("<svg") >= 10
    assert "http://" not in html and "https://" not in html
    assert NEW_TASK.replace("_", " ") in html


def test_every_take_is_whole_and_in_the_library(told: dict[str, Any], home: Path) -> None:
    verified = command(home, "episodes", "verify")
    assert verified["problems"] == {}
    assert verified["verified"] == sum(told["episodes"].values())
    assert command(home, "episodes", "stats")["kinds"] == told["episodes"]


def test_models_know_their_parents_and_can_be_promoted(told: dict[str, Any], home: Path) -> None:
    models = {record["id"]: record for record in command(home, "models", "list")["models"]}
    assert {record["stage"] for record in models.values()} == {"act_vae", "vd_vae", "ntp", "rf"}
    tuned = models[told["models"]["finetune"]]
    assert tuned["parent"] == told["models"]["rf"] and NEW_TASK in tuned["tasks"]
    for model in (told["models"]["rf"], told["models"]["finetune"]):
        assert command(home, "models", "promote", model)["promoted"] == model
    assert command(home, "models", "rollback")["promoted"] == told["models"]["rf"]


@pytest.mark.slow
def test_the_model_drives_again_from_the_command_line(told: dict[str, Any], home: Path) -> None:
    driven = command(home, "rollout", "--task", DEMONSTRATED[0], "--trials", "1")
    assert driven["n"] == 1 and driven["trials"][0]["episode"]
    shown = command(home, "episodes", "show", driven["trials"][0]["episode"])
    assert shown["kind"] == "rollout" and shown["extra"]["trial"]["model_id"] == driven["model"]
    assert {"authority", "action.wanted", "action.allowed", "action"} <= set(shown["streams"])


@pytest.mark.slow
def test_inference_is_measured(told: dict[str, Any], home: Path) -> None:
    found = command(home, "bench", "infer", "--quick")
    assert found["latency_ms"]["rf"]["p50"] <= found["latency_ms"]["rf"]["p99"]
    assert found["boundary_jump_ratio"] >= 0
