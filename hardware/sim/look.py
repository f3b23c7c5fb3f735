"""How the simulated scene looks: colours, light, clutter. Physics never depends on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim.scenery import DISTRACTORS, HAND_PARTS
from hardware.sim.tasks import Rgb

_SKINS: tuple[Rgb, ...] = ((0.87, 0.67, 0.55), (0.76, 0.53, 0.40), (0.55, 0.37, 0.26), (0.36, 0.23, 0.16))
_SLEEVES: tuple[Rgb, ...] = ((0.16, 0.17, 0.22), (0.30, 0.33, 0.38), (0.24, 0.20, 0.16), (0.45, 0.45, 0.47))
_CLUTTER: tuple[Rgb, ...] = ((0.36, 0.30, 0.22), (0.22, 0.24, 0.30), (0.30, 0.33, 0.28))


@dataclass(frozen=True, slots=True)
class Look:
    """One look. Colours are 0..1; the light shines along ``light_direction``; ``distractors`` things lie about."""

    table_rgb: Rgb = (0.44, 0.42, 0.40)
    link_rgb: Rgb = (0.60, 0.61, 0.63)
    accent_rgb: Rgb = (0.40, 0.45, 0.50)
    joint_rgb: Rgb = (0.20, 0.20, 0.21)
    gripper_rgb: Rgb = (0.15, 0.15, 0.16)
    finger_rgb: Rgb = (0.30, 0.30, 0.31)
    skin_rgb: Rgb = _SKINS[0]
    sleeve_rgb: Rgb = _SLEEVES[0]
    clutter_rgb: Rgb = _CLUTTER[0]
    shells: bool = False
    light: float = 0.55
    ambient: float = 0.42
    light_direction: tuple[float, float, float] = (-0.1, 0.25, -1.0)
    distractors: int = 0

    @classmethod
    def everyday(cls, seed: int) -> Look:
        """The station as it is, on a day with slightly more or less light."""
        rng = np.random.default_rng([seed, 11])
        scale = rng.uniform(0.93, 1.07)
        return replace(cls(), light=0.55 * scale, ambient=0.42 * scale, light_direction=_direction(rng, 0.25))

    @classmethod
    def human(cls, seed: int) -> Look:
        """Somebody's hand and sleeve, other light, clutter in half of the scenes."""
        rng = np.random.default_rng([seed, 12])
        scale = rng.uniform(0.8, 1.15)
        return replace(
            cls(),
            skin_rgb=_SKINS[rng.integers(len(_SKINS))],
            sleeve_rgb=_SLEEVES[rng.integers(len(_SLEEVES))],
            clutter_rgb=_CLUTTER[rng.integers(len(_CLUTTER))],
            table_rgb=_vary(rng, cls().table_rgb, 0.04),
            light=0.55 * scale,
            ambient=0.42 * scale,
            light_direction=_direction(rng, 0.5),
            distractors=int(rng.integers(1, len(DISTRACTORS) + 1)) if rng.random() < 0.5 else 0,
        )

    @classmethod
    def randomised(cls, seed: int) -> Look:
        """Another robot: every arm colour, its thickness, the table and the light are drawn anew.

        Pictures of such robots teach a model what the arm's look does not tell, so that a hand can stand in for it.
        """
        rng = np.random.default_rng([seed, 13])
        scale = rng.uniform(0.75, 1.2)
        sleeve = _SKINS[rng.integers(len(_SKINS))] if rng.random() < 0.5 else _any(rng)
        return replace(
            cls.human(seed),
            link_rgb=sleeve,
            accent_rgb=_any(rng),
            joint_rgb=_any(rng),
            gripper_rgb=_SKINS[rng.integers(len(_SKINS))] if rng.random() < 0.5 else _any(rng),
            finger_rgb=_SKINS[rng.integers(len(_SKINS))] if rng.random() < 0.5 else _any(rng),
            table_rgb=_vary(rng, cls().table_rgb, 0.05),
            shells=bool(rng.random() < 0.5),
            light=0.55 * scale,
            ambient=0.42 * scale,
        )


def _any(rng: np.random.Generator) -> Rgb:
    """A dull colour: the vivid ones belong to objects and targets."""
    grey = rng.uniform(0.08, 0.75)
    red, green, blue = np.clip(grey + rng.uniform(-0.10, 0.10, 3), 0.03, 0.85)
    return float(red), float(green), float(blue)


def _vary(rng: np.random.Generator, rgb: Rgb, amount: float) -> Rgb:
    red, green, blue = np.clip(np.array(rgb) + rng.uniform(-amount, amount) + rng.uniform(-0.015, 0.015, 3), 0, 1)
    return float(red), float(green), float(blue)


def _direction(rng: np.random.Generator, tilt: float) -> tuple[float, float, float]:
    x, y = rng.uniform(-tilt, tilt, 2)
    return float(x), float(y), -1.0


_ROLES = {
    "linkgray": "link_rgb",
    "urblue": "accent_rgb",
    "jointgray": "joint_rgb",
    "black": "joint_rgb",
    "gripper_black": "gripper_rgb",
    "gripper_gray": "finger_rgb",
    "gripper_metal": "finger_rgb",
    "gripper_silicone": "finger_rgb",
}


def colours(model: mujoco.MjModel, look: Look) -> NDArray[np.float32]:
    """(geoms, 4) red green blue alpha of every geom of the station under this look."""
    rgba: NDArray[np.float32] = np.array(model.geom_rgba, dtype=np.float32)
    for geom in range(model.ngeom):
        role = _role(model, geom)
        if role:
            rgba[geom, :3] = getattr(look, role)
        if "shell" in model.geom(geom).name:
            rgba[geom, 3] = 1.0 if look.shells else 0.0
    return rgba


def _role(model: mujoco.MjModel, geom: int) -> str:
    """Which colour of the look paints this geom, or "" if it keeps its own."""
    name, body = model.geom(geom).name, model.body(model.geom_bodyid[geom]).name
    if name == "table":
        return "table_rgb"
    if name in DISTRACTORS:
        return "clutter_rgb"
    if name == "sleeve":
        return "sleeve_rgb"
    if body in HAND_PARTS:
        return "skin_rgb"
    if "shell" in name:
        return "gripper_rgb" if name.startswith("gripper") else "link_rgb"
    material = int(model.geom_matid[geom])
    if material >= 0:
        return _ROLES.get(model.mat(material).name, "")
    return "finger_rgb" if body.startswith("gripper_") else ""
