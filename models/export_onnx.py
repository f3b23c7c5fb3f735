"""Networks as ONNX graphs for other programs, each compared with the original on real inputs before it is kept."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.export_graphs import GRAPHS, Graph
from models.policy_model import load_policy_model
from models.registry import ModelRecord
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_json

OPSET = 18
TOLERANCE = 1e-4  # largest difference to this program's own answers, in normalised units, metres and radians
FOLDER = "onnx"
_PACKAGES = ("onnx", "onnxruntime")


def write_graphs(home: Home, record: ModelRecord, source: Path, folder: Path) -> list[dict[str, Any]]:
    """Write every graph of a model below ``folder/onnx`` and compare it; returns what was found, as plain values.

    WorkbenchError if the stage has none, a package is missing, or a graph answers otherwise than the model.
    """
    if record.stage not in GRAPHS:
        raise WorkbenchError(
            f"a model of the stage {record.stage} has no ONNX form: it reads takes in this program, no robot asks it",
            "Export it without ONNX",
        )
    onnx, runtime = (_package(name) for name in _PACKAGES)
    (folder / FOLDER).mkdir()
    with torch.no_grad():
        graphs = GRAPHS[record.stage](home, record, source)
    if "instruction" in graphs[0].inputs:
        model = load_policy_model(source)
        vectors = {name: [float(number) for number in model.ntp.embed(name)] for name in model.instructions}
        write_json(folder / FOLDER / "instructions.json", vectors)
    return [_write(graph, record, folder / FOLDER, onnx, runtime) for graph in graphs]


def _write(graph: Graph, record: ModelRecord, folder: Path, onnx: Any, runtime: Any) -> dict[str, Any]:
    path = folder / f"{graph.name}.onnx"
    rows = [torch.from_numpy(values) for values in graph.inputs.values()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of sizes it takes as fixed; they are
            torch.onnx.export(
                graph.module.eval(),
                tuple(values[:1].clone() for values in rows),
                str(path),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                opset_version=OPSET,
                dynamo=False,  # the newer exporter takes twenty times as long for the same graph
            )
        made = onnx.load(str(path))
        onnx.helper.set_model_props(made, {"model": record.id, "stage": record.stage, "recipe": record.recipe_hash})
        onnx.checker.check_model(made)
        onnx.save(made, str(path))
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except WorkbenchError:
        raise
    except Exception as error:
        raise WorkbenchError(
            f"{graph.name} cannot be written as ONNX ({str(error).partition(chr(10))[0][:300]})",
            "Export it without ONNX",
        ) from error
    return _compared(graph, session, rows, path)


def _compared(graph: Graph, session: Any, rows: list[Tensor], path: Path) -> dict[str, Any]:
    """Both on every row; the file stays only if they agree."""
    worst = dict.fromkeys(graph.outputs, 0.0)
    with torch.no_grad():
        for k in range(len(rows[0])):
            row = [values[k : k + 1] for values in rows]
            fed = dict(zip(graph.inputs, (values.numpy() for values in row), strict=True))
            given = dict(zip(graph.outputs, session.run(list(graph.outputs), fed), strict=True))
            for name, own in graph.answer(row).items():
                worst[name] = max(worst[name], float(np.abs(given[name].astype(np.float64) - own).max()))
    off = {name: error for name, error in worst.items() if not error <= TOLERANCE}
    if off:
        raise WorkbenchError(
            f"the ONNX form of {graph.name} answers otherwise than the model (by {max(off.values()):.2g})",
            "Export it without ONNX",
        )
    example: dict[str, Any] = {**fed, **{f"out.{name}": value for name, value in given.items()}}
    np.savez(path.with_suffix(".example.npz"), **example)
    return {
        "file": f"{FOLDER}/{path.name}",
        "inputs": {name: [1, *values.shape[1:]] for name, values in graph.inputs.items()},
        "outputs": {name: list(given[name].shape) for name in graph.outputs},
        "opset": OPSET,
        "rows": len(rows[0]),
        "rows_from": graph.source,
        "max_difference": worst,
        "tolerance": TOLERANCE,
    }


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WorkbenchError(
            f"the package '{name}' is needed to write ONNX and cannot be loaded ({error})",
            f"Install it with `pip install {name}`, or export without ONNX",
        ) from error


def about(graphs: list[dict[str, Any]]) -> str:
    """The card's part about the graphs."""
    lines = ["", "## ONNX", "", "| graph | inputs | outputs | largest difference | rows |", "|---|---|---|---|---|"]
    for graph in graphs:
        sides = (
            ", ".join(f"`{name}` {'x'.join(map(str, shape))}" for name, shape in graph[side].items())
            for side in ("inputs", "outputs")
        )
        worst = max(graph["max_difference"].values())
        lines.append(
            f"| `{graph['file']}` | {' | '.join(sides)} | {worst:.1e} | {graph['rows']}, {graph['rows_from']} |"
        )
    return "\n".join([*lines, "", _MEANING, ""])


_MEANING = """One observation at a time. `features`: what the picture encoder in the weights gives per camera (see
`statistics.json` for the cameras' order); `state`: x y z (m), six numbers of rotation, gripper -1 closed to 1 open;
`instruction`: the vector of a sentence in `onnx/instructions.json`. `chunk` is normalised; `actions` are relative to
the pose at the start: x y z (m), rotation vector (rad), gripper -1 to 1 (where `binary_gripper` is true in
`statistics.json`, take its sign). Step k is due k + 1 steps later. Beside every graph lies one input with the answer
that is to be expected."""
