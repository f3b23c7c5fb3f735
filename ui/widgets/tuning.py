"""One click: what it would use, how long it takes, why it cannot be pressed; and, folded away, what may be changed."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from ui import words
from ui.actions import Actions
from ui.pages.page import card, chooser, fill_chooser, label, row
from ui.records import ModelEntry
from ui.theme import Theme
from ui.translate import mark, t, tn
from ui.widgets.button import CommandButton
from ui.widgets.chooser import Tick
from ui.widgets.rows import Column, RowsModel, RowsTable
from workbench.core.errors import WorkbenchError
from workbench.services.finetune import Candidate
from workbench.services.finetune_plan import LADDER, TRIALS, Offer, Options
from workbench.services.finetune_time import shown_time

_WHY = {
    "demonstration": mark("demonstration"),
    "correction": mark("you took over"),
    "success": mark("the policy's own success"),
}
_HOLD = (mark("as usual"), mark("stronger, more rehearsal"), mark("strongest, learns slower"))
_MOST_WARNINGS = 4
_AS_THE_RUNG_SAYS = -1
_HARD_SPACE = "\u00a0"  # a number stays with its unit


class TuningSummary(QWidget):
    """The left side: one sentence, the reasons, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.sentence = label("", "title", wrap=True)
        self.details = label("", "dim", wrap=True)
        self.warnings = label("", wrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for widget in (self.sentence, self.details, self.warnings):
            column.addWidget(widget)

    def looking(self) -> None:
        """Before the answer is there."""
        self._say(t("◔ Looking for new takes"))

    def refused(self, error: WorkbenchError) -> None:
        """Why nothing can be fine-tuned."""
        self._say(t("Nothing to learn yet"), "", f"▲ {error.what[0].upper()}{error.what[1:]}. {error.next_step}.")

    def show_offer(self, offer: Offer) -> None:
        """What one click would do."""
        material, plan = offer.material, offer.plan
        takes, tasks = len(material.episodes), len(material.takes_per_task)
        seconds = plan.estimate.seconds
        about = (
            t("time not known yet")
            if seconds is None
            else t("about {time}", time=shown_time(seconds).replace(" ", _HARD_SPACE))
        )
        counts = f"{words.count(takes, 'take')}, {words.count(tasks, 'task')}"
        lines = [f"{words.task(task)}: {words.count(n, 'take')}" for task, n in material.takes_per_task.items()]
        lines.append(
            tn(
                "{n} old take is rehearsed, {steps} steps",
                "{n} old takes are rehearsed, {steps} steps",
                len(material.replay),
                steps=offer.steps,
            )
        )
        measured = sum(map(len, plan.measured.values()))
        lines.append(
            tn(
                "then both models are compared on {n} held-out take",
                "then both models are compared on {n} held-out takes",
                measured,
            )
        )
        if plan.trials:
            lines.append(t("and driven {n} times per task", n=plan.trials))
        lines.append(plan.estimate.how)
        shown = plan.warnings[:_MOST_WARNINGS]
        more = len(plan.warnings) - len(shown)
        warned = [f"▲ {words.task(warning)}" for warning in shown]
        warned += [tn("and {n} more remark", "and {n} more remarks", more)] if more else []
        self._say(f"{counts}, {about}", "\n".join(f"·{_HARD_SPACE}{line}" for line in lines), "\n".join(warned))

    def _say(self, sentence: str, details: str = "", warnings: str = "") -> None:
        for widget, text in ((self.sentence, sentence), (self.details, details), (self.warnings, warnings)):
            widget.setText(text)
            widget.setVisible(bool(text))


class TuningOptions(QWidget):
    """The folded part: model to start from, takes with reasons and ticks, and how it is done.

    Args:
        changed: called after a person changed something.
    """

    def __init__(self, theme: Theme, actions: Actions, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self._ticked: dict[str, bool] = {}
        self._models: tuple[str, ...] = ()
        self.base = chooser(t("Model to start from"))
        self.preset = chooser(t("How long to train"))
        self.hold = chooser(t("How hard to hold on to what it knew"))
        self.trials = _number(t("Attempts per task and model"), 0, 100, TRIALS)
        self.replay = _number(t("Share of old takes in percent"), _AS_THE_RUNG_SAYS, 90, _AS_THE_RUNG_SAYS)
        self.matching = _number(
            t("Weight of Knowledge Matching in percent"), _AS_THE_RUNG_SAYS, 1000, _AS_THE_RUNG_SAYS
        )
        self.corrections = Tick(t("Learn from corrections"))
        self.corrections.setChecked(True)
        self.own = Tick(t("Learn from its own successes"))
        self.takes = _takes_model(theme, self.is_ticked)
        self.table = RowsTable(self.takes, theme, t("Takes to learn from"))
        self._build(actions)
        self._bind()

    def options(self) -> Options:
        """What was chosen."""
        changes = {}
        if self.replay.value() >= 0:
            changes["replay_share"] = self.replay.value() / 100
        if self.matching.value() >= 0:
            names = ("km_token_weight", "km_velocity_weight", "km_regression_weight")
            changes |= dict.fromkeys(names, self.matching.value() / 100)
        return Options(
            preset=self.preset.currentData() or "station",
            trials=self.trials.value(),
            rung=self.hold.currentData() or 0,
            changes=changes,
        )

    def chosen(self) -> tuple[str, ...] | None:
        """Ids of the ticked takes, or None while everything is as proposed."""
        if not self._ticked and self.corrections.isChecked() and not self.own.isChecked():
            return None
        return tuple(take.episode_id for take in self.takes.records if self.is_ticked(take))

    def is_ticked(self, take: Candidate) -> bool:
        """Whether a take is learned from."""
        if take.episode_id in self._ticked:
            return self._ticked[take.episode_id]
        if take.why == "correction":
            return take.chosen and self.corrections.isChecked()
        if take.why == "success":
            return self.own.isChecked() and not take.trouble
        return take.chosen

    def tick(self) -> None:
        """Take or leave the take in the chosen row."""
        for place in self.table.chosen():
            take = self.takes.records[place]
            if take.usable:
                self._ticked[take.episode_id] = not self.is_ticked(take)
        self._redraw()

    def show_takes(self, takes: tuple[Candidate, ...]) -> None:
        """Everything the model has not seen."""
        self.takes.replace(takes)

    def show_models(self, models: tuple[ModelEntry, ...]) -> None:
        """What can be started from."""
        drivers = [model for model in models if model.stage == "rf"]
        known, self._models = self._models, tuple(model.id for model in drivers)
        entries: list[tuple[str, str | None]] = [(t("The one in use, else the newest"), None)]
        entries += [(f"{model.id[:12]} · {words.when(model.created_at)}", model.id) for model in drivers]
        fill_chooser(self.base, entries)
        if known != self._models:
            self._changed()  # the newest may be another one now; the ticks stay

    def _build(self, actions: Actions) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        frame, inside = card()
        inside.addWidget(label(t("Options"), "title"))
        for pair in (
            ((t("Starting from"), self.base), (t("How long"), self.preset)),
            ((t("Hold on to the old"), self.hold), (t("Attempts per task"), self.trials)),
            ((t("Old takes in a batch"), self.replay), (t("Weight of matching"), self.matching)),
        ):
            inside.addLayout(row(*(part for words_, widget in pair for part in (label(words_, "heading"), widget))))
        line = row(self.corrections, self.own)
        line.addStretch(1)
        line.addWidget(CommandButton(actions, "finetune.tick"))
        inside.addLayout(line)
        inside.addWidget(self.table, 1)
        column.addWidget(frame)

    def _bind(self) -> None:
        fill_chooser(self.preset, [(_preset_words(name), name) for name in words.PRESETS])
        fill_chooser(self.hold, [(t(said), rung) for rung, said in enumerate(_HOLD[: len(LADDER)])])
        self.show_models(())
        for combo in (self.base, self.preset, self.hold):
            combo.currentIndexChanged.connect(lambda _index: self._changed())
        for number in (self.trials, self.replay, self.matching):
            number.valueChanged.connect(lambda _value: self._changed())
        for box in (self.corrections, self.own):
            box.toggled.connect(lambda _on: self._redraw())
        self.base.currentIndexChanged.connect(lambda _index: self._ticked.clear())

    def _redraw(self) -> None:
        chosen = self.table.chosen()
        records = self.takes.records
        self.takes.replace(())
        self.takes.replace(records)
        self.table.choose(chosen)
        self._changed()


def _takes_model(theme: Theme, ticked: Callable[[Candidate], bool]) -> RowsModel[Candidate]:
    columns: tuple[Column[Candidate], ...] = (
        Column("", lambda take: "✔" if ticked(take) else "–", 36, lambda take: "good" if ticked(take) else "dim"),
        Column(t("Task"), lambda take: words.task(take.task)),
        Column(t("Why"), _why, 196),
        Column(t("What speaks against it"), lambda take: take.trouble, 210, lambda take: "warn"),
        Column(t("Take"), lambda take: take.episode_id[:12], 124),
    )
    return RowsModel(theme, columns, lambda take: take.episode_id, lambda take: take.episode_id)


def _why(take: Candidate) -> str:
    said = t(_WHY.get(take.why, take.why))
    return f"{said} ({take.corrected_s:.1f} s)" if take.corrected_s else said


def _preset_words(name: str) -> str:
    said = t(words.PRESETS[name])
    return f"{name}: {said[0].lower()}{said[1:]}"


def _number(name: str, low: int, high: int, value: int) -> QSpinBox:
    made = QSpinBox()
    made.setRange(low, high)
    if low < 0:
        made.setSpecialValueText(t("as above"))
        made.setSuffix(" %")
    made.setValue(value)
    made.setAccessibleName(name)
    made.setMinimumWidth(96)
    return made
