"""How long heads think and how good their chunks are: the same model, the same observation, in turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import pace
from models.policy import Policy
from models.registry import read_record
from models.split import held_out_ids
from models.takes import load_takes
from tests.models.conftest import Set


def test_every_way_of_answering_is_timed_as_a_whole_and_from_the_feature_on(small_set: Set, small_policy: Path) -> None:
    spent = pace.measure_pace(small_set.home, small_policy.name, (1, 10), 12)
    assert set(spent) == {"rf1", "rf10", "ntp"}
    assert all(len(values) == 12 and min(values) > 0 for way in spent.values() for values in way.values())
    median = {way: {name: float(np.median(values)) for name, values in times.items()} for way, times in spent.items()}
    assert median["rf10"]["head_cpu"] > 2.0 * median["rf1"]["head_cpu"], "ten steps cost more than one"
    assert all(times["head_cpu"] < times["act_cpu"] for times in median.values())


def test_errors_are_in_metres_of_held_out_takes_and_the_codec_is_their_floor(
    small_set: Set, small_policy: Path
) -> None:
    found = pace.chunk_errors(small_set.home, small_policy.name, (1, 4))
    assert {"rf1", "rf4", "ntp", "codec"} <= set(found)
    assert found["broken_off"] == 0
    ids = [episode_id for episode_id, _ in read_record(small_set.home, small_policy.name).data]
    model = Policy.load(small_policy).model
    kept = held_out_ids([(episode_id, False) for episode_id in ids], model.recipe.held_out)
    assert found["held_out"] and found["takes"] == len(kept)
    (take,) = load_takes(small_set.home, sorted(kept)[:1], model.encoder, model.cameras, 0.1)
    if len(kept) == 1:
        assert found["windows"] == len(take) - 1
    reach = np.linalg.norm(np.diff(take.pose_T8[:, :3], axis=0), axis=1).max() * 1000.0 * 4
    assert 0.0 < found["codec"] < reach
    assert found["rf1"] != pytest.approx(found["rf4"], abs=1e-3)
