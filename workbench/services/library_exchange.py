"""The part of the library that brings takes in and hands them on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from storage.layout import Home
from workbench.services.exchange import (
    ExportPlan,
    ExportReport,
    ImportPlan,
    ImportReport,
    ImportSettings,
    StopSwitch,
    bring_in,
    plan_import,
    plan_send_out,
    send_out,
)

Progress = Callable[[int, int], None]


class LibraryExchange:
    """Of one data folder. Methods may be called from any thread; they take their time."""

    _home: Home

    @abstractmethod
    def sync(self) -> tuple[str, ...]:
        """Learn what changed on disk."""

    @abstractmethod
    def _changed(self, *episode_ids: str) -> None:
        """Tell everybody which takes changed."""

    def plan_import(
        self,
        path: Path,
        kind: str = "",
        progress: Progress | None = None,
        *,
        settings: ImportSettings = ImportSettings(),  # noqa: B008  (frozen)
        stop: StopSwitch | None = None,
    ) -> ImportPlan:
        """What ``import_from`` would bring; writes nothing. Blocks: every file is read once."""
        return plan_import(self._home, path, kind, settings, progress, stop)

    def import_from(
        self,
        path: Path,
        kind: str = "",
        progress: Progress | None = None,
        *,
        max_side_px: int | None = None,
        settings: ImportSettings | None = None,
        stop: StopSwitch | None = None,
    ) -> ImportReport:
        """Copy foreign recordings below ``path`` in as takes. Blocks.

        Args:
            kind: the format's name; "" finds it out.
            max_side_px: larger pictures are reduced to this longer side; None keeps them as they are.
            settings: everything that can be said of an import, instead of ``max_side_px``.
            stop: ends it early; what has come until then stays.

        The report names new takes, those imported before, and what was left out and why.
        """
        wanted = settings or ImportSettings(max_side_px)
        report = bring_in(self._home, path, kind, wanted, progress, stop)
        self.sync()
        self._changed(*report.ids)
        return report

    def plan_export(self, episode_ids: Sequence[str], target: Path, kind: str) -> ExportPlan:
        """What ``export_to`` would write; writes nothing."""
        return plan_send_out(self._home, episode_ids, target, kind)

    def export_to(
        self,
        episode_ids: Sequence[str],
        target: Path,
        kind: str,
        progress: Progress | None = None,
        stop: StopSwitch | None = None,
    ) -> ExportReport:
        """Write takes as a new set at ``target``: whole, or nothing is left. Blocks. StoppedError if stopped."""
        return send_out(self._home, episode_ids, target, kind, progress, stop)
