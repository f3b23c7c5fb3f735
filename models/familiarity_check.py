"""How often the hint "unlike anything the model was trained on" is right: false alarms on takes that were held out,
detections on what the model does not know. Run as ``python -m models.familiarity_check HOME MODEL``.

The statistics are fitted here, on the takes the model was trained on and by the code that training uses, so that models
that were trained before there were such statistics can be judged too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import familiarity
from models.data import Take, Windows, load_takes
from models.policy_model import PolicyModel, load_policy_model
from models.registry import model_folder, read_record
from models.token_head import NtpNet
from storage.episode import Episode
from storage.layout import Home
from storage.windows import fresh_items
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome

Pictures = dict[str, NDArray[np.uint8]]
_EVERY = 8  # rows between pictures that are changed and encoded again
_MOST_TAKES = 160


def check(home: Home, model_id: str, most: int = _MOST_TAKES) -> dict[str, Any]:
    """Share of rows beyond the limit, by what is shown; ``n`` rows of ``takes`` takes each.

    ``held_out``: known tasks, takes kept out of the statistics (every alarm is false). ``new_task``: demonstrations of
    tasks the model was never shown. Then held-out pictures, changed: ``frozen_wrist`` and ``frozen_front`` (that camera
    shows the take's first picture), ``swapped`` (each camera shows another's picture), ``moved`` (the first camera is
    shifted by a twentieth of its width), ``dark`` (half as bright). ``as_they_are``: the same pictures, unchanged.
    """
    model, record = load_policy_model(model_folder(home, model_id)), read_record(home, model_id)
    if not isinstance(model.ntp, NtpNet):
        raise WorkbenchError(
            f"the model {model_id} looks at whole pictures", "Choose one that looks at colour clusters"
        )
    known = _some(_demonstrations(home, [episode_id for episode_id, _ in record.data]), most)
    windows = _windows(home, model, known)
    rows = windows.train.all("robot")
    found = familiarity.fit(rows.features_BCKF, rows.take_B)
    if found is None:
        raise WorkbenchError(f"the model {model_id} has too few takes on disk", "Choose another data folder")
    left = windows.held_out.all("robot")
    shares = {"held_out": _share(found, left.features_BCKF, left.take_B)}
    shares |= _of_new_tasks(home, model, found, record.data, most // 4)
    held = [take for take in windows.takes if take.episode_id in windows.held_out_ids]
    for name, change in CHANGES.items():
        shares[name] = _share(found, *_changed(home, model, held, change))
    return {"model": model_id, "limit": round(found.limit, 3), "takes": len(known), "beyond_the_limit": shares}


def _demonstrations(home: Home, ids: list[str], *, others: bool = False) -> list[str]:
    """Successful demonstrations among (or not among) these takes, oldest first."""
    wanted = set(ids)
    there = sorted(path.name.removesuffix(".zarr") for path in home.episodes.glob("*.zarr"))
    return [each for each in there if (each in wanted) is not others and _is_good(home, each)]


def _is_good(home: Home, episode_id: str) -> bool:
    try:
        with Episode.open(home, episode_id) as episode:
            return episode.manifest.kind is EpisodeKind.TELEOP and episode.manifest.outcome is not Outcome.FAILURE
    except WorkbenchError:
        return False


def _some(ids: list[str], most: int) -> list[str]:
    return ids[:: max(1, len(ids) // most)][:most]


def _windows(home: Home, model: PolicyModel, ids: list[str]) -> Windows:
    takes = load_takes(home, ids, model.encoder, model.cameras, model.recipe.step_s)
    return Windows(takes, model.recipe.horizon, cameras=model.cameras, held_out=0.2)


def _of_new_tasks(
    home: Home, model: PolicyModel, found: familiarity.Familiarity, data: tuple[tuple[str, str], ...], most: int
) -> dict[str, Any]:
    seen = [episode_id for episode_id, _ in data]
    new = _some(_demonstrations(home, seen, others=True), most)
    if not new:
        return {}
    rows = _windows(home, model, new).train.all("robot")
    return {"new_task": _share(found, rows.features_BCKF, rows.take_B)}


def _share(found: familiarity.Familiarity, features_BCKF: Tensor, take_B: Tensor) -> dict[str, Any]:
    beyond = (found.distance(features_BCKF) > found.limit).double()
    by_take = [float(beyond[take_B == take].mean()) for take in torch.unique(take_B)]
    return {
        "share": round(float(beyond.mean()), 4),
        "takes_with_any": sum(share > 0 for share in by_take),
        "takes": len(by_take),
        "n": len(beyond),
    }


# pictures that are not what they seem --------------------------------------------------------------------------------


def _moved(now: Pictures, _first: Pictures) -> Pictures:
    name = next(iter(now))
    by = max(1, now[name].shape[1] // 20)
    return {**now, name: np.concatenate([now[name][:, :1].repeat(by, axis=1), now[name][:, :-by]], axis=1)}


def _frozen(place: int) -> Callable[[Pictures, Pictures], Pictures]:
    def change(now: Pictures, first: Pictures) -> Pictures:
        name = list(now)[min(place, len(now) - 1)]
        return {**now, name: first[name]}

    return change


def _swapped(now: Pictures, _first: Pictures) -> Pictures:
    names = list(now)
    return {name: now[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}


CHANGES: Mapping[str, Callable[[Pictures, Pictures], Pictures]] = {
    "as_they_are": lambda now, _first: now,
    "frozen_front": _frozen(0),
    "frozen_wrist": _frozen(1),
    "swapped": _swapped,
    "moved": _moved,
    "dark": lambda now, _first: {name: picture // 2 for name, picture in now.items()},
}


def _changed(
    home: Home, model: PolicyModel, takes: list[Take], change: Callable[[Pictures, Pictures], Pictures]
) -> tuple[Tensor, Tensor]:
    """Features of every eighth row's pictures after a change, and the take of each."""
    features, of_take = [], []
    for number, take in enumerate(takes):
        with Episode.open(home, take.episode_id) as episode:
            shown = [_pictures(episode, model.cameras, take, row) for row in range(0, len(take) - 1, _EVERY)]
        for now in shown:
            pictures = change(now, shown[0])
            features.append(np.stack([model.encoder.encode(pictures[name]) for name in model.cameras]))
            of_take.append(number)
    return torch.from_numpy(np.stack(features)), torch.tensor(of_take)


def _pictures(episode: Episode, cameras: tuple[str, ...], take: Take, row: int) -> Pictures:
    found: Pictures = {}
    for camera in cameras:
        stream = f"observation.images.{camera}"
        rate_hz = episode.manifest.streams[stream].rate_hz
        index, _ = fresh_items(episode.times(stream)[1], take.t_ns[row : row + 1], rate_hz, 1.0 / take.rows_hz)
        found[camera] = episode.read(stream, int(index[0]))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(check(Home.open(Path(sys.argv[1]), create=False), sys.argv[2]), indent=1))
