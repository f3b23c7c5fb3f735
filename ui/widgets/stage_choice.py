"""Training one stage from nothing: what it is for, how long, and from which kinds of takes."""

from __future__ import annotations

from collections import Counter

from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui import words
from ui.pages.page import chooser, fill_chooser, label
from ui.records import Brief
from ui.translate import t
from ui.widgets.chooser import Tick

_KINDS = ("teleop", "human", "imported")


class StageChoice(QWidget):
    """Lives on the fine-tune page, for those who build models from the ground."""

    def __init__(self) -> None:
        super().__init__()
        self.purpose = label("", "dim", wrap=True)
        self.preset = chooser(t("How long to train"))
        self.kinds = {kind: Tick(words.kind(kind)) for kind in _KINDS}
        self.summary = label("", wrap=True)
        self._takes: tuple[Brief, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for widget in (self.purpose, label(t("How long"), "heading"), self.preset):
            column.addWidget(widget)
        column.addWidget(label(t("Learn from takes of"), "heading"))
        for kind, box in self.kinds.items():
            box.setAccessibleName(t("Learn from takes of kind {kind}", kind=words.kind(kind)))
            box.toggled.connect(lambda _on: self._summarise())
            column.addWidget(box)
        column.addWidget(self.summary)
        presets = [(name, t(said)) for name, said in words.PRESETS.items()]
        fill_chooser(self.preset, [(f"{name}: {said[0].lower()}{said[1:]}", name) for name, said in presets])

    def show_stage(self, name: str) -> None:
        """Offer the kinds that a stage learns from."""
        stage = words.STAGES[name]
        self.purpose.setText(t(stage.purpose))
        for kind, box in self.kinds.items():
            box.blockSignals(True)
            box.setEnabled(kind in stage.kinds)
            box.setChecked(kind in stage.kinds)
            box.blockSignals(False)
        self._summarise()

    def show_takes(self, takes: tuple[Brief, ...]) -> None:
        """What there is to learn from."""
        self._takes = takes
        usable = Counter(take.kind for take in takes if take.outcome != "failure")
        for kind, box in self.kinds.items():
            box.setText(f"{words.kind(kind)}  ({usable.get(kind, 0)})")
        self._summarise()

    def takes(self) -> list[str]:
        """Ids of the takes of the ticked kinds, failures left out."""
        kinds = {kind for kind, box in self.kinds.items() if box.isChecked() and box.isEnabled()}
        return [take.id for take in self._takes if take.kind in kinds and take.outcome != "failure"]

    def _summarise(self) -> None:
        count = len(self.takes())
        if count:
            said = t("{takes} to learn from; failures are left out.", takes=words.count(count, "take"))
        else:
            said = t("▲ Nothing to learn from yet: record takes (Ctrl+1) or import some.")
        self.summary.setText(said)
