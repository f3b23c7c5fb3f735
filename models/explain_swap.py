"""Does the background change what is read? The windows of some takes, what moves in them laid on another background.

Colours and depth pictures are exchanged alike, and everything is read from them anew (``explain_scenes``). Beside it a
sham swap onto the take's own still part, which shows what cutting out alone costs; the same pictures with sensor noise,
which shows how firm a token is at all; and another take's windows, which agree by chance. Letters: Q windows, N tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.by_take import Sums, by_take, look, take_names
from models.data import Windows
from models.explain_figures import metres
from models.explain_scenes import Noise, OnScene, Paint, donors, read_scenes, repainted
from models.vd_vae import VdVaeModel
from storage.layout import Home

MOST_WINDOWS = 96
MOST_TAKES = 24  # all depth pictures of a take must be read
SPARE_TAKES = 6  # training takes whose still part is used where only one take is held out


def swap_figures(home: Home, model: VdVaeModel, windows: Windows, index_W: Tensor) -> dict[str, Any]:
    """How many tokens stay the same, by take of the window, and how far the decoded motion moves.

    ``swap``, ``sham``, ``noise``, ``other``: per take tokens that agree with the untouched window's, tokens.
    ``moved_mm``: root mean square change of the decoded motion for each; ``error_mm``: its distance from the true
    motion, ``plain`` without any change. Returns ``n`` = 0 and a ``reason`` where there are not two takes with pictures
    of equal size.

    Args:
        windows: with the model's cameras in its order. index_W: windows to choose from.
    """
    chosen = _spread(windows, index_W)
    own = set(windows.take_W[chosen].tolist())
    spare = sorted(set(windows.take_W[windows.has_action_W].tolist()) - own)[:SPARE_TAKES]
    scenes = read_scenes(home, model, windows, sorted(own))
    pairs = donors(scenes, scenes if len(scenes) > 1 else read_scenes(home, model, windows, spare))
    chosen = chosen[torch.tensor([int(take) in pairs for take in windows.take_W[chosen]], dtype=torch.bool)]
    if not len(chosen):
        return {"n": 0, "reason": "it takes two takes whose pictures have the same size"}
    paints: dict[str, dict[int, Paint]] = {
        "swap": {take: OnScene(mine, other) for take, (mine, other) in pairs.items()},
        "sham": {take: OnScene(mine, mine) for take, (mine, _) in pairs.items()},
        "noise": {take: Noise(np.random.default_rng(take)) for take in pairs},
    }
    batch = windows.batch(chosen)
    plain = look(model, batch).tokens_BN
    read = {name: look(model, repainted(home, model, windows, chosen, p)).tokens_BN for name, p in paints.items()}
    names = take_names(windows, batch)
    true = metres(model, batch.actions_BHA)
    found: dict[str, Any] = {"n": len(chosen), "takes": len(set(names)), "moved_mm": {}}
    found["error_mm"] = {name: _apart_mm(_told(model, t), true) for name, t in {"plain": plain, **read}.items()}
    for name, tokens in (read | {"other": plain.roll(len(plain) // 2, 0)}).items():
        found[name] = _agreement(names, plain, tokens)
        found["moved_mm"][name] = _apart_mm(_told(model, plain), _told(model, tokens))
    return found


def _spread(windows: Windows, index_W: Tensor) -> Tensor:
    """At most so many of the windows, evenly over at most so many takes."""
    takes = torch.tensor(sorted(set(windows.take_W[index_W].tolist())))
    takes = takes[_even(len(takes), MOST_TAKES)]
    mine = index_W[torch.isin(windows.take_W[index_W], takes)]
    return mine[_even(len(mine), MOST_WINDOWS)]


def _even(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def _agreement(names: list[str], one_QN: Tensor, two_QN: Tensor) -> Sums:
    same = (one_QN == two_QN).sum(1)
    return by_take(names, torch.stack([same, torch.full_like(same, one_QN.shape[1])], dim=1).double().numpy())


def _told(model: VdVaeModel, tokens_QN: Tensor) -> NDArray[np.float64]:
    return metres(model, model.act.net.decode(tokens_QN))


def _apart_mm(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    return float(1000 * np.sqrt(((one - two)[..., :3] ** 2).sum(axis=-1).mean()))
