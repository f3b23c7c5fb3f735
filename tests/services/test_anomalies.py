"""Hints while a policy drives: each appears when its cause is there and only then, and is kept with the take."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core.types import Frame
from workbench.services.anomalies import FROZEN_S, LOOK_S, Anomalies, policy_hints
from workbench.services.attempt import Attempt, Policy

S = 10**9


def texture(shift: int = 0) -> np.ndarray:
    """A picture with details everywhere, moved to the right."""
    import cv2

    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (40, 60, 3)).astype(np.uint8), (480, 320), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.roll(picture, shift, axis=1))


class Streams:
    """The newest items, as a station would give them."""

    def __init__(self) -> None:
        self.now_ns, self.k, self.joint = 100 * S, 0, 0.0
        self.picture, self.noise = texture(), np.random.default_rng(1)
        self.age_ns, self.freezes = 0, False

    def latest(self, name: str) -> Frame | None:
        at = self.now_ns - self.age_ns
        if name == "observation.state":
            return Frame(0, at, at, 0, np.r_[np.full(6, self.joint), np.zeros(8)].astype(np.float32))
        data = self.picture if self.freezes else self.picture ^ self.noise.integers(0, 2, self.picture.shape, np.uint8)
        return Frame(self.k, at, at, 0, data)

    def step(self, anomalies: Anomalies, seconds: float = 0.3, unusual=None) -> set[str]:
        self.now_ns += round(seconds * S)
        self.joint += 0.05
        return {kind for kind, _ in anomalies.look(self.now_ns, unusual or {})}


def made(folder: Path) -> tuple[Streams, Anomalies]:
    streams = Streams()
    return streams, Anomalies(folder, streams.latest, ("front", "wrist"), frozenset({"wrist"}))


def test_nothing_is_said_while_all_is_well(tmp_path: Path) -> None:
    streams, anomalies = made(tmp_path)
    for _ in range(50):
        assert streams.step(anomalies, 0.3, {"distance": 1.0, "distance_limit": 2.0, "token_entropy": 0.1}) == set()


def test_a_frozen_picture_is_told_from_a_still_scene(tmp_path: Path) -> None:
    streams, anomalies = made(tmp_path)
    streams.freezes = True
    joint = streams.joint
    for _ in range(8):
        streams.step(anomalies)
        streams.joint = joint
    assert streams.step(anomalies, 0.1) == set(), "nothing moves, so nothing need change"
    for _ in range(round(FROZEN_S / 0.3) + 2):
        said = streams.step(anomalies)
    assert said == {"frozen:front", "frozen:wrist"}
    streams.freezes = False
    assert streams.step(anomalies) == set()


def test_an_old_picture_and_a_camera_that_was_pushed(tmp_path: Path) -> None:
    streams, anomalies = made(tmp_path)
    streams.step(anomalies)
    streams.age_ns = S // 2
    assert streams.step(anomalies) == {"old:front", "old:wrist"}
    streams.age_ns, streams.picture = 0, texture(6)
    assert streams.step(anomalies, LOOK_S + 1) == {"moved:front"}, "one on the arm moves with it"
    streams.picture = texture()
    assert streams.step(anomalies, LOOK_S + 1) == set()


def test_what_the_policy_says_about_itself_becomes_words() -> None:
    far = dict(policy_hints({"distance": 6.0, "distance_limit": 2.0, "token_entropy": 0.9}))
    assert set(far) == {"unfamiliar", "unsure"} and "3.0 x" in far["unfamiliar"] and "90 %" in far["unsure"]
    assert policy_hints({}) == () and policy_hints({"distance": 1.0, "distance_limit": 2.0}) == ()


def test_an_attempt_keeps_when_each_hint_began_and_what_it_was_told() -> None:
    attempt = Attempt(Policy("m", "rf"), "t", "do t", S)
    for t, kinds in ((1, ["old"]), (2, ["old", "moved"]), (3, []), (4, ["old"])):
        attempt.hint([(kind, f"{kind} {t}") for kind in kinds], t * S)
    attempt.ask("u", "do u", 5 * S)
    attempt.note("gripper slipped", 6 * S)
    extra = attempt.extra()
    assert [(h["t_ns"] // S, h["words"]) for h in extra["hints"]] == [(1, "old 1"), (2, "moved 2"), (4, "old 4")]
    assert [i["instruction"] for i in extra["instructions"]] == ["do t", "do u"]
    trial = attempt.trial(True, "e" * 32, 3.0, 20.0, "done", 7)["trial"]
    assert trial["task"] == "u" and trial["note"] == "gripper slipped" and trial["seed"] == 7
