from __future__ import annotations

import numpy as np
import pytest

from storage.evaluation import has_truth, read_truth, write_truth
from storage.layout import Home
from workbench.core.errors import CorruptTakeError, NotFoundError, WorkbenchError
from workbench.core.files import new_id


def test_true_motion_comes_back_and_lies_outside_the_takes(home: Home) -> None:
    episode_id, t_ns = new_id(), np.arange(5) * 10
    poses = np.random.default_rng(0).normal(size=(5, 8))
    assert not has_truth(home, episode_id)
    with pytest.raises(NotFoundError):
        read_truth(home, episode_id)
    write_truth(home, episode_id, t_ns, poses)
    back = read_truth(home, episode_id)
    np.testing.assert_array_equal(back[0], t_ns)
    np.testing.assert_array_equal(back[1], poses)
    assert has_truth(home, episode_id) and not list(home.episodes.iterdir())


def test_nonsense_is_refused(home: Home) -> None:
    episode_id = new_id()
    for t_ns, poses in (
        (np.arange(4), np.zeros((5, 8))),
        (np.arange(5), np.zeros((5, 7))),
        (np.array([1, 0]), np.zeros((2, 8))),
        (np.arange(2), np.full((2, 8), np.nan)),
    ):
        with pytest.raises(WorkbenchError):
            write_truth(home, episode_id, t_ns, poses)
    with pytest.raises(CorruptTakeError):
        write_truth(home, "../x", np.arange(2), np.zeros((2, 8)))
    (home.evaluation / f"{episode_id}.npz").write_bytes(b"PK nonsense")
    with pytest.raises(CorruptTakeError):
        read_truth(home, episode_id)
