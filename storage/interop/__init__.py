"""Takes from elsewhere: one file per foreign format, found by importing every module of this package once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.importing import ImportReport, ImportSettings, Progress, TakeFormat
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.registry import Registry

__all__ = ["FORMATS", "FormatConfig", "detect", "import_takes"]


@dataclass(frozen=True)
class FormatConfig:
    """Formats have no settings of their own."""


FORMATS: Registry[TakeFormat] = Registry("take format", "storage.interop")


def detect(path: Path) -> str:
    """The kind of format of a folder. WorkbenchError lists the known formats if it is none of them."""
    if not path.exists():
        raise NotFoundError(f"there is no folder {path}", "Check the path")
    for kind, plugin in FORMATS.all().items():
        if not plugin.missing_reason() and FORMATS.build(kind).detect(path):
            return kind
    titles = "; ".join(plugin.title for plugin in FORMATS.all().values())
    raise WorkbenchError(f"{path} is in no known format", f"Known are: {titles}")


def import_takes(
    path: Path,
    home: Home,
    progress: Progress | None = None,
    *,
    kind: str = "",
    settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
) -> ImportReport:
    """Import every take of a folder. ``kind`` names the format, "" detects it."""
    plugin = FORMATS.build(kind or detect(path))
    return plugin.import_takes(path, home, progress or (lambda done, total: None), settings=settings)
