from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chunks import chunk_spec, pack_chunk, unpack_chunk
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, ArmState, Authority, Pose, StreamSpec, arm_axes, arm_vector

POSE = Pose(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))


@given(
    name=st.text(min_size=1, max_size=20),
    shape=st.lists(st.integers(1, 900), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "float64", "int64"]),
    rate=st.floats(0.1, 1000),
)
def test_a_stream_spec_survives_json(name, shape, dtype, rate):
    spec = StreamSpec(name, shape, dtype, "mm", rate, ("a",))
    assert StreamSpec.from_json(spec.to_json()) == spec
    assert spec.item_bytes == np.zeros(shape, dtype).nbytes if np.prod(shape) < 10**7 else True


def test_an_arm_vector_has_its_axes_in_order():
    state = ArmState(1, 2, np.arange(6.0), np.zeros(6), 0.25, POSE)
    vector = state.vector()
    named = dict(zip(arm_axes(6), vector.tolist(), strict=True))
    assert vector.dtype == np.float32 and vector.shape == (14,)
    assert named["joint_6"] == 5 and named["gripper"] == 0.25
    assert named["ee.z"] == pytest.approx(0.3) and named["ee.qw"] == 1
    assert arm_axes(1, "left.")[0] == "left.joint_1"
    assert np.array_equal(arm_vector(np.arange(6.0), 0.25, POSE), vector)


def test_authority_codes_are_the_ones_on_disk():
    assert [(member.value, member.code) for member in Authority] == [("nobody", 0), ("operator", 1), ("policy", 2)]


@given(steps=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_chunk_survives_its_ring(tmp_path_factory, steps, seed):
    targets = np.random.default_rng(seed).normal(size=(steps, 8))
    chunk = ActionChunk(123_456_789, 0.1, targets, "model-1", 7.5)
    ring = Ring.create(tmp_path_factory.mktemp("ring") / "chunks", chunk_spec(steps))
    try:
        ring.write(pack_chunk(chunk), sequence=0, t_device_ns=5, t_host_ns=chunk.t_observed_ns)
        back = unpack_chunk(ring.latest(), "model-1")
    finally:
        ring.close()
    assert np.array_equal(back.targets, targets)
    assert (back.t_observed_ns, back.step_s, back.policy_id, back.latency_ms) == (123_456_789, 0.1, "model-1", 7.5)
    assert back.valid_until_ns == 123_456_789 + int((steps + 1) * 1e8)


def test_values_travel_between_processes():
    state = ArmState(1, 2, np.arange(6.0), np.zeros(6), 0.25, POSE)
    back = pickle.loads(pickle.dumps(state))
    assert np.array_equal(back.joints_rad, state.joints_rad) and back.mode == "position"
