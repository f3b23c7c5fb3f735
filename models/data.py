"""Windows over takes: what is seen at t and t+H, what was done in between, in batches of tensors.

Letters: B rows of a batch, W all windows, R all grid rows, C cameras, K tokens per picture, F numbers per token,
S = 10 state numbers, H action steps, P = H + 1 rows of a window, A = 7 action numbers (normalised, chunk-relative),
E instruction embedding, G = 3 keyframe numbers (m), N action tokens.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from models import normalize, text
from models.language.pictures import PictureRows
from models.normalize import ActionScaler
from models.split import held_out_ids
from models.takes import STATION, Take, Takes, fit_encoder, load_takes
from models.tips import TIP_NUMBERS
from workbench.core.errors import WorkbenchError

__all__ = ["STATION", "Batch", "Rows", "Take", "Takes", "Windows", "fit_encoder", "load_takes"]

Kind = Literal["robot", "human", "both"]
_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of windows.

    Attributes:
        features_BCKF, future_BCKF: what is seen at t and at t + H (at a take's end: its last row). Whole pictures are
            uint8, and then no camera's future is there.
        state_BS, has_state_B: network state; zeros and False for human rows.
        actions_BHA, has_action_B: normalised actions; zeros and False for human rows.
        text_BE, instruction_B: the instruction's embedding and its index in ``Windows.instructions``.
        keyframe_BG: where the gripper will be when it next closes or opens, relative to now (m); NaN = never.
        is_human_B: rows of human clips.
        tips_BP5: where what reaches into the picture acts at t .. t + H, see ``tips``; zeros where that is not known.
        take_B, row_B: index of the take in ``Windows.takes`` and of the row on its grid.
        tokens_BN, token_weight_B: action tokens (-1 = none) and how far they are trusted, 0..1.
    """

    features_BCKF: Tensor
    future_BCKF: Tensor
    state_BS: Tensor
    has_state_B: Tensor
    actions_BHA: Tensor
    has_action_B: Tensor
    text_BE: Tensor
    instruction_B: Tensor
    keyframe_BG: Tensor
    is_human_B: Tensor
    tips_BP5: Tensor
    take_B: Tensor
    row_B: Tensor
    tokens_BN: Tensor
    token_weight_B: Tensor

    def __len__(self) -> int:
        return len(self.take_B)

    def where(self, keep_B: Tensor) -> Batch:
        """The rows of a (B,) mask or index."""
        return Batch(*(getattr(self, field.name)[keep_B] for field in fields(self)))


class Rows:
    """A subset of the windows, to draw from. Make it with ``Windows``."""

    def __init__(self, windows: Windows, index_W: Tensor) -> None:
        self._windows = windows
        human = windows.is_human_W[index_W]
        self.index: dict[str, Tensor] = {
            "robot": index_W[windows.has_action_W[index_W]],
            "human": index_W[human],
            "both": index_W[human | windows.has_action_W[index_W]],
        }

    def count(self, rows: Kind = "both") -> int:
        """How many windows of a kind there are."""
        return len(self.index[rows])

    @property
    def has_pictures(self) -> bool:
        """Whether features are whole pictures, read from disk with every batch."""
        return self._windows.has_pictures

    def sample(self, generator: Generator, batch: int, rows: Kind = "both", human_share: float | None = None) -> Batch:
        """Draw with replacement. With ``human_share`` that part of the batch (if there are any) is human rows.

        WorkbenchError if there is no window of the kind.
        """
        if human_share is None or rows != "both" or not self.count("human") or not self.count("robot"):
            return self._windows.batch(self._draw(generator, batch, rows))
        human = round(batch * human_share)
        parts = [self._draw(generator, batch - human, "robot"), self._draw(generator, human, "human")]
        return self._windows.batch(torch.cat(parts))

    def all(self, rows: Kind = "both", most: int | None = None) -> Batch:
        """Every window, or ``most`` of them evenly spread, always the same."""
        index = self.index[rows]
        if most is not None and len(index) > most:
            index = index[torch.linspace(0, len(index) - 1, most).round().long()]
        return self._windows.batch(index)

    def of(self, episode_ids: Sequence[str]) -> Rows:
        """Only the windows of these takes."""
        wanted = set(episode_ids)
        mine = torch.tensor([take.episode_id in wanted for take in self._windows.takes], dtype=torch.bool)
        index = self.index["both"]
        return Rows(self._windows, index[mine[self._windows.take_W[index]]])

    def _draw(self, generator: Generator, count: int, rows: Kind) -> Tensor:
        index = self.index[rows]
        if not len(index):
            raise WorkbenchError(f"there is no {'' if rows == 'both' else rows + ' '}window to learn from", _MORE)
        return index[torch.randint(len(index), (count,), generator=generator)]


_MORE = "Record or choose more takes"


class Windows:
    """All windows of some takes, split by episode into ``train`` and ``held_out``. Not thread-safe.

    Args:
        takes: from ``load_takes``.
        horizon: H, in grid steps. A chunk that runs past a take's end repeats its last target.
        scalers: per source, from a trained Act-VAE; None fits them on the training rows.
        cameras: order of the camera axis; a camera that a take lacks is all zeros.
        pictures: False keeps robot takes without any picture (features are then empty) and drops the feature tensors.
        held_out: share of episodes to measure on, chosen by a hash of their id. hold_out: ids to measure on beside.

    Raises WorkbenchError if no window remains.
    """

    def __init__(
        self,
        takes: Sequence[Take],
        horizon: int,
        *,
        scalers: Mapping[str, ActionScaler] | None = None,
        cameras: Sequence[str] = ("front", "wrist"),
        pictures: bool = True,
        held_out: float = 0.12,
        hold_out: Sequence[str] = (),
        embed: Callable[[str], NDArray[np.float32]] = text.embed,
    ) -> None:
        self.takes = [take for take in takes if not pictures or any(name in take.features for name in cameras)]
        self.horizon = horizon
        self.cameras = tuple(cameras)
        self.instructions = tuple(dict.fromkeys(take.instruction for take in self.takes))
        self._index(self.takes)
        if not len(self.take_W):
            raise WorkbenchError("no take has a window to learn from", _MORE)
        self._features_RCKF = self._gather_features() if pictures else torch.zeros(sum(map(len, self.takes)), 0, 0, 0)
        self._tips_R5 = _gather_tips(self.takes)
        self._text_IE = torch.from_numpy(np.stack([embed(name) for name in self.instructions]))
        if scalers is not None:  # a robot the Act-VAE never saw has no scale; its actions cannot be used
            known = torch.tensor([take.source in scalers for take in self.takes], dtype=torch.bool)
            self.has_action_W &= known[self.take_W]
        self._split(held_out, hold_out)
        self._actions(scalers)
        self._tokens_WN = torch.full((len(self.take_W), 1), _NOTHING)
        self._token_weight_W = torch.zeros(len(self.take_W))

    @property
    def scaler(self) -> ActionScaler:
        """The station's own scale, else that of the largest source."""
        if STATION in self.scalers:
            return self.scalers[STATION]
        sizes = {name: sum(len(t) for t in self.takes if t.source == name) for name in self.scalers}
        return self.scalers[max(sizes, key=lambda name: sizes[name])]

    def batch(self, index_W: Tensor) -> Batch:
        """The windows with these indices."""
        instruction = self._instruction_W[index_W]
        now = self._features_RCKF[self._first_R[index_W]]
        # Whoever looks at whole pictures looks at the present alone, and they are large.
        then = now[:, :0] if self.has_pictures else self._features_RCKF[self._future_R[index_W]]
        return Batch(
            now,
            then,
            self._state_WS[index_W],
            self.has_action_W[index_W],
            self.actions_WHA[index_W],
            self.has_action_W[index_W],
            self._text_IE[instruction],
            instruction,
            self._keyframe_WG[index_W],
            self.is_human_W[index_W],
            self._tips_R5[self._between(index_W)],
            self.take_W[index_W],
            self.row_W[index_W],
            self._tokens_WN[index_W],
            self._token_weight_W[index_W],
        )

    def _between(self, index_W: Tensor) -> Tensor:
        """(B, P) grid rows at t .. t + H; past a take's end its last one."""
        rows = self._first_R[index_W][:, None] + torch.arange(self.horizon + 1)
        return torch.minimum(rows, self._future_R[index_W][:, None])

    def set_tokens(self, tokens_WN: Tensor, weight_W: Tensor) -> None:
        """Give every window its action tokens (-1 = none) and their weights."""
        if len(tokens_WN) != len(self.take_W) or len(weight_W) != len(self.take_W):
            raise ValueError(f"{len(tokens_WN)} token rows for {len(self.take_W)} windows")
        self._tokens_WN, self._token_weight_W = tokens_WN.long(), weight_W.float()

    def _index(self, takes: Sequence[Take]) -> None:
        """Number all windows: row k of a take looks at k and k + H (at most its last row)."""
        take_of, row_of, first, future, human, acts = [], [], [], [], [], []
        start = 0
        for number, take in enumerate(takes):
            rows = np.arange(len(take) - 1)
            last = len(take) - 1
            ends = np.minimum(rows + self.horizon, last)
            seen = take.usable_T[rows] & take.usable_T[ends]
            whole = _all_between(take.usable_T, rows + 1, ends)
            rows, ends, whole = rows[seen & whole], ends[seen & whole], whole[seen & whole]
            take_of.append(np.full(len(rows), number))
            row_of.append(rows)
            first.append(rows + start)
            future.append(ends + start)
            human.append(np.full(len(rows), take.is_human))
            acts.append(np.full(len(rows), take.targets_T8 is not None))
            start += len(take)
        self.take_W = _long(take_of)
        self.row_W = _long(row_of)
        self._first_R = _long(first)
        self._future_R = _long(future)
        self.is_human_W = _long(human).bool()
        self.has_action_W = _long(acts).bool()
        names = {name: at for at, name in enumerate(self.instructions)}
        of_take = torch.tensor([names[take.instruction] for take in takes], dtype=torch.long)
        self._instruction_W = of_take[self.take_W] if len(takes) else self.take_W

    @property
    def has_pictures(self) -> bool:
        """Whether features are whole pictures; then batches hold none of the future."""
        return isinstance(self._features_RCKF, PictureRows)

    def _gather_features(self) -> Tensor | PictureRows:
        first = next(iter(next(iter(self.takes)).features.values()))
        shape = first.shape[1:]
        if first.dtype == np.uint8:
            return PictureRows(self.takes, self.cameras, shape)
        blocks = [
            np.stack([take.features.get(c, np.zeros((len(take), *shape), np.float32)) for c in self.cameras], axis=1)
            for take in self.takes
        ]
        return torch.from_numpy(np.concatenate(blocks))

    def _split(self, share: float, more: Sequence[str]) -> None:
        ids = held_out_ids([(take.episode_id, take.is_human) for take in self.takes], share) | set(more)
        kept = torch.tensor([take.episode_id in ids for take in self.takes], dtype=torch.bool)[self.take_W]
        everything = torch.arange(len(self.take_W))
        self.held_out_ids = ids
        self.train = Rows(self, everything[~kept])
        self.held_out = Rows(self, everything[kept])

    def _actions(self, scalers: Mapping[str, ActionScaler] | None) -> None:
        count = len(self.take_W)
        physical = np.zeros((count, self.horizon, 7))
        self._state_WS = torch.zeros(count, 10)
        self._keyframe_WG = torch.full((count, 3), float("nan"))
        for number, take in enumerate(self.takes):
            where = torch.nonzero(self.take_W == number)[:, 0]
            if take.targets_T8 is None or take.pose_T8 is None or take.state_TS is None or not len(where):
                continue
            rows = self.row_W[where].numpy()
            steps = np.minimum(rows[:, None] + 1 + np.arange(self.horizon), len(take) - 1)
            physical[where.numpy()] = normalize.chunk_actions(take.pose_T8[rows], take.targets_T8[steps])
            self._state_WS[where] = torch.from_numpy(take.state_TS[rows])
            self._keyframe_WG[where] = torch.from_numpy(keyframes(take)[rows])
        self.physical_WH7 = physical
        self.scalers = dict(scalers) if scalers is not None else self._fit_scalers(physical)
        self._normalise(physical)

    def _fit_scalers(self, physical_WH7: NDArray[np.float64]) -> dict[str, ActionScaler]:
        found = {}
        for source in dict.fromkeys(take.source for take in self.takes if take.targets_T8 is not None):
            index = self.windows_of(source, self.train.index["robot"])
            index = index if len(index) else self.windows_of(source, torch.arange(len(self.take_W)))
            if len(index):
                found[source] = ActionScaler.fit(physical_WH7[index.numpy()])
        return found

    def windows_of(self, source: str, index_W: Tensor) -> Tensor:
        """Those of the windows whose take has this source and actions."""
        mine = torch.tensor([t.source == source and t.targets_T8 is not None for t in self.takes], dtype=torch.bool)
        return index_W[mine[self.take_W[index_W]]]

    def _normalise(self, physical_WH7: NDArray[np.float64]) -> None:
        self.actions_WHA = torch.zeros(physical_WH7.shape, dtype=torch.float32)
        for source in dict.fromkeys(take.source for take in self.takes):
            index = self.windows_of(source, torch.arange(len(self.take_W)))
            if source in self.scalers:
                self.actions_WHA[index] = torch.from_numpy(self.scalers[source].normalise(physical_WH7[index.numpy()]))


def _gather_tips(takes: Sequence[Take]) -> Tensor:
    blocks = [np.zeros((len(t), TIP_NUMBERS), np.float32) if t.tips_T5 is None else t.tips_T5 for t in takes]
    return torch.from_numpy(np.concatenate(blocks))


def keyframes(take: Take) -> NDArray[np.float32]:
    """(T, 3) displacement (m) from every row to where the gripper next closes or opens, from what was recorded.

    NaN after the last such event, and where the next one is not worth imitating, such as a policy's wrong grasp.
    """
    found = np.full((len(take), 3), np.nan, dtype=np.float32)
    if take.targets_T8 is None or take.pose_T8 is None:
        return found
    gripper = take.targets_T8[:, 7]
    if np.ptp(gripper) < 0.25:
        return found
    closed = gripper < (gripper.max() + gripper.min()) / 2
    events = np.flatnonzero(closed[1:] != closed[:-1]) + 1
    if not len(events):
        return found
    following = np.searchsorted(events, np.arange(len(take)), side="right")
    has = following < len(events)
    has[has] = take.usable_T[events[following[has]]]
    place = take.pose_T8[:, :3]
    found[has] = place[events[following[has]]] - place[has]
    return found


def _all_between(good_T: NDArray[np.bool_], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether ``good_T[begin : end + 1]`` is all True, per pair."""
    total = np.concatenate([[0], np.cumsum(~good_T)])
    return np.asarray(total[end + 1] == total[begin], dtype=np.bool_)


def _long(parts: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *(np.asarray(p, np.int64) for p in parts)]))
