"""What looks unusual while a policy drives: said to the person who watches and kept with the take; nothing acts on it.

The guard and the watchdogs act on what is certain. A picture that stands still, a camera that seems to have moved or an
observation unlike the training rows is a reason to look, not to stop: a hint that is wrong must cost nothing.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.moved import Verdict, compare
from workbench.core.errors import WorkbenchError
from workbench.core.types import Frame
from workbench.services.camera_watch import CameraWatch

OLD_S, FROZEN_S, MOVED_RAD, LOOK_S = 0.25, 1.0, 0.05, 10.0
UNSURE = 0.5
Hint = tuple[str, str]
_IMAGES = "observation.images."


class Anomalies:
    """One attempt's hints. One thread, a few times a second.

    Args:
        home: where reference pictures of the cameras lie; without one, the attempt's first picture is the reference.
        latest: the newest item of a stream by name.
        cameras: names; ``on_arm`` those that move with it.
    """

    def __init__(
        self, home: Path, latest: Callable[[str], Frame | None], cameras: tuple[str, ...], on_arm: frozenset[str]
    ) -> None:
        self._watch = CameraWatch(home)
        self._latest, self._cameras, self._on_arm = latest, cameras, on_arm
        self._seen: dict[str, tuple[int, int, NDArray[np.float64]]] = {}
        self._first: dict[str, NDArray[np.uint8]] = {}
        self._moved: dict[str, str] = {}
        self._look_ns = 0

    def look(self, now_ns: int, unusual: Mapping[str, Any]) -> tuple[Hint, ...]:
        """(kind, words) of all that is unusual now. ``unusual`` is what the policy says, see ``Policy.unusual``."""
        state = self._latest("observation.state")
        joints = state.data[:-8].astype(float) if state is not None else np.zeros(0)
        hints: list[Hint] = []
        for camera in self._cameras:
            frame = self._latest(_IMAGES + camera)
            if frame is not None:
                hints += self._picture(camera, frame, joints, now_ns)
        if now_ns - self._look_ns > LOOK_S * 1e9:
            self._look_ns = now_ns
            self._look_for_moves()
        hints += [(f"moved:{camera}", words) for camera, words in self._moved.items()]
        return (*hints, *policy_hints(unusual))

    def _picture(self, camera: str, frame: Frame, joints: NDArray[np.float64], now_ns: int) -> list[Hint]:
        age_s = (now_ns - frame.t_host_ns) / 1e9
        if age_s > OLD_S:
            return [(f"old:{camera}", f"the picture of camera {camera} is {age_s:.1f} s old")]
        same = zlib.crc32(frame.data[::4, ::4].tobytes())
        before = self._seen.get(camera)
        if before is None or before[0] != same or before[2].shape != joints.shape:
            self._seen[camera] = same, frame.t_host_ns, joints
            return []
        moved = joints.size and float(np.abs(joints - before[2]).max()) > MOVED_RAD
        if moved and frame.t_host_ns - before[1] > FROZEN_S * 1e9:
            return [(f"frozen:{camera}", f"camera {camera} shows the same picture though the arm has moved")]
        return []

    def _look_for_moves(self) -> None:
        """Compare every fixed camera with its reference. A fraction of a second, so not at every look."""
        for camera in (name for name in self._cameras if name not in self._on_arm):
            frame = self._latest(_IMAGES + camera)
            if frame is None:
                continue
            with contextlib.suppress(WorkbenchError):  # without OpenCV or with a damaged reference there is no hint
                reference = self._watch.reference(camera)
                if reference is None or reference.shape != frame.data.shape:
                    reference = self._first.setdefault(camera, frame.data)
                found = compare(reference, frame.data)
                self._moved.pop(camera, None)
                if found.verdict is Verdict.MOVED:
                    self._moved[camera] = f"camera {camera} seems to have moved: {found.reason}"


def policy_hints(unusual: Mapping[str, Any]) -> tuple[Hint, ...]:
    """What the policy's own figures say about the observation that it acted on last."""
    hints: list[Hint] = []
    distance, limit = unusual.get("distance"), unusual.get("distance_limit")
    if distance is not None and limit is not None and distance > limit:
        hints.append(("unfamiliar", f"unlike anything the model was trained on ({distance / limit:.1f} x the limit)"))
    entropy = unusual.get("token_entropy")
    if entropy is not None and entropy > UNSURE:
        hints.append(("unsure", f"the model is not sure what to do ({100 * entropy:.0f} % of the most it could be)"))
    return tuple(hints)
