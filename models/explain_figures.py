"""Figures of an alignment's report, as sums by take, so that whoever reads them can draw intervals.

Letters: B rows, H steps, N tokens, K codes; 7 action numbers (m, rad, gripper -1..+1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import judge, normalize
from models.by_take import Sums, by_take, look, motion_sums, take_names
from models.data import Batch, Windows
from models.vd_net import Glance
from models.vd_vae import VdVaeModel

BINS = 10
PROBE_ROWS = 4000
Floats = NDArray[np.float64]


def metres(model: VdVaeModel, actions_BHA: Tensor) -> Floats:
    """Normalised chunks in metres, radians and gripper sign; scale of the station (see ``ActVaeModel.scaler``)."""
    return model.act.scaler.invert(actions_BHA.numpy())


def error_sums(names_B: list[str], told_BH7: Floats, true_BH7: Floats) -> Sums:
    """Per take: steps, squared distances (mm2), squared angles (deg2), right gripper signs; the same of the last step
    only (windows, mm2)."""
    square = 1e6 * ((told_BH7 - true_BH7)[..., :3] ** 2).sum(axis=-1)
    turn = normalize.multiply(
        normalize.from_rotation_vector(told_BH7[..., 3:6]),
        normalize.conjugate(normalize.from_rotation_vector(true_BH7[..., 3:6])),
    )
    angle = np.degrees(np.linalg.norm(normalize.rotation_vector(turn), axis=-1)) ** 2
    grip = (told_BH7[..., 6] > 0) == (true_BH7[..., 6] > 0)
    steps = np.full(len(square), float(square.shape[1]))
    columns = [steps, square.sum(axis=1), angle.sum(axis=1), grip.sum(axis=1), np.ones(len(square)), square[:, -1]]
    return by_take(names_B, np.stack(columns, axis=1))


def switch_sums(names_B: list[str], told_BH7: Floats, true_BH7: Floats) -> Sums:
    """How well opening and closing are timed. Per take: chunks in which the gripper truly switches, those of them where
    the told one switches the same way, steps between the two, chunks without a switch, and those told with one."""
    true_at, true_to = _switch(true_BH7[..., 6] > 0)
    told_at, told_to = _switch(told_BH7[..., 6] > 0)
    truly = true_at >= 0
    found = truly & (told_at >= 0) & (told_to == true_to)
    apart = np.where(found, np.abs(told_at - true_at), 0)
    columns = [truly, found, apart, ~truly, ~truly & (told_at >= 0)]
    return by_take(names_B, np.stack([column.astype(np.float64) for column in columns], axis=1))


def _switch(open_BH: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The step of every chunk at which the gripper first differs from the step before, -1 = never; and to what."""
    changed = open_BH[:, 1:] != open_BH[:, :-1]
    at = np.where(changed.any(axis=1), changed.argmax(axis=1) + 1, -1)
    return at, ~open_BH[:, 0]


def token_sums(names_B: list[str], seen_BN: Tensor, true_BN: Tensor) -> Sums:
    """Per take: tokens right, tokens that would be right by always saying the commonest one, tokens."""
    common = torch.mode(true_BN, dim=0).values
    columns = [(seen_BN == true_BN).sum(1), (true_BN == common).sum(1), torch.full((len(true_BN),), true_BN.shape[1])]
    return by_take(names_B, torch.stack(columns, dim=1).double().numpy())


def probe_sums(model: VdVaeModel, windows: Windows, held: Batch, seen: Glance) -> dict[str, Sums]:
    """Ridge probes of the displacement at t + H (m), fitted on training rows, as ``motion_sums`` of the held-out ones.

    From the action latents, from the irrelevant latents, from the plain difference of the two pictures' features (what
    anybody could read without training), and from action latents of the wrong rows (what a probe of that size scores
    by luck).
    """
    rows = windows.train.all("robot", PROBE_ROWS)
    fitted = look(model, rows)
    goal, true = metres(model, rows.actions_BHA)[:, -1, :3], metres(model, held.actions_BHA)[:, -1, :3]
    wrong = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    pairs = {
        "action": (fitted.latent_BND, seen.latent_BND),
        "irrelevant": (fitted.irrelevant_BMD, seen.irrelevant_BMD),
        "difference": (rows.future_BCKF - rows.features_BCKF, held.future_BCKF - held.features_BCKF),
        "shuffled": (fitted.latent_BND[wrong], seen.latent_BND),
    }
    names = take_names(windows, held)
    return {
        name: motion_sums(names, judge.ridge(mine.flatten(1), torch.from_numpy(goal), its.flatten(1)), true)
        for name, (mine, its) in pairs.items()
    }


def reliability(model: VdVaeModel, seen: Glance, true_BN: Tensor) -> dict[str, Any]:
    """How often a token is right that the model is so sure of: one row per tenth of the probability it gives.

    ``ece``: mean distance between the two, weighted by tokens (expected calibration error; Guo et al. 2017, eq. 3).
    """
    chance = model.net.log_chance(seen.latent_BND).gather(-1, seen.tokens_BN[..., None])[..., 0].exp().flatten()
    right = (seen.tokens_BN == true_BN).flatten().double()
    place = (chance * BINS).long().clamp(0, BINS - 1)
    rows = []
    for number in range(BINS):
        mine = place == number
        if bool(mine.any()):
            said, was = float(chance[mine].mean()), float(right[mine].mean())
            edges = {"from": number / BINS, "to": (number + 1) / BINS}
            rows.append({**edges, "n": int(mine.sum()), "confidence": said, "right": was})
    total = sum(row["n"] for row in rows)
    ece = sum(row["n"] * abs(row["confidence"] - row["right"]) for row in rows) / max(1, total)
    return {"bins": rows, "ece": ece, "n": total}


def sureness(confidence_B: Tensor, told_BH7: Floats, true_BH7: Floats, groups: int = 4) -> list[dict[str, float]]:
    """Windows in groups of equal size from unsure to sure: mean confidence and root mean square error (mm)."""
    order = np.argsort(confidence_B.numpy(), kind="stable")
    square = 1e6 * ((told_BH7 - true_BH7)[..., :3] ** 2).sum(axis=-1).mean(axis=1)
    parts = [part for part in np.array_split(order, groups) if len(part)]
    return [
        {
            "n": len(part),
            "confidence": float(confidence_B.numpy()[part].mean()),
            "rmse_mm": float(np.sqrt(square[part].mean())),
        }
        for part in parts
    ]
