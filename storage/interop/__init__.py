"""Takes from elsewhere and for elsewhere: one file per format, found by importing every module of this package once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.exchange import Progress, Watch, nobody_watches
from storage.exporting import ExportFormat
from storage.import_run import preview, run_import
from storage.importing import ImportReport, ImportSettings, Preview, TakeFormat
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.registry import Registry

__all__ = ["EXPORTS", "FORMATS", "FormatConfig", "detect", "import_takes", "preview_takes"]


@dataclass(frozen=True)
class FormatConfig:
    """Formats have no settings of their own."""


FORMATS: Registry[TakeFormat] = Registry("take format", "storage.interop")
EXPORTS: Registry[ExportFormat] = Registry("export format", "storage.interop")
_LAST = "videos"  # any folder with a video in it is one of these, whatever else it is


def detect(path: Path) -> str:
    """The kind of format of a folder. WorkbenchError lists the known formats if it is none of them."""
    if not path.exists():
        raise NotFoundError(f"there is no folder {path}", "Check the path")
    plugins = FORMATS.all()
    for kind in sorted(plugins, key=lambda kind: kind == _LAST):
        if not plugins[kind].missing_reason() and FORMATS.build(kind).detect(path):
            return kind
    titles = "; ".join(plugin.title for plugin in plugins.values())
    raise WorkbenchError(f"{path} is in no known format", f"Known are: {titles}")


def import_takes(
    path: Path,
    home: Home,
    progress: Progress | None = None,
    *,
    kind: str = "",
    settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
    watch: Watch = nobody_watches,
) -> ImportReport:
    """Import every take of a folder. ``kind`` names the format, "" detects it."""
    kind = kind or detect(path)
    sources = FORMATS.build(kind).sources(path, settings)
    return run_import(kind, sources, home, progress or (lambda done, total: None), settings, watch)


def preview_takes(
    path: Path,
    home: Home,
    progress: Progress | None = None,
    *,
    kind: str = "",
    settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
    watch: Watch = nobody_watches,
) -> tuple[str, list[Preview]]:
    """The format's kind and what every take of the folder would become; writes nothing."""
    kind = kind or detect(path)
    sources = FORMATS.build(kind).sources(path, settings)
    return kind, preview(kind, sources, home, progress or (lambda done, total: None), watch)
