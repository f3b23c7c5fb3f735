"""What an alignment's report shows: a map of latents, the robot windows nearest to human ones, and motions as paths.

Only places are written (take, time, pose); whoever shows them reads the pictures. Letters: M points of the map, Q human
windows, R = 3 neighbours, P robot windows, H steps; metres in the arm's base frame unless relative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.act_vae import measured_on
from models.by_take import look, take_names
from models.data import Batch, Windows
from models.explain_figures import metres
from models.vd_vae import VdVaeModel

MAP_POINTS = 700  # of each embodiment
QUERIES, NEIGHBOURS, GALLERY, DRAWN = 24, 3, 3000, 12
Arrays = dict[str, NDArray[Any]]


@torch.no_grad()
def exhibits(model: VdVaeModel, windows: Windows) -> Arrays:
    """All arrays by name; those that need human clips are absent without any."""
    robots = measured_on(windows, "robot")[0]
    humans = measured_on(windows, "human")[0]
    arrays = {"camera": np.array(model.cameras[0]), "step_s": np.array(model.recipe.step_s)}
    arrays |= _map(model, robots.all("robot", MAP_POINTS), humans.all("human", MAP_POINTS))
    arrays |= _drawn(model, windows, robots.all("robot", DRAWN))
    if humans.count("human"):
        arrays |= _near(model, windows, humans.all("human", QUERIES), robots.all("robot", GALLERY))
    return arrays


def _map(model: VdVaeModel, robots: Batch, humans: Batch) -> Arrays:
    """``map.xy`` (M, 2): first two principal components of the action latents of both embodiments together,
    ``map.share`` (2,) of their variance, ``map.human`` (M,), ``map.told`` (M, 3) decoded displacement at t + H (m)."""
    looks = [look(model, batch) for batch in (robots, humans) if len(batch)]
    items = torch.cat([model.net.item(seen.latent_BND) for seen in looks]).double()
    told = torch.cat([seen.tokens_BN for seen in looks])
    centred = items - items.mean(0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    share = singular.square() / singular.square().sum().clamp_min(1e-12)
    return {
        "map.xy": (centred @ axes[:2].T).numpy().astype(np.float32),
        "map.share": share[:2].numpy(),
        "map.human": np.repeat([False, True], [len(robots), len(humans)]),
        "map.told": _told(model, told)[:, -1].astype(np.float32),
    }


def _near(model: VdVaeModel, windows: Windows, queries: Batch, gallery: Batch) -> Arrays:
    """``near.human``, ``near.human_ns`` (Q, 2), ``near.confidence``, ``near.told`` (Q, H, 3) relative; of the robot
    windows with the most similar latents, at most one of a take: ``near.robot`` (Q, R), ``near.robot_ns`` (Q, R, 2),
    ``near.cosine``, ``near.path`` (Q, R, H + 1, 3) the tool's true way. Missing neighbours: "" and NaN."""
    asked, offered = look(model, queries), look(model, gallery)
    items = [functional.normalize(model.net.item(seen.latent_BND), dim=1) for seen in (asked, offered)]
    cosine_QG = (items[0] @ items[1].T).numpy()
    names, count = np.array(take_names(windows, gallery)), len(queries)
    found: Arrays = {
        "near.robot": np.full((count, NEIGHBOURS), "", dtype="<U64"),
        "near.robot_ns": np.zeros((count, NEIGHBOURS, 2), np.int64),
        "near.cosine": np.full((count, NEIGHBOURS), np.nan),
        "near.path": np.full((count, NEIGHBOURS, windows.horizon + 1, 3), np.nan),
    }
    for q in range(count):
        best = np.argsort(-cosine_QG[q], kind="stable")
        _, first = np.unique(names[best], return_index=True)
        for r, g in enumerate(best[np.sort(first)][:NEIGHBOURS]):
            take, row = int(gallery.take_B[g]), int(gallery.row_B[g])
            found["near.robot"][q, r] = names[g]
            found["near.robot_ns"][q, r] = _times(windows, take, row)
            found["near.cosine"][q, r] = cosine_QG[q, g]
            found["near.path"][q, r] = _path(windows, take, row)
    return found | {
        "near.human": np.array(take_names(windows, queries), dtype="<U64"),
        "near.human_ns": _all_times(windows, queries),
        "near.confidence": model.net.confidence(asked).numpy(),
        "near.told": _told(model, asked.tokens_BN),
    }


def _drawn(model: VdVaeModel, windows: Windows, rows: Batch) -> Arrays:
    """``drawn.take``, ``drawn.ns`` (P, 2), ``drawn.path`` (P, H + 1, 3) the tool's true way, ``drawn.told`` likewise as
    decoded from the pictures, from the same start."""
    seen = look(model, rows)
    where = list(zip(rows.take_B.tolist(), rows.row_B.tolist(), strict=True))
    path = np.stack([_path(windows, take, row) for take, row in where])
    told = path[:, :1] + np.concatenate([np.zeros((len(rows), 1, 3)), _told(model, seen.tokens_BN)], axis=1)
    names = np.array(take_names(windows, rows), dtype="<U64")
    return {"drawn.take": names, "drawn.ns": _all_times(windows, rows), "drawn.path": path, "drawn.told": told}


def _told(model: VdVaeModel, tokens_BN: Tensor) -> NDArray[np.float64]:
    return metres(model, model.act.net.decode(tokens_BN))[..., :3]


def _path(windows: Windows, take: int, row: int) -> NDArray[np.float64]:
    """(H + 1, 3) measured positions of the tool from a row on; at the take's end the last one is repeated."""
    pose = windows.takes[take].pose_T8
    if pose is None:
        return np.full((windows.horizon + 1, 3), np.nan)
    rows = np.minimum(row + np.arange(windows.horizon + 1), len(pose) - 1)
    return np.asarray(pose[rows, :3], np.float64)


def _times(windows: Windows, take: int, row: int) -> tuple[int, int]:
    """Host times of the two pictures of a window."""
    t_ns = windows.takes[take].t_ns
    return int(t_ns[row]), int(t_ns[min(row + windows.horizon, len(t_ns) - 1)])


def _all_times(windows: Windows, rows: Batch) -> NDArray[np.int64]:
    pairs = [_times(windows, int(t), int(r)) for t, r in zip(rows.take_B, rows.row_B, strict=True)]
    return np.array(pairs, np.int64).reshape(-1, 2)
