"""What a comparison has done so far, on disk after every step, so that a killed one goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_json

FILE_NAME = "notes.json"
_PARTS = ("takes", "runs", "trials", "measured")


@dataclass(slots=True)
class Notes:
    """Everything that was paid for. All keys are stable names, so that nothing is done twice.

    Attributes:
        about: what the notes belong to (size, seed); other notes in the same folder are refused.
        takes: id of every recorded take by its job.
        runs: by name of a training: ``run``, and once it is done ``model`` and ``seconds``.
        trials: by name of a drive: success by task and seed.
        measured: plain values by name of a measurement.
    """

    folder: Path
    about: dict[str, Any]
    takes: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, dict[str, bool]] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, about: dict[str, Any]) -> Notes:
        """The notes of a folder, or new ones. WorkbenchError if they are about something else."""
        path = folder / FILE_NAME
        if not path.exists():
            return cls(folder, about)
        value = read_json(path)
        if value.get("about") != about:
            raise WorkbenchError(
                f"the notes in {folder} belong to another comparison ({value.get('about')})", "Choose another --home"
            )
        return cls(folder, about, **{part: value[part] for part in _PARTS})

    def save(self) -> None:
        """Replace the file at once."""
        write_json(self.folder / FILE_NAME, {"about": self.about, **{part: getattr(self, part) for part in _PARTS}})
