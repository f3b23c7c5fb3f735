"""Does the background change what is read? The two pictures of a window, their still parts taken from another take.

What stands still in a take is the median over some of its pictures; what differs from it by more than a threshold, and
a margin around that, is what moves: the arm or hand and what it carries. In the swapped pair the moving part of both
pictures lies on the still part of another take. Beside it a sham swap onto the take's own still part, which shows
what cutting out alone costs. Letters: Q windows, N tokens, C cameras, K, F of the encoder, h, w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.by_take import Sums, by_take, look, take_names
from models.data import Batch, Windows
from models.explain_figures import metres
from models.takes import Take
from models.vd_vae import VdVaeModel
from storage.episode import Episode
from storage.layout import Home
from storage.windows import fresh_items
from workbench.core.errors import WorkbenchError

MOST_WINDOWS = 96
STILL_PICTURES = 11
SPARE_TAKES = 6  # training takes whose still part is used where only one take is held out
THRESHOLD = 28  # of 255, largest channel
MARGIN = 1 / 80  # of the picture's width
Pixels = NDArray[np.uint8]


def still_part(pictures: list[Pixels]) -> Pixels:
    """(h, w, 3) per-pixel median over pictures of one camera of one take."""
    return np.asarray(np.median(np.stack(pictures), axis=0), np.uint8)


def moving_part(picture: Pixels, still: Pixels) -> NDArray[np.bool_]:
    """(h, w) pixels that differ from the still part, and a margin around them."""
    differs = np.abs(picture.astype(np.int16) - still).max(axis=2) > THRESHOLD
    grown = differs.copy()
    for _ in range(max(1, round(picture.shape[1] * MARGIN))):
        step = grown.copy()
        step[1:] |= grown[:-1]
        step[:-1] |= grown[1:]
        step[:, 1:] |= grown[:, :-1]
        step[:, :-1] |= grown[:, 1:]
        grown = step
    return np.asarray(grown, np.bool_)


def pasted(picture: Pixels, still: Pixels, onto: Pixels) -> Pixels:
    """The moving part of a picture on another still part."""
    return np.where(moving_part(picture, still)[..., None], picture, onto)


def swap_figures(home: Home, model: VdVaeModel, windows: Windows, index_W: Tensor) -> dict[str, Any]:
    """How many tokens stay the same, by take of the window, and how far the decoded motion moves.

    ``swap``, ``sham``, ``other``: per take tokens that agree, tokens; ``other`` compares with a window of another take
    and says what agreement by chance is. ``moved_mm``: root mean square change of the decoded motion for each.
    Returns ``n`` = 0 and a ``reason`` where there are not two takes with pictures of equal size.

    Args:
        windows: with the model's cameras in its order. index_W: windows to choose from.
    """
    chosen = index_W[torch.linspace(0, len(index_W) - 1, min(MOST_WINDOWS, len(index_W))).round().long()]
    own = set(windows.take_W[chosen].tolist())
    spare = sorted(set(windows.take_W[windows.has_action_W].tolist()) - own)[:SPARE_TAKES]
    scenes = _scenes(home, model, windows, sorted(own))
    pairs = _donors(scenes, scenes if len(scenes) > 1 else _scenes(home, model, windows, spare))
    chosen = chosen[torch.tensor([int(take) in pairs for take in windows.take_W[chosen]], dtype=torch.bool)]
    if not len(chosen):
        return {"n": 0, "reason": "it takes two takes whose pictures have the same size"}
    batch = windows.batch(chosen)
    plain = look(model, batch).tokens_BN
    read = {
        "swap": look(model, _repainted(home, model, windows, chosen, pairs, own=False)).tokens_BN,
        "sham": look(model, _repainted(home, model, windows, chosen, pairs, own=True)).tokens_BN,
        "other": plain.roll(len(plain) // 2, 0),
    }
    names = take_names(windows, batch)
    found: dict[str, Any] = {"n": len(chosen), "takes": len(set(names)), "moved_mm": {}}
    for name, tokens in read.items():
        found[name] = _agreement(names, plain, tokens)
        found["moved_mm"][name] = _moved_mm(model, plain, tokens)
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """The still part of one take by camera, of those that deliver."""

    take: int
    still: dict[str, Pixels]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {camera: picture.shape for camera, picture in self.still.items()}


def _scenes(home: Home, model: VdVaeModel, windows: Windows, takes: Sequence[int]) -> list[_Scene]:
    """Of those takes that can be read."""
    found = []
    for take in takes:
        try:
            with Episode.open(home, windows.takes[take].episode_id) as episode:
                still = {camera: _still(episode, camera) for camera in _delivering(windows.takes[take], model)}
        except WorkbenchError:
            continue  # it was read a moment ago to train on; what has gone bad since is left out here
        if still:
            found.append(_Scene(take, still))
    return found


def _delivering(take: Take, model: VdVaeModel) -> list[str]:
    return [camera for camera in model.cameras if camera in take.features]


def _still(episode: Episode, camera: str) -> Pixels:
    stream = f"observation.images.{camera}"
    count = episode.manifest.counts[stream]
    places = sorted({int(at) for at in np.linspace(0, count - 1, STILL_PICTURES)})
    return still_part([episode.read(stream, at) for at in places])


def _donors(scenes: list[_Scene], donors: list[_Scene]) -> dict[int, tuple[_Scene, _Scene]]:
    """By take its own scene and that of another take with pictures of the same size, far off in the list."""
    pairs = {}
    for place, scene in enumerate(scenes):
        others = [donor for donor in (*donors[place:], *donors[:place]) if donor.take != scene.take]
        fitting = [other for other in others if other.shapes == scene.shapes]
        if fitting:
            pairs[scene.take] = (scene, fitting[len(fitting) // 2])
    return pairs


def _repainted(
    home: Home,
    model: VdVaeModel,
    windows: Windows,
    chosen: Tensor,
    pairs: Mapping[int, tuple[_Scene, _Scene]],
    *,
    own: bool,
) -> Batch:
    """The windows with the features of their pictures after the swap; ``own``: onto their own still part."""
    batch = windows.batch(chosen)
    now, then = batch.features_BCKF.clone(), batch.future_BCKF.clone()
    for take, (scene, other) in pairs.items():
        mine = torch.nonzero(batch.take_B == take)[:, 0].tolist()
        with Episode.open(home, windows.takes[take].episode_id) as episode:
            for camera, still in scene.still.items():
                read = _Reader(
                    episode, camera, windows.takes[take], model, still, (scene if own else other).still[camera]
                )
                place = model.cameras.index(camera)
                for q in mine:
                    row = int(batch.row_B[q])
                    now[q, place] = read(row)
                    then[q, place] = read(min(row + windows.horizon, len(windows.takes[take]) - 1))
    return replace(batch, features_BCKF=now, future_BCKF=then)


class _Reader:
    """Features of single rows of a take after its still part was exchanged."""

    def __init__(
        self, episode: Episode, camera: str, take: Take, model: VdVaeModel, still: Pixels, onto: Pixels
    ) -> None:
        self._episode, self._stream, self._encoder = episode, f"observation.images.{camera}", model.encoder
        rate_hz = episode.manifest.streams[self._stream].rate_hz
        self._index, _ = fresh_items(episode.times(self._stream)[1], take.t_ns, rate_hz, model.recipe.step_s)
        self._still, self._onto = still, onto

    def __call__(self, row: int) -> Tensor:
        """(K, F) of the newest picture at a row."""
        picture = self._episode.read(self._stream, int(self._index[row]))
        return torch.from_numpy(self._encoder.encode(pasted(picture, self._still, self._onto)))


def _agreement(names: list[str], one_QN: Tensor, two_QN: Tensor) -> Sums:
    same = (one_QN == two_QN).sum(1)
    return by_take(names, torch.stack([same, torch.full_like(same, one_QN.shape[1])], dim=1).double().numpy())


def _moved_mm(model: VdVaeModel, one_QN: Tensor, two_QN: Tensor) -> float:
    first, second = (metres(model, model.act.net.decode(tokens))[..., :3] for tokens in (one_QN, two_QN))
    return float(1000 * np.sqrt(((first - second) ** 2).sum(axis=-1).mean()))
