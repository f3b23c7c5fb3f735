"""The process that writes a model into a folder of its own; started by name, so that nobody else loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from models.export import export_model
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.events import ModelExportProgressed
from workbench.core.link import Link


def main(link: Link, *, home: str, model_id: str, dest: str, card: str, onnx: bool) -> None:
    """Answers ``export`` once, telling of every step; a stop in between ends it with nothing left behind."""
    torch.set_num_threads(1)

    def tell(what: str, done: int, total: int) -> None:
        link.publish(ModelExportProgressed(model_id, what, done, total))
        if not link.serve_pending({}):
            raise WorkbenchError("the export was cancelled", "Nothing was left behind")

    def export() -> dict[str, Any]:
        return export_model(Home.open(Path(home)), model_id, Path(dest), card, onnx=onnx, tell=tell)

    while link.serve_pending({"export": export}, 0.2):
        pass
