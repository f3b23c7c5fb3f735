"""Charts of the arrays a training stage leaves in its run folder: codes, errors by step, chunks, retrieval.

Letters: B windows, U gallery items, H steps of a chunk, 7 = x y z (m), rotation vector (rad), gripper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.services.blocks import Block
from workbench.services.figures import bar_chart, heat_map, line_chart, path_panels

Arrays = Mapping[str, NDArray[Any]]
GALLERY_SHOWN = 56
_PER_STEP, _HEADS = ".per_step_mm", ("decoded", "chunks")


def array_blocks(path: Path) -> list[Block]:
    """Figures of one ``.npz`` file of a run; arrays that nobody can look at are left out."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name]) for name in file.files}
    return [*_codes(arrays), *_retrieval(arrays), *_errors(arrays), *_chunks(arrays)]


def own_item_matrix(matrix_BU: NDArray[Any], tokens_BN: NDArray[Any], most: int = GALLERY_SHOWN) -> NDArray[np.float64]:
    """A square piece of a similarity matrix whose diagonal is everybody's own action.

    The gallery's columns are the distinct token strings in sorted order; for some of them, evenly spread, the first
    window with that string is the row.
    """
    _, first_U = np.unique(tokens_BN, axis=0, return_index=True)
    chosen = np.unique(np.linspace(0, len(first_U) - 1, min(most, len(first_U))).round().astype(int))
    return np.asarray(matrix_BU[first_U[chosen]][:, chosen], np.float64)


def _codes(arrays: Arrays) -> Iterator[Block]:
    if "code_counts" in arrays:
        yield Block("How often each code of the book is used", svg=bar_chart(np.sort(arrays["code_counts"])[::-1]))


def _retrieval(arrays: Arrays) -> Iterator[Block]:
    for prefix, words in (("", ""), ("control.", " (the control, trained beside it)")):
        if prefix + "retrieval" in arrays and prefix + "tokens_true" in arrays:
            square = own_item_matrix(arrays[prefix + "retrieval"], arrays[prefix + "tokens_true"])
            caption = f"Pictures (rows) against actions (columns){words}: a dark diagonal means each finds its own"
            yield Block(caption, picture=heat_map(square), shape="square")


def _errors(arrays: Arrays) -> Iterator[Block]:
    series = {
        name.removesuffix(_PER_STEP): (list(range(1, len(values) + 1)), [float(value) for value in values])
        for name, values in arrays.items()
        if name.endswith(_PER_STEP) and values.ndim == 1
    }
    if series:
        yield Block("Position error by step of the chunk, mm", svg=line_chart(series, y_label="mm"))


def _chunks(arrays: Arrays) -> Iterator[Block]:
    """Held-out chunks as paths: what was done in ink, what was decoded or predicted in colour."""
    for name, true in arrays.items():
        if name.rpartition(".")[2] != "true" or true.ndim != 3:
            continue
        prefix = name.removesuffix("true")
        told = {
            other.removesuffix("." + kind): values
            for kind in _HEADS
            for other, values in arrays.items()
            if other.endswith("." + kind) and other.startswith(prefix) and values.shape == true.shape
        }
        if told:
            words = f"Held-out chunks{' of ' + prefix[:-1] if prefix else ''}: done (grey) and told (colour)"
            yield Block(words, svg=path_panels(true[..., :3], {k: v[..., :3] for k, v in told.items()}), shape="wide")
