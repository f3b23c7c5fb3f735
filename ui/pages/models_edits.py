"""What the models page does to models: into use and back, out of the house, to the trash and back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui import words
from ui.translate import t
from workbench.core.errors import WorkbenchError
from workbench.services.model_export import ModelExport, default_folder
from workbench.services.model_shelf import against_deleting, delete, promote, restore, rollback

if TYPE_CHECKING:
    from ui.pages.models import ModelsPage

_LANE = "jobs"
_EXPORT_LANE = "exchange"


class ModelEdits:
    """Answers the commands that change models. Works on the one that is chosen at that moment. Window's thread.

    Attributes:
        deleted: ids of the models thrown away here and not yet brought back, the latest last.
    """

    def __init__(self, page: ModelsPage) -> None:
        self._page = page
        self._export: ModelExport | None = None
        self.deleted: list[str] = []
        bind, ask = page.desk.actions.bind, page.ask_line
        bind("models.promote", self._promote)
        bind("models.rollback", self._rollback)
        bind("models.delete", self._delete)
        bind("models.undo", self._undo)
        bind("models.export", lambda: self._ask_folder(onnx=False))
        bind("models.export_onnx", lambda: self._ask_folder(onnx=True))
        bind("models.cancel", self._cancel)
        bind("models.agree", ask.agree)

    @property
    def exporting(self) -> bool:
        """A model is being written."""
        return self._export is not None

    # into use -------------------------------------------------------------------------------------------------------

    def _promote(self) -> None:
        chosen = self._page.chosen
        if chosen is None:
            return
        if chosen.refused:
            question = t("It did not pass the check for forgetting. Why use it all the same?")
            self._page.ask_line.ask_name(question, lambda reason: self._put_into_use(chosen.id, reason))
        else:
            self._put_into_use(chosen.id, "")

    def _put_into_use(self, model_id: str, reason: str) -> None:
        home = self._page.desk.home
        self._page.ask(_LANE, lambda: promote(home, model_id, reason), self._in_use)

    def _rollback(self) -> None:
        chosen, home = self._page.chosen, self._page.desk.home
        stage = chosen.stage if chosen is not None else "rf"
        self._page.ask(_LANE, lambda: rollback(home, stage), self._in_use)

    def _in_use(self, record: Any) -> None:
        self._page.notice.done(
            t("{stage} {model} is in use now", stage=words.stage(record.stage), model=record.id[:12])
        )
        self._page.handed(record.id)
        self._page.reload()

    # away and back --------------------------------------------------------------------------------------------------

    def _delete(self) -> None:
        """Ask first where something speaks against it."""
        chosen, home = self._page.chosen, self._page.desk.home
        if chosen is None:
            return
        model_id = chosen.id

        def come(against: str) -> None:
            if not against:
                self._throw_away(model_id)
                return
            question = t("{model}: {reason}. To the trash all the same?", model=model_id[:12], reason=against)
            self._page.ask_line.ask_really(question, lambda: self._throw_away(model_id))

        self._page.ask(_LANE, lambda: against_deleting(home, model_id), come)

    def _throw_away(self, model_id: str) -> None:
        home, library = self._page.desk.home, self._page.desk.library

        def work() -> None:
            delete(home, model_id, force=True)
            if library is not None:
                library.sync()

        def done(_nothing: None) -> None:
            self.deleted.append(model_id)
            self._page.notice.done(t("{model} is in the trash; Ctrl+Z brings it back", model=model_id[:12]))
            self._page.reload()

        self._page.ask(_LANE, work, done)

    def _undo(self) -> None:
        if not self.deleted:
            return
        home, library, model_id = self._page.desk.home, self._page.desk.library, self.deleted.pop()

        def work() -> str:
            restore(home, model_id)
            if library is not None:
                library.sync()
            return model_id

        def done(_id: str) -> None:
            self._page.notice.done(t("{model} is back", model=model_id[:12]))
            self._page.handed(model_id)
            self._page.reload()

        self._page.ask(_LANE, work, done)

    # out of the house -----------------------------------------------------------------------------------------------

    def _ask_folder(self, *, onnx: bool) -> None:
        """Where to; a place below the data folder is proposed."""
        chosen, home, ask = self._page.chosen, self._page.desk.home, self._page.ask_line
        if chosen is None:
            return
        model_id = chosen.id

        def come(proposed: Path) -> None:
            ask.ask_name(t("Into the new folder"), lambda path: self._write(model_id, Path(path), onnx))
            ask.name.setText(str(proposed))
            ask.name.selectAll()

        self._page.ask(_LANE, lambda: default_folder(home, model_id), come)

    def _write(self, model_id: str, dest: Path, onnx: bool) -> None:
        page, bridge = self._page, self._page.desk.bridge
        work = self._export = ModelExport(page.desk.home, model_id, dest, onnx=onnx)
        page.progress.setRange(0, 0)
        page.progress.show()
        page.notice.busy(t("Writing {model}", model=model_id[:12]))

        def progress(what: str, done: int, total: int) -> None:
            bridge.post(lambda: self._show_progress(work, what, done, total))

        bridge.run_in_background(lambda: work.run(progress), self._written, self._not_written, lane=_EXPORT_LANE)

    def _show_progress(self, work: ModelExport, what: str, done: int, total: int) -> None:
        if work is self._export:
            self._page.progress.setRange(0, total)
            self._page.progress.setValue(done)
            self._page.progress.setFormat(what)

    def _written(self, result: dict[str, Any]) -> None:
        self._ended()
        said = t("Written to {path}, read again and found the same", path=result["dest"])
        graphs = [max(graph["max_difference"].values()) for graph in result["onnx"]]
        if graphs:
            said += t("; its ONNX form answers as it does, within {worst}", worst=f"{max(graphs):.0e}")
        self._page.notice.done(said)

    def _not_written(self, error: WorkbenchError) -> None:
        self._ended()
        self._page.notice.error(error)

    def _ended(self) -> None:
        self._export = None
        self._page.progress.hide()
        self._page.notice.clear_busy()

    def _cancel(self) -> None:
        """In a thread of its own: the process may need a moment to end."""
        if self._export is not None:
            threading.Thread(target=self._export.cancel, name="end-export", daemon=True).start()

    def close(self) -> None:
        """End what goes on."""
        self._cancel()
