"""Arrays computed from a take and kept, so that nothing is computed twice: features, small pictures, alignments.

They lie below ``cache/<what>/``, named after the take and its content hash, so a take whose contents change finds no
array of its old self. Deleting the whole folder loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.layout import Home
from storage.manifest import Manifest
from workbench.core.files import write_atomic


def derived_path(home: Home, what: str, manifest: Manifest, detail: str) -> Path:
    """Where an array of this take lies: ``what`` says how it is made, with its version; ``detail`` which one it is."""
    return home.cache / what / f"{manifest.id}-{manifest.content_hash[:16]}-{detail}.npy"


def derived(path: Path, make: Callable[[], NDArray[Any]], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """The array at ``path``, mapped read-only; made and kept there if it is missing, broken or not of ``shape``.

    Several processes may ask for the same array: each may make it, all get a whole one. Raises what ``make`` raises.
    """
    found = _mapped(path)
    if found is not None and (shape is None or found.shape == shape):
        return found
    made = np.ascontiguousarray(make())
    buffer = BytesIO()
    np.save(buffer, made, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
    return made


def forget_derived(home: Home, episode_id: str) -> None:
    """Remove every array computed from a take: what is wanted again is computed again."""
    for path in home.cache.rglob(f"{episode_id}-*"):
        path.unlink(missing_ok=True)


def _mapped(path: Path) -> NDArray[Any] | None:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
