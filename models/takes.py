"""Takes as the learner sees them: every stream on one time grid, pictures as features, bad takes counted and left out.

Letters: T grid rows, K tokens per picture, F numbers per token, S = 10 state numbers (see ``normalize.state_vector``),
8 = x y z (m), quaternion w x y z, gripper 0..1. Base frame of the arm.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models import normalize, tips
from models.encoders import ENCODERS, Encoder
from models.recipes import Recipe
from models.telling import tell
from storage.derived import derived, derived_path
from storage.episode import Episode, Manifest
from storage.layout import Home
from storage.marks import trim_of
from storage.windows import TOLERANCE_NS, common_grid, fresh_items
from workbench.core.errors import WorkbenchError
from workbench.core.types import POSE_AXES, Authority, EpisodeKind, Outcome

Times = NDArray[np.int64]
_STATE, _ACTION, _AUTHORITY = "observation.state", "action", "authority"
_ARMS = ("", "left.", "right.")
_FEWEST_ROWS = 4
STATION = "station"


@dataclass(frozen=True, slots=True)
class Take:
    """One arm of one take (human clips: no arm) on a grid of ``step_s``.

    Attributes:
        rows_hz: rate of the grid.
        features: per camera (T, K, F).
        state_TS: (T, 10) network state, or None.
        pose_T8: (T, 8) measured pose, or None.
        targets_T8: (T, 8) target that was sent for the time of the row (sets with states only: the state itself).
        usable_T: (T,) rows whose target may be imitated and whose inputs are fresh.
        t_ns: (T,) host times.
        source: whose numbers these are: "station" or the name of an imported robot; each has its own scale.
        arm: "", "left" or "right".
        tips_T5: where what reaches into the first camera's pictures acts, see ``tips``; None if that was not asked for
            or cannot be told: no depth pictures, no intrinsics, two arms.
    """

    episode_id: str
    kind: EpisodeKind
    instruction: str
    task: str
    rows_hz: float
    features: dict[str, NDArray[np.float32]]
    state_TS: NDArray[np.float32] | None
    targets_T8: NDArray[np.float64] | None
    pose_T8: NDArray[np.float64] | None
    usable_T: NDArray[np.bool_]
    t_ns: Times
    source: str
    arm: str
    content_hash: str
    tips_T5: NDArray[np.float32] | None = None

    @property
    def is_human(self) -> bool:
        return self.kind is EpisodeKind.HUMAN

    def __len__(self) -> int:
        return len(self.t_ns)


class Takes(list[Take]):
    """Loaded takes and, in words, how many were left out and why."""

    def __init__(self, takes: Iterable[Take] = (), skipped: Counter[str] | None = None) -> None:
        super().__init__(takes)
        self.skipped: Counter[str] = skipped if skipped is not None else Counter()

    def snapshot(self) -> tuple[tuple[str, str], ...]:
        """(episode id, content hash) of every take, each once, in order."""
        return tuple(sorted({(take.episode_id, take.content_hash) for take in self}))


def load_takes(
    home: Home,
    episode_ids: Sequence[str],
    encoder: Encoder | None,
    cameras: Sequence[str],
    step_s: float,
    *,
    with_tips: bool = False,
) -> Takes:
    """Every usable take among ``episode_ids``; without an encoder no pictures are read and human clips are left out.

    Two-armed takes become two entries. Features are cached below the data root by encoder and content hash. With
    ``with_tips`` depth pictures are read as well, for ``Take.tips_T5``.
    """
    takes = Takes()
    for done, episode_id in enumerate(episode_ids):
        tell(done, len(episode_ids))
        try:
            with Episode.open(home, episode_id) as episode:
                found, reasons = _read(home, episode, encoder, cameras, step_s)
                if with_tips and len(found) == 1:
                    found = [replace(found[0], tips_T5=_tips(home, episode, cameras[0], found[0].t_ns, step_s))]
        except WorkbenchError:
            found, reasons = [], ["unreadable takes"]
        takes.extend(found)
        takes.skipped.update(reasons)
    return takes


def source_of(manifest: Manifest) -> str:
    """Whose action numbers a take holds; see ``Take.source``."""
    if manifest.kind is not EpisodeKind.IMPORTED:
        return STATION
    about = manifest.extra.get("source")
    for name in (manifest.extra.get("robot_type"), about.get("format") if isinstance(about, dict) else about):
        if isinstance(name, str) and name:
            return name
    return manifest.station or "imported"


def fit_encoder(home: Home, episode_ids: Sequence[str], recipe: Recipe, pictures: int = 240) -> Encoder:
    """A new encoder of the recipe's kind, fitted on pictures spread evenly over takes and all their cameras.

    It also serves models that look through more cameras than this recipe does. The same takes, recipe and
    seed give the same encoder. WorkbenchError if no take has pictures.
    """
    encoder = ENCODERS.build(recipe.encoder, **recipe.encoder_settings)
    samples: list[NDArray[np.uint8]] = []
    per_take = max(2, -(-pictures // max(1, len(episode_ids))))
    chosen = sorted(episode_ids)[:: max(1, len(episode_ids) * 2 // pictures)]
    for episode_id in chosen:
        try:
            with Episode.open(home, episode_id) as episode:
                for stream in sorted(n for n in episode.manifest.streams if n.startswith("observation.images.")):
                    count = episode.manifest.counts[stream]
                    for index in sorted({int(at) for at in np.linspace(0, count - 1, per_take)} if count else ()):
                        picture = episode.read(stream, index)
                        stride = 1 + max(picture.shape) // 400  # colours do not need every pixel; memory counts
                        samples.append(picture[::stride, ::stride].copy())
        except WorkbenchError:
            continue  # counted when the take itself is loaded
    encoder.fit(samples, recipe.seed)
    return encoder


def seen_through(home: Home, take: Take, encoder: Encoder, cameras: Sequence[str]) -> Take:
    """The same rows as another encoder describes what these cameras saw. WorkbenchError if the take cannot be read."""
    with Episode.open(home, take.episode_id) as episode:
        present = [camera for camera in cameras if camera in take.features]
        features, _ = _features(home, episode, encoder, present, take.t_ns, 1.0 / take.rows_hz)
    return replace(take, features=features)


def _read(
    home: Home, episode: Episode, encoder: Encoder | None, cameras: Sequence[str], step_s: float
) -> tuple[list[Take], list[str]]:
    manifest = episode.manifest
    if manifest.kind is EpisodeKind.TELEOP and manifest.outcome is Outcome.FAILURE:
        return [], ["demonstrations marked as failed"]
    arms = _arms(manifest)
    present = [c for c in cameras if manifest.counts.get(f"observation.images.{c}", 0) > 1] if encoder else []
    human = manifest.kind is EpisodeKind.HUMAN
    if human and not present:
        return [], ["human clips without usable pictures"] if encoder else []
    if not human and not arms:
        return [], ["takes without arm data"]
    grid = _grid(episode, [f"observation.images.{c}" for c in present], [] if human else _arm_streams(manifest), step_s)
    if len(grid) < _FEWEST_ROWS:
        return [], ["takes shorter than four steps"]
    features, fresh_T = _features(home, episode, encoder, present, grid, step_s) if encoder else ({}, _yes(grid))
    reasons = ["robot takes without pictures (actions only)"] if encoder and not present else []
    takes = []
    for arm in [""] if human else arms:
        try:
            takes.append(_one_arm(episode, arm, grid, features, fresh_T, step_s, human=human))
        except _UnusableError as unusable:
            reasons.append(str(unusable))
    return takes, reasons


class _UnusableError(Exception):
    """One arm of a take cannot be learned from; the message is the reason that is counted."""


def _one_arm(
    episode: Episode,
    arm: str,
    grid: Times,
    features: dict[str, NDArray[np.float32]],
    fresh_T: NDArray[np.bool_],
    step_s: float,
    *,
    human: bool,
) -> Take:
    manifest = episode.manifest
    pose = targets = state = None
    usable = fresh_T
    if not human:
        pose, targets, whole = _arm_motion(episode, arm, grid)
        if not _moves(targets):
            raise _UnusableError("arms that never move")
        state = normalize.state_vector(pose)
        usable = fresh_T & whole & _imitable(episode, grid) & (grid < _told_otherwise_ns(manifest))
        if not usable.any():
            raise _UnusableError("takes without a usable row")
    return Take(
        manifest.id,
        manifest.kind,
        manifest.instruction,
        manifest.task,
        1.0 / step_s,
        features,
        state,
        targets,
        pose,
        usable,
        grid,
        source_of(manifest),
        arm.rstrip("."),
        manifest.content_hash,
    )


def _arms(manifest: Manifest) -> list[str]:
    """Prefixes of the arms whose pose and gripper are in the take."""
    streams = _arm_streams(manifest)
    wanted = ("gripper", *POSE_AXES)
    return [arm for arm in _ARMS if streams and all(arm + axis in manifest.streams[streams[0]].axes for axis in wanted)]


def _arm_streams(manifest: Manifest) -> list[str]:
    return [name for name in (_STATE, _ACTION) if manifest.counts.get(name, 0) > 1]


def _grid(episode: Episode, pictures: Sequence[str], vectors: Sequence[str], step_s: float) -> Times:
    """Times every ``step_s`` between the trim marks, beginning with a picture (else a state) when every stream runs."""
    grid = common_grid([episode.times(name)[1] for name in (*pictures, *vectors)], step_s)
    trim = trim_of(episode.manifest.extra)
    return grid if trim is None else grid[(grid >= trim.start_ns) & (grid <= trim.end_ns)]


def _features(
    home: Home, episode: Episode, encoder: Encoder, cameras: Sequence[str], grid: Times, step_s: float
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Per camera the features of the newest picture of every row, and which rows had fresh ones everywhere."""
    features, usable = {}, _yes(grid)
    for camera in cameras:
        stream = f"observation.images.{camera}"
        rate_hz = episode.manifest.streams[stream].rate_hz
        index, fresh = fresh_items(episode.times(stream)[1], grid, rate_hz, step_s)
        usable &= fresh
        detail = f"{camera}-{round(step_s * 1e6)}-{grid[0]}"  # trim marks move the grid
        path = derived_path(home, f"features/{encoder.hash()}", episode.manifest, detail)
        encode = partial(_encode, episode, stream, index, encoder)
        found = derived(path, encode, (len(grid), *encoder.shape))
        features[camera] = found if found.dtype == np.uint8 else np.array(found)  # whole pictures stay on disk
    return features, usable


def _tips(home: Home, episode: Episode, camera: str, grid: Times, step_s: float) -> NDArray[np.float32] | None:
    """See ``Take.tips_T5``; a row without a fresh depth picture sees nothing."""
    found = depth_at(episode, camera, grid, step_s)
    if found is None:
        return None
    pinhole, pictures, fresh = found
    path = derived_path(home, f"tips/{tips.VERSION}", episode.manifest, f"{camera}-{round(step_s * 1e6)}-{grid[0]}")

    def read() -> NDArray[np.float32]:
        return tips.read_tips(np.stack(list(pictures)), pinhole)

    return np.where(fresh[:, None], derived(path, read, (len(grid), tips.TIP_NUMBERS)), np.float32(0.0))


def depth_at(
    episode: Episode, camera: str, grid: Times, step_s: float
) -> tuple[tips.Pinhole, Iterator[tips.Depth], NDArray[np.bool_]] | None:
    """The camera's lens, its thinned depth picture of every row, read one after the other, and which of them are fresh.

    None for a take without depth pictures or intrinsics.
    """
    stream, manifest = f"observation.depth.{camera}", episode.manifest
    pinhole = tips.Pinhole.of(manifest.devices.get(camera, {}).get("intrinsics"))
    if pinhole is None or manifest.counts.get(stream, 0) < 2:
        return None
    index, fresh = fresh_items(episode.times(stream)[1], grid, manifest.streams[stream].rate_hz, step_s)
    return pinhole, (tips.thin(episode.read(stream, int(at))) for at in index), fresh


def _encode(episode: Episode, stream: str, index: NDArray[np.int64], encoder: Encoder) -> NDArray[np.float32]:
    seen, inverse = np.unique(index, return_inverse=True)
    encoded = np.stack([encoder.encode(episode.read(stream, int(at))) for at in seen])
    return encoded[inverse]


def _arm_motion(
    episode: Episode, arm: str, grid: Times
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Measured poses and sent targets on the grid (T, 8), and the rows where both streams are whole."""
    streams = _arm_streams(episode.manifest)
    moved = [_poses_at(episode, stream, arm, grid) for stream in streams if _has_pose(episode.manifest, stream, arm)]
    pose, whole = moved[0]
    targets, also = moved[-1]
    return pose, targets, whole & also


def _has_pose(manifest: Manifest, stream: str, arm: str) -> bool:
    return all(arm + axis in manifest.streams[stream].axes for axis in ("gripper", *POSE_AXES))


def _poses_at(episode: Episode, stream: str, arm: str, grid: Times) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    spec = episode.manifest.streams[stream]
    columns = [spec.axes.index(arm + axis) for axis in (*POSE_AXES, "gripper")]
    poses = episode.vectors(stream)[:, columns].astype(np.float64)
    times = episode.times(stream)[1]
    good = np.isfinite(poses).all(axis=1) & np.concatenate([[True], np.diff(times) > 0])
    if good.sum() < 2 or good.mean() < 0.5:
        raise _UnusableError("arms with broken numbers")
    return interpolate_poses(times[good], poses[good], grid, longest_s=max(0.25, 3.0 / spec.rate_hz))


def interpolate_poses(
    times_ns: Times, poses_N8: NDArray[np.float64], grid: Times, longest_s: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Poses (T, 8) at the grid's times, and False where they lie in a hole longer than ``longest_s`` or outside."""
    after = np.clip(np.searchsorted(times_ns, grid, side="left"), 1, len(times_ns) - 1)
    before = after - 1
    span = (times_ns[after] - times_ns[before]).astype(np.float64)
    share = np.clip((grid - times_ns[before]) / span, 0.0, 1.0)
    a, b = poses_N8[before], poses_N8[after]
    out = a + (b - a) * share[:, None]
    out[:, 3:7] = normalize.slerp(a[:, 3:7], b[:, 3:7], share)
    inside = (grid >= times_ns[0] - TOLERANCE_NS) & (grid <= times_ns[-1] + TOLERANCE_NS)
    return out, inside & (span <= longest_s * 1e9)


def _imitable(episode: Episode, grid: Times) -> NDArray[np.bool_]:
    """Rows worth imitating: a demonstration, a successful rollout, of a corrected rollout what the operator did.

    What a policy did before somebody had to take over is what must not be learned, even if the attempt succeeded then.
    A replay repeats commands that are known from the take it repeats; a failed one teaches nothing.
    """
    manifest = episode.manifest
    if manifest.kind is not EpisodeKind.ROLLOUT:
        return _yes(grid)
    good = _yes(grid) if manifest.outcome is Outcome.SUCCESS else ~_yes(grid)
    if not manifest.counts.get(_AUTHORITY, 0) or "replay_of" in manifest.extra:
        return good
    operated = episode.vectors(_AUTHORITY)[:, 0] == Authority.OPERATOR.code
    if not operated.any():
        return good
    times = episode.times(_AUTHORITY)[1]
    index = np.maximum(np.searchsorted(times, grid + TOLERANCE_NS, side="right") - 1, 0)
    return np.asarray(operated[index], dtype=np.bool_)


def _told_otherwise_ns(manifest: Manifest) -> int:
    """When the policy was told to do something else than the take's instruction says, else the end of time."""
    asked = manifest.extra.get("instructions")
    for entry in asked if isinstance(asked, list) else ():
        if isinstance(entry, dict) and entry.get("instruction") != manifest.instruction:
            at = entry.get("t_ns")
            return at if isinstance(at, int) else 0
    return int(np.iinfo(np.int64).max)


def _moves(targets_T8: NDArray[np.float64]) -> bool:
    reach = np.ptp(targets_T8[:, :3], axis=0).max()
    turn = np.abs(normalize.rotation_6d(targets_T8[:, 3:7]) - normalize.rotation_6d(targets_T8[:1, 3:7])).max()
    return bool(reach > 1e-3 or turn > 0.01 or np.ptp(targets_T8[:, 7]) > 0.1)


def _yes(grid: Times) -> NDArray[np.bool_]:
    return np.ones(len(grid), dtype=np.bool_)
