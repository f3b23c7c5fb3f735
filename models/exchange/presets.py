"""Ready-made layouts: this program's own, those of openpi's examples, and CLAP's official server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from models.exchange.layout import Layout
from models.exchange.numbers import EULER, POSITION, QUATERNION, TURN
from workbench.core.errors import NotFoundError, WorkbenchError

OWN = "workbench"
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        OWN: Layout(
            pictures=(("observation.images.front", "front"), ("observation.images.wrist", "wrist")),
            state=(("observation.state", (*POSITION, *QUATERNION, "gripper")),),
            actions=(*POSITION, *QUATERNION, "gripper"),
        ),
        "openpi-droid": Layout(
            pictures=(("observation/exterior_image_1_left", "front"), ("observation/wrist_image_left", "wrist")),
            picture_px=(224, 224),
            state=(
                ("observation/joint_position", tuple(f"joint_{k}" for k in range(1, 8))),
                ("observation/gripper_position", ("closed",)),
            ),
            actions=(*(f"joint_{k}" for k in range(1, 8)), "closed"),
            mode="step",
            scale=(0.2,),  # full speed turns a joint by 0.2 rad in one step of 1/15 s
            step_s=1 / 15,
        ),
        "openpi-aloha": Layout(
            pictures=(("images>cam_high", "front"), ("images>cam_left_wrist", "wrist")),
            picture_px=(224, 224),
            channels_first=True,
            state=(("state", (*(f"joint_{k}" for k in range(1, 7)), "gripper", *("zero",) * 7)),),
            actions=(*(f"joint_{k}" for k in range(1, 7)), "gripper", *("zero",) * 7),
            step_s=1 / 50,
        ),
        "openpi-libero": Layout(
            pictures=(("observation/image", "front"), ("observation/wrist_image", "wrist")),
            picture_px=(224, 224),
            state=(("observation/state", (*POSITION, *TURN, "gripper", "zero")),),
            actions=(*POSITION, *TURN, "closed"),
            mode="step",
            step_s=1 / 20,
        ),
        "openclap": Layout(
            pictures=(("examples>0>image>0", "front"), ("examples>0>image>1", "wrist")),
            picture_px=(224, 224),
            state=(("examples>0>state", (*POSITION, *EULER, "gripper")),),
            prompt="examples>0>lang",
            constants=(("do_sample", False),),
            answer="data>actions>0",
            actions=(*POSITION, *EULER, "gripper"),
            mode="delta",
            step_s=1 / 30,
        ),
    }
)


def layout_of(name: str, changes: Mapping[str, Any]) -> Layout:
    """A ready-made layout with changed fields, as they stand in ``[policy.keys]``.

    ``pictures``, ``state`` and ``constants`` are tables from path to camera, names and value. Raises WorkbenchError.
    """
    if name not in LAYOUTS:
        raise NotFoundError.of("layout of a policy server", name, LAYOUTS)
    known = {field.name for field in fields(Layout)}
    values: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in known:
            raise NotFoundError.of("part of a policy server's layout", key, known)
        values[key] = _checked(key, value)
    return replace(LAYOUTS[name], **values)


def _checked(key: str, value: Any) -> Any:
    """A field as the layout keeps it, or WorkbenchError if it is of another kind."""
    kinds: Mapping[str, Callable[[], Any]] = {
        "pictures": lambda: tuple((path, _word(camera)) for path, camera in _table(value)),
        "state": lambda: tuple((path, _words(names)) for path, names in _table(value)),
        "constants": lambda: _table(value),
        "actions": lambda: _words(value),
        "picture_px": lambda: tuple(int(size) for size in value),
        "scale": lambda: tuple(float(one) for one in (value if isinstance(value, list | tuple) else [value])),
        "channels_first": lambda: bool(value),
        "step_s": lambda: float(value),
    }
    try:
        return kinds.get(key, lambda: _word(value))()
    except (TypeError, ValueError) as error:
        raise WorkbenchError(f"[policy.keys] {key} is not right ({error})", "See docs/remote.md") from error


def _table(value: Any) -> tuple[tuple[str, Any], ...]:
    if not isinstance(value, Mapping):
        raise TypeError("it must be a table from paths to names")
    return tuple((_word(path), item) for path, item in value.items())


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("it must be a list of words")
    return tuple(map(_word, value))


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"'{value}' is no word")
    return value


def seeing(layout: Layout, cameras: Sequence[str]) -> Layout:
    """This program's own layout for other cameras: each has the name of its stream."""
    return replace(layout, pictures=tuple((f"observation.images.{name}", name) for name in cameras))
