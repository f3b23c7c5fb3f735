"""What the writers of LeRobot data sets have in common: which takes go together, and how many there are by now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.lerobot_rows import RowSet
from storage.manifest import Manifest

CHUNK = 1000  # files per folder


class LerobotWriter:
    """A data set in ``root`` that is being written.

    Attributes:
        rows: what all its takes share; left_out: streams that the format has no place for.
    """

    def __init__(self, root: Path, rows: RowSet) -> None:
        self.root = root
        self.rows = rows
        self.left_out = rows.left_out
        (root / "meta").mkdir(parents=True)

    @property
    def episodes(self) -> int:
        """Takes written so far."""
        return self.rows.episodes

    @property
    def frames(self) -> int:
        """Rows of all of them."""
        return self.rows.frames


def streams_left_out(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """The streams of these takes that a data set would not have. WorkbenchError if they do not go together."""
    return RowSet.begin(manifests).left_out
