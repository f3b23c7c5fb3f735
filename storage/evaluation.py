"""The true motion of a simulated hand: for scoring only, kept outside the takes.

A human take holds pictures and nothing else; what the hand really did lies below ``home.evaluation``. Training must
never see it, and an import contract forbids the training rooms to import this module.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.layout import Home, is_episode_id
from workbench.core.errors import CorruptTakeError, NotFoundError, WorkbenchError
from workbench.core.files import write_atomic


def write_truth(home: Home, episode_id: str, t_ns: NDArray[np.int64], poses_T8: NDArray[np.float64]) -> None:
    """Keep (T,) host times and (T, 8) poses: x y z (m), quaternion w x y z, grip 0 closed..1 open; base frame.

    WorkbenchError if lengths differ, times go back or a number is not finite.
    """
    times, poses = np.asarray(t_ns, dtype=np.int64), np.asarray(poses_T8, dtype=np.float64)
    if times.ndim != 1 or poses.shape != (len(times), 8):
        raise WorkbenchError(f"a true motion needs (T,) times and (T, 8) poses, not {times.shape} and {poses.shape}")
    if np.any(np.diff(times) < 0) or not np.all(np.isfinite(poses)):
        raise WorkbenchError("a true motion needs rising times and finite poses")
    buffer = io.BytesIO()
    np.savez(buffer, t_ns=times, poses_T8=poses)
    write_atomic(_path(home, episode_id), buffer.getvalue())


def read_truth(home: Home, episode_id: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(T,) host times in ns and (T, 8) poses. NotFoundError if the take has none, CorruptTakeError if it is broken."""
    path = _path(home, episode_id)
    if not path.exists():
        raise NotFoundError(f"there is no true motion of take {episode_id}", "Only simulated human takes have one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            times, poses = stored["t_ns"].astype(np.int64), stored["poses_T8"].astype(np.float64)
    except Exception as error:
        raise CorruptTakeError(f"the true motion of take {episode_id} cannot be read ({error})") from error
    if poses.shape != (len(times), 8):
        raise CorruptTakeError(f"the true motion of take {episode_id} has the wrong shape {poses.shape}")
    return times, poses


def has_truth(home: Home, episode_id: str) -> bool:
    """True if ``read_truth`` would find something."""
    return _path(home, episode_id).exists()


def _path(home: Home, episode_id: str) -> Path:
    if not is_episode_id(episode_id):
        raise CorruptTakeError(f"{episode_id!r} is not a take's id", "Ids are 32 hexadecimal digits")
    return home.evaluation / f"{episode_id}.npz"
