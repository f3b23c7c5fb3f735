"""Picture networks of transformers, opened from a folder or a hub; imported by ``vision`` when a picture is looked at.

No code out of a folder is run, weights must be safetensors, and nothing is fetched unless the source says so.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from models.vision import ONLINE, Family
from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes

_NAMES = f"Name a folder with config.json and model.safetensors, or {ONLINE}<id> to fetch one"


@dataclass(frozen=True)
class LoadedNetwork:
    """A ``vision.Network``."""

    family: Family
    module: nn.Module
    patch: int
    numbers: int
    weights: str

    def look(self, picture: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
        """As the protocol says; class tokens and registers come first and are left out."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255.0
        size = (rows * self.patch, columns * self.patch)
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        mean, spread = (torch.tensor(numbers)[:, None, None] for numbers in (self.family.mean, self.family.spread))
        told = {"interpolate_pos_encoding": True} if self.family.resized else {}
        with torch.no_grad():
            tokens = self.module(pixel_values=(pixels - mean) / spread, **told).last_hidden_state[0]
        found: NDArray[np.float32] = tokens[-rows * columns :].reshape(rows, columns, -1).numpy()
        return found

    def first_weights(self) -> NDArray[np.float32]:
        """As the protocol says: the one layer that works on pixels."""
        found: NDArray[np.float32] = next(p for p in self.module.parameters() if p.dim() == 4).float().numpy()
        return found


@lru_cache(maxsize=2)
def open_network(family: Family, source: str) -> LoadedNetwork:
    """The network in a folder or behind a hub's id, see ``vision.Config.source``.

    WorkbenchError if it cannot be read, is not whole or not one of ``family``.
    """
    if not source:
        raise WorkbenchError(
            f"the encoder '{family.kind}' needs a network", "Say where: encoder_source=FOLDER, see docs/checkpoints.md"
        )
    place = source.removeprefix(ONLINE)
    folder = Path(place).expanduser()
    online = source.startswith(ONLINE)
    module = _load(family, str(folder) if folder.is_dir() and not online else place, online)
    module.eval().requires_grad_(False)
    return LoadedNetwork(
        family, module, int(module.config.patch_size), int(module.config.hidden_size), fingerprint(module)
    )


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all weights by name, the same wherever and in whatever files they lie."""
    parts = []
    for name, value in sorted(module.state_dict().items()):
        parts += [f"{name} {tuple(value.shape)}".encode(), value.contiguous().float().numpy().tobytes()]
    return hash_bytes(*parts)


def _load(family: Family, place: str, online: bool) -> Any:
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    how = {"local_files_only": not online, "trust_remote_code": False}
    try:
        kind = str(transformers.AutoConfig.from_pretrained(place, **how).model_type)
        name = dict(family.networks).get(kind)
        if name is None:
            raise WorkbenchError(f"'{place}' holds a network of the type '{kind}', not {family.title}", _NAMES)
        network = getattr(transformers, name)
        module, told = network.from_pretrained(place, use_safetensors=True, output_loading_info=True, **how)
    except WorkbenchError:
        raise
    except Exception as error:  # a broken folder may fail anywhere in there; whatever it is, the network is not read
        why = str(error).strip().partition("\n")[0][:200]
        raise WorkbenchError(f"no {family.title} network can be read from '{place}' ({why})", _NAMES) from None
    lacking = sorted(str(key) for sort in ("missing_keys", "mismatched_keys") for key in told.get(sort, ()))
    if lacking:
        raise WorkbenchError(f"the network in '{place}' is not whole: it lacks '{lacking[0]}'", "Fetch it anew")
    return module
