"""The process that converts a published checkpoint; started by name, so that nobody else loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models.official.importing import Wanted, import_model
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.events import ModelImportProgressed
from workbench.core.link import Link


def main(link: Link, *, home: str, file: str, stage: str, episodes: Sequence[str], **more: str) -> None:
    """Answers ``import`` once, telling of every step; a stop in between ends it before a model is made.

    ``more`` are the other fields of ``Wanted``, as text; "" leaves one as it is.
    """
    torch.set_num_threads(1)
    given: dict[str, Any] = {name: value for name, value in more.items() if value}
    if "statistics" in given:
        given["statistics"] = Path(given["statistics"])
    wanted = Wanted(Path(file), stage, tuple(episodes), **given)

    def tell(what: str, done: int, total: int) -> None:
        link.publish(ModelImportProgressed(what, done, total))
        if not link.serve_pending({}):
            raise WorkbenchError("the import was cancelled", "No model was made")

    def work() -> dict[str, Any]:
        return import_model(Home.open(Path(home)), wanted, tell)

    while link.serve_pending({"import": work}, 0.2):
        pass
