"""What travels between robot and policy server: there and back unchanged, and nothing hostile gets through."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware.rotations import unit
from models.exchange.codec import WireError, WireLimits, pack, unpack
from models.exchange.layout import Layout
from models.exchange.paths import put, take
from models.exchange.pictures import fitted
from models.exchange.presets import LAYOUTS, layout_of, seeing
from workbench.core.errors import WorkbenchError
from workbench.core.types import arm_axes

KINDS = st.sampled_from(["<u1", "|b1", "<i8", ">i4", "<f4", ">f8", "<f2", "|i1", "<u2"])
ARRAYS = KINDS.flatmap(lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20) | st.binary()
VALUES = st.recursive(
    PLAIN | ARRAYS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
AXES = arm_axes(6)
BY_TOOL = [name for name, layout in LAYOUTS.items() if not layout.by_joints]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return first.shape == second.shape and first.dtype == second.dtype.newbyteorder("=") and equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and (first == second or first != first)


def equal(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda key: "__" not in key), VALUES, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_message_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert same(unpack(pack(value)), value)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused_or_plain(data: bytes) -> None:
    try:
        value = unpack(data)
    except WireError:
        return
    assert isinstance(value, None | bool | int | float | str | bytes | list | dict | np.ndarray | np.generic)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_message_is_refused_or_a_message(data: st.DataObject) -> None:
    whole = bytearray(pack({"picture": np.zeros((4, 4, 3), np.uint8), "state": np.ones(3, np.float32), "n": [1, 2]}))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        unpack(bytes(whole))
    except WireError as error:
        assert "message" in str(error) or "array" in str(error)


def array(**changes: Any) -> bytes:
    value = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2], **changes}
    return msgpack.packb({"x": {key.encode() if isinstance(key, str) else key: v for key, v in value.items()}})


@pytest.mark.parametrize(
    "data",
    [
        array(dtype="|O"),
        array(dtype="O8"),
        array(dtype="<U2"),
        array(dtype="<M8[s]"),
        array(dtype="<c8"),
        array(dtype="V8"),
        array(dtype="f4,f4"),
        array(dtype=7),
        array(shape=[2**31, 2**31]),
        array(shape=[-2]),
        array(shape=[3]),
        array(shape=[1] * 7),
        array(shape=2),
        array(shape=[True, 2]),
        array(data="12345678"),
        msgpack.packb({b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"}),
        msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}),
        msgpack.packb(msgpack.ExtType(42, b"anything")),
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb({1: 2}),
        b"\x82" + msgpack.packb("a") * 4,
        b"\x91" * 600 + b"\xc0",
        b"\xdd" + struct.pack(">I", 2**31),
        b"\xc6" + struct.pack(">I", 2**31),
        b"\xdc\xff\xff" * 500,
        msgpack.packb([[[]] * 2000] * 3),
        b"\x80\x80",
        b"",
    ],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack(data)


def test_a_message_over_the_limit_and_a_text_are_refused() -> None:
    data = pack({"x": np.zeros(100)})
    with pytest.raises(WireError, match="more than"):
        unpack(data, WireLimits(bytes=len(data) - 1))
    with pytest.raises(WireError, match="text"):
        unpack("hello")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["a"]), 1j, {1, 2}, 2**65])
def test_what_the_format_does_not_have_is_not_sent(value: object) -> None:
    with pytest.raises(WireError):
        pack({"x": value})


# layouts -------------------------------------------------------------------------------------------------------------


def some_state(rng: np.random.Generator) -> np.ndarray:
    turned = unit(rng.normal(size=4))
    return np.concatenate([rng.normal(size=6), [rng.uniform()], 0.3 * rng.normal(size=3), turned]).astype(np.float32)


def some_targets(rng: np.random.Generator, steps: int) -> np.ndarray:
    turns = np.array([unit(rng.normal(size=4)) for _ in range(steps)])
    return np.column_stack([0.3 * rng.normal(size=(steps, 3)), turns, rng.uniform(size=steps)])


@pytest.mark.parametrize("name", BY_TOOL)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_robot_and_model_understand_each_other(name: str, seed: int, steps: int) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(seed)
    state, targets = some_state(rng), some_targets(rng, steps)
    pictures = {camera: rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for camera in layout.cameras}
    request = unpack(pack(layout.request(pictures, state, AXES, "put it there")))
    seen, pose, instruction = layout.understand(request)
    assert instruction == "put it there"
    assert all(np.array_equal(seen[camera], fitted(pictures[camera], layout.picture_px)) for camera in pictures)
    np.testing.assert_allclose(pose[:3], state[7:10], atol=1e-6)
    assert abs(abs(pose[3:7] @ state[10:14]) - 1) < 1e-5
    back = layout.chunk(unpack(pack(layout.answer_of(targets, pose))), state, AXES)
    np.testing.assert_allclose(back[:, [0, 1, 2, 7]], targets[:, [0, 1, 2, 7]], atol=2e-5)
    np.testing.assert_allclose(np.abs((back[:, 3:7] * targets[:, 3:7]).sum(1)), 1.0, atol=1e-4)


def test_joint_moves_become_poses_by_the_arms_own_kinematics() -> None:
    layout = layout_of(
        "openpi-droid",
        {
            "actions": [*(f"joint_{k}" for k in range(1, 7)), "closed"],
            "state": {"observation/joint_position": [f"joint_{k}" for k in range(1, 7)]},
        },
    )
    state = some_state(np.random.default_rng(3))
    rows = np.zeros((3, 7), np.float32)
    rows[:, 0], rows[:, 6] = 0.5, [0.0, 0.25, 1.0]

    def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return joints[:3], np.array([1.0, 0, 0, 0])

    targets = layout.chunk({"actions": rows}, state, AXES, forward)
    np.testing.assert_allclose(targets[:, 0], state[0] + 0.2 * 0.5 * np.array([1, 2, 3]), atol=1e-6)
    np.testing.assert_allclose(targets[:, 1], state[1], atol=1e-6)
    np.testing.assert_allclose(targets[:, 7], [1.0, 0.75, 0.0], atol=1e-6)
    with pytest.raises(WorkbenchError, match="7 joints, this arm has 6"):
        LAYOUTS["openpi-droid"].chunk({"actions": np.zeros((3, 8))}, state, AXES, forward)
    with pytest.raises(WorkbenchError, match="does not say where the tool is"):
        LAYOUTS["openpi-droid"].check_serves(("front",))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "no 'actions'"),
        ({"error": {"message": "out of memory"}}, "out of memory"),
        ({"actions": "many"}, "no table"),
        ({"actions": np.zeros(8)}, "no table"),
        ({"actions": np.zeros((4, 4, 8))}, "no table"),
        ({"actions": np.zeros((4, 8), bool)}, "no table"),
        ({"actions": [[1.0], [1.0, 2.0]]}, "no table"),
        ({"actions": np.zeros((4, 7))}, "4 actions of 7"),
        ({"actions": np.zeros((0, 8))}, "0 actions"),
        ({"actions": np.zeros((257, 8))}, "257 actions"),
        ({"actions": np.full((4, 8), np.nan)}, "not finite"),
        ({"actions": np.full((4, 8), 1e9)}, "no arm reaches|no direction"),
        ({"actions": np.zeros((4, 8))}, "no direction"),
        ([1, 2], "It sent a list"),
        (None, "It sent a NoneType"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(WorkbenchError, match=words):
        LAYOUTS["workbench"].chunk(answer, some_state(np.random.default_rng(0)), AXES)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("observation.images.front", np.zeros((8, 8)), "must be a picture"),
        ("observation.images.front", np.zeros((8, 8, 3), np.float32), "must be a picture"),
        ("observation.images.wrist", np.zeros((2, 2, 3), np.uint8), "pixels wide"),
        ("observation.state", np.zeros(7), "8 finite numbers"),
        ("observation.state", np.full(8, np.inf), "8 finite numbers"),
        ("observation.state", "here", "8 finite numbers"),
        ("prompt", "  ", "instruction"),
        ("prompt", 5, "instruction"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(path: str, value: Any, words: str) -> None:
    layout, rng = LAYOUTS["workbench"], np.random.default_rng(0)
    pictures = {camera: np.zeros((24, 32, 3), np.uint8) for camera in layout.cameras}
    request = layout.request(pictures, some_state(rng), AXES, "do it")
    with pytest.raises(WorkbenchError, match=words):
        layout.understand({**request, path: value})
    with pytest.raises(WorkbenchError, match=f"no '{path}'"):
        layout.understand({key: kept for key, kept in request.items() if key != path})


def test_paths_reach_into_maps_and_lists() -> None:
    message: dict[str, Any] = {}
    put(message, "examples>0>image>0", 1)
    put(message, "examples>0>image>1", 2)
    put(message, "examples>0>lang", "x")
    assert message == {"examples": [{"image": [1, 2], "lang": "x"}]}
    assert take(message, "examples>0>image>1") == 2
    assert np.array_equal(take({"data": {"actions": np.arange(6).reshape(1, 2, 3)}}, "data>actions>0")[1], [3, 4, 5])
    with pytest.raises(WorkbenchError):
        take(message, "examples>2>lang")


def test_pictures_are_made_smaller_whole_and_in_proportion() -> None:
    picture = np.full((480, 640, 3), 200, np.uint8)
    small = fitted(picture, (224, 224))
    assert small.shape == (224, 224, 3)
    assert small[112].min() == 200 and small[10].max() == 0
    assert fitted(picture, ()) is picture


def test_other_cameras_and_wrong_words_in_the_settings() -> None:
    assert seeing(LAYOUTS["workbench"], ("side",)).pictures == (("observation.images.side", "side"),)
    changed = layout_of("openpi-libero", {"pictures": {"observation/image": "side"}, "scale": 0.05, "step_s": 0.05})
    assert isinstance(changed, Layout) and changed.cameras == ("side",) and changed.scale == (0.05,)
    for name, changes, words in [
        ("openpi", {}, "did you mean|Choose one of|Did you mean"),
        ("workbench", {"picturs": {}}, "Did you mean 'pictures'"),
        ("workbench", {"actions": ["x", "y", "q"]}, "no number named 'q'"),
        ("workbench", {"pictures": ["front"]}, "table"),
        ("workbench", {"mode": "relative"}, "mode of actions"),
        ("workbench", {"scale": [1, 2]}, "scale"),
        ("workbench", {"step_s": 99}, "step_s"),
    ]:
        with pytest.raises(WorkbenchError, match=words):
            layout_of(name, changes)
