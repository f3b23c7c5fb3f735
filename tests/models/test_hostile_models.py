"""A policy whose description lies: refused in a sentence, before anything is made of the sizes it claims."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import checkpoint
from models.policy import Policy
from models.policy_model import load_policy_model, policy_model_from
from workbench.core.errors import WorkbenchError

Meta = dict[str, Any]
LIES: dict[str, Callable[[Meta], object]] = {
    "a width that would not fit into memory": lambda m: m["size"].update(width=60_000),
    "a width beyond all measure": lambda m: m["size"].update(width=10**12),
    "layers without end": lambda m: m["size"].update(depth=10**9),
    "layers of the codec without end": lambda m: m["act_vae_recipe"].update(layers=10**9),
    "codes without end": lambda m: m["act_vae_recipe"].update(codes=2**40),
    "an endless horizon": lambda m: m["act_vae_recipe"].update(horizon_s=1e300),
    "a width that is text": lambda m: m["size"].update(width="160"),
    "an unknown size": lambda m: m["size"].update(colour=3),
    "no size": lambda m: m.pop("size"),
    "no scales": lambda m: m.pop("scalers"),
    "scales of nothing": lambda m: m.update(scalers={}),
    "scales of other chunks": lambda m: m["scalers"]["station"].update(half=[[1.0] * 6]),
    "scales without numbers": lambda m: m["scalers"]["station"].update(middle="x"),
    "no encoder": lambda m: m.pop("encoder"),
    "an encoder of an unknown kind": lambda m: m["encoder"].update(kind="os.system"),
    "an encoder of another size": lambda m: m["encoder"]["settings"].update(clusters=3),
    "a flow head of another size": lambda m: m["flow"].update(width=8),
    "no flow head": lambda m: m.update(flow=None),
    "another stage's recipe": lambda m: m.update(recipe=m["act_vae_recipe"]),
    "an unknown setting": lambda m: m["recipe"].update(shell="rm"),
    "cameras that are a number": lambda m: m.update(cameras=2),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_description_is_refused_in_a_sentence(small_policy: Path, lie: Callable[[Meta], object]) -> None:
    tensors, meta = checkpoint.load(small_policy)
    told = copy.deepcopy(meta)
    lie(told)
    with pytest.raises(WorkbenchError) as refusal:
        policy_model_from(tensors, told)
    assert len(str(refusal.value)) < 600
    assert policy_model_from(tensors, meta).cameras == ("front", "wrist")


def test_a_truncated_model_does_not_drive(small_policy: Path, tmp_path: Path) -> None:
    tensors, meta = checkpoint.load(small_policy)
    for cut in (0, 1, len(tensors) // 2):
        checkpoint.save(tmp_path, dict(list(tensors.items())[:cut]), meta)
        with pytest.raises(WorkbenchError):
            Policy.load(tmp_path)
    checkpoint.save(tmp_path, tensors, meta)
    assert load_policy_model(tmp_path).rf is not None
