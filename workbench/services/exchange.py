"""Takes from elsewhere and for elsewhere: what would come or go, is there room, do it, stop it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.exchange import Progress, StoppedError
from storage.exporting import ExportPlan, ExportReport, export_takes, plan_export
from storage.importing import ImportReport, ImportSettings, Preview
from storage.interop import EXPORTS, FORMATS, import_takes, preview_takes
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.disk_room import estimate_bytes_per_s

__all__ = [
    "ExportPlan",
    "ExportReport",
    "ImportPlan",
    "ImportReport",
    "ImportSettings",
    "Preview",
    "StopSwitch",
    "StoppedError",
    "bring_in",
    "export_formats",
    "import_formats",
    "plan_import",
    "plan_send_out",
    "send_out",
]

_LEAST_FREE = 256_000_000
_LOOK_EVERY = 200  # pictures between two looks at the disk


class StopSwitch:
    """Stops an import or export from another thread, within one picture; called by the work itself."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def stop(self) -> None:
        """Stop the work. Any thread, as often as you like."""
        self._event.set()

    def __call__(self) -> None:
        """StoppedError once ``stop`` was called."""
        if self._event.is_set():
            raise StoppedError("it was stopped", "What was only half done is removed")


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would bring.

    Attributes:
        format, title: as it was recognised.
        takes: every take of the source.
        bytes_needed: about, for the new ones; free_bytes: on the data folder's disk.
    """

    format: str
    title: str
    takes: tuple[Preview, ...]
    bytes_needed: int
    free_bytes: int

    @property
    def new(self) -> tuple[Preview, ...]:
        return tuple(take for take in self.takes if not take.known and not take.problem)

    @property
    def known(self) -> tuple[Preview, ...]:
        return tuple(take for take in self.takes if take.known)

    @property
    def broken(self) -> tuple[Preview, ...]:
        return tuple(take for take in self.takes if take.problem)

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it, with some to spare."""
        return self.bytes_needed + _LEAST_FREE < self.free_bytes


def import_formats() -> Mapping[str, str]:
    """Titles of the formats that can be read, by name."""
    return {kind: plugin.title for kind, plugin in FORMATS.all().items()}


def export_formats() -> Mapping[str, str]:
    """Titles of the formats that can be written, by name."""
    return {kind: plugin.title for kind, plugin in EXPORTS.all().items()}


def plan_import(
    home: Home,
    path: Path,
    kind: str = "",
    settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
    stop: StopSwitch | None = None,
) -> ImportPlan:
    """Look at everything below ``path`` without writing anything. Reads all files once, to know what is here already.

    WorkbenchError if the format is not known; StoppedError.
    """
    format_name, takes = preview_takes(path, home, progress, kind=kind, settings=settings, watch=stop or StopSwitch())
    needed = sum(_bytes(take) for take in takes if not take.known and not take.problem)
    return ImportPlan(format_name, FORMATS.get(format_name).title, tuple(takes), needed, home.free_bytes())


def bring_in(
    home: Home,
    path: Path,
    kind: str = "",
    settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
    stop: StopSwitch | None = None,
) -> ImportReport:
    """Copy foreign recordings in. A take for which the disk has no room is left out and reported."""
    watch = _Watch(home, stop or StopSwitch())
    return import_takes(path, home, progress, kind=kind, settings=settings, watch=watch)


def plan_send_out(home: Home, episode_ids: Sequence[str], target: Path, kind: str) -> ExportPlan:
    """What an export would write; WorkbenchError if a take is not there or the format is not known."""
    return plan_export(home, episode_ids, target, EXPORTS.build(kind))


def send_out(
    home: Home,
    episode_ids: Sequence[str],
    target: Path,
    kind: str,
    progress: Progress | None = None,
    stop: StopSwitch | None = None,
) -> ExportReport:
    """Write takes as a new set at ``target``, whole or not at all. WorkbenchError says what is in the way."""
    form = EXPORTS.build(kind)
    plan, free = plan_export(home, episode_ids, target, form), free_at(target)
    if plan.problem:
        raise WorkbenchError(plan.problem)
    if plan.bytes_needed > free:
        raise WorkbenchError(
            f"the export may need {plan.bytes_needed / 1e9:.2f} GB and {target.parent} has {free / 1e9:.2f} GB left",
            "Choose another disk or fewer takes",
        )
    quiet: Progress = lambda done, total: None  # noqa: E731
    return export_takes(home, episode_ids, target, form, progress or quiet, stop or StopSwitch())


def free_at(target: Path) -> int:
    """Bytes left on the disk where a folder that need not exist yet would lie."""
    place = target.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


class _Watch:
    """The stop switch, and now and then a look at the disk."""

    def __init__(self, home: Home, stop: StopSwitch) -> None:
        self._home = home
        self._stop = stop
        self._calls = 0

    def __call__(self) -> None:
        self._stop()
        if self._calls % _LOOK_EVERY == 0 and self._home.free_bytes() < _LEAST_FREE:
            self._calls = 0  # the next take looks again
            raise WorkbenchError("the disk is nearly full", "Free some space and import again: nothing is doubled")
        self._calls += 1


def _bytes(take: Preview) -> int:
    return take.bytes or round(take.seconds * estimate_bytes_per_s(take.streams))
