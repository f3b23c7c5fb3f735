"""TFRecord files of robot data sets, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.episode import Episode
from storage.importing import ImportSettings
from storage.interop import detect, import_takes, preview_takes
from storage.layout import Home
from storage.tfrecord import find_records, parse_example
from tests.storage.foreign import bridge_set, bridge_take, example, varint, write_records
from tests.storage.test_interop import DATA
from workbench.core.errors import WorkbenchError

VALUES = st.one_of(
    st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5).map(lambda v: np.array(v, np.int64)),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=12), VALUES, max_size=5))
def test_what_is_written_is_read(features: dict[str, list[bytes] | np.ndarray]) -> None:
    found = parse_example(example(features))
    assert found.keys() == features.keys()
    for name, value in features.items():
        if isinstance(value, list):
            assert found[name] == value
        else:
            np.testing.assert_array_equal(found[name], value)


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_no_bytes_do_more_than_a_sentence(noise: bytes, at: int) -> None:
    whole = example({"a": [b"xyz"], "b": np.arange(3.0, dtype=np.float32)})
    for data in (noise, whole[: at % len(whole)], whole + noise, varint(1 << 63) + noise):
        try:
            parse_example(data)
        except WorkbenchError as error:
            assert "no example" in str(error)


def test_damage_is_found_in_lengths_and_in_records(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [b"one", b"second", b"third"])
    assert [record.read() for record in find_records(path)] == [b"one", b"second", b"third"]
    data = bytearray(path.read_bytes())
    data[13] ^= 1
    path.write_bytes(data)
    records = find_records(path)
    with pytest.raises(WorkbenchError, match="damaged"):
        records[0].read()
    assert records[1].read() == b"second"
    data[0] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorkbenchError, match="damaged, or no TFRecord"):
        find_records(path)
    path.write_bytes(bytes(data[19:-3]))
    with pytest.raises(WorkbenchError, match="middle of a record"):
        find_records(path)


def test_takes_with_poses_and_without_filler_cameras(home: Home, tmp_path: Path) -> None:
    folder = bridge_set(tmp_path)
    assert detect(folder) == detect(tmp_path) == detect(folder / "1.0.0") == "rlds"
    report = import_takes(folder, home)
    assert len(report) == 2 and report.skipped == []
    for seed, episode_id in enumerate(report):
        stored = bridge_take(6 + seed, seed)["steps/observation/state"]
        assert isinstance(stored, np.ndarray)
        with Episode.open(home, episode_id) as take:
            manifest = take.manifest
            assert manifest.extra["cameras_left_out"] == ["image_1"] and "nominal" in manifest.extra["times"]
            assert manifest.instruction == "put the cup away" and manifest.rows == 6 + seed and manifest.rows_hz == 5
            state = take.vectors("observation.state")
            axes = manifest.streams["observation.state"].axes
            np.testing.assert_allclose(state[:, axes.index("ee.x")], stored[:, 0], atol=1e-6)
            np.testing.assert_allclose(state[:, axes.index("gripper")], stored[:, 6].clip(0, 1), atol=1e-6)
            np.testing.assert_allclose(np.linalg.norm(state[:, -4:], axis=1), 1, atol=1e-5)
            assert "action" not in manifest.streams and manifest.counts["action.delta"] == 6 + seed
            assert take.read("observation.images.image_0", 3).shape == (16, 16, 3)
    assert import_takes(folder, home).ids == [] and all(take.known for take in preview_takes(folder, home)[1])


def test_a_set_without_a_known_rate_asks_for_one(home: Home, tmp_path: Path) -> None:
    folder = bridge_set(tmp_path, 1, "toto")
    assert "--rate" in import_takes(folder, home).skipped[0][1]
    report = import_takes(folder, home, settings=ImportSettings(rate_hz=10.0))
    with Episode.open(home, report.ids[0]) as take:
        assert take.manifest.rows_hz == 10
        assert set(take.manifest.streams) == {"observation.state", "action.source", "observation.images.image_0"}
        assert take.manifest.streams["observation.state"].axes == (), "numbers of an unknown robot get no meaning"


def test_one_damaged_take_does_not_spoil_the_others(home: Home, tmp_path: Path) -> None:
    folder = bridge_set(tmp_path, 3)
    (shard,) = folder.rglob("*.tfrecord*")
    record = find_records(shard)[1]
    data = bytearray(shard.read_bytes())
    data[record.offset + record.size // 2] ^= 0x20
    shard.write_bytes(data)
    report = import_takes(folder, home)
    assert len(report) == 2 and [name[-5:] for name, _ in report.skipped] == ["00001"]


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "bridge_rlds_octo").is_dir(), reason="the Bridge recordings are not present")
def test_real_bridge_takes(home: Home) -> None:
    report = import_takes(DATA / "bridge_rlds_octo", home)
    assert len(report) == 25 and report.skipped == []
    steps, told = [], []
    for episode_id in report:
        with Episode.open(home, episode_id) as take:
            assert set(take.manifest.counts.values()) == {10}
            state, delta = take.vectors("observation.state"), take.vectors("action.delta")
            steps.append(np.diff(state[:, 1:4], axis=0))
            told.append(delta[:-1, :3])
            assert 0.1 < np.linalg.norm(state[0, 1:4]) < 0.7, "in front of a small arm, metres"
    assert np.corrcoef(np.concatenate(steps).ravel(), np.concatenate(told).ravel())[0, 1] > 0.8
