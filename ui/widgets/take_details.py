"""What is known of the chosen take, in sentences: quality, marks, what it is part of, what came of it, how it lies."""

from __future__ import annotations

from html import escape

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QFrame, QLabel, QScrollArea

from ui import words
from ui.theme import Theme
from ui.translate import t
from workbench.services.take_facts import TakeFacts


class TakeDetails(QScrollArea):
    """Scrolls by keys when it has the focus; a screen reader gets the same sentences."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._facts: TakeFacts | None = None
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextFormat(Qt.TextFormat.RichText)
        self._label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._label.setContentsMargins(10, 8, 10, 8)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidget(self._label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(t("What is known of the take"))
        theme.changed.connect(self._paint)
        self._paint()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is on show, without markup."""
        return tuple(f"{head}: {text}" for head, _, text in _lines(self._facts)) if self._facts is not None else ()

    def show_facts(self, facts: TakeFacts | None) -> None:
        """Show these; None for no take."""
        if facts != self._facts or facts is None:
            self._facts = facts
            self._paint()

    def _paint(self) -> None:
        colours = self._theme.colours
        lines = _lines(self._facts) if self._facts is not None else []
        parts = [
            f'<p style="margin:0 0 5px 0"><b style="color:{getattr(colours, ink)}">{escape(head)}</b>&nbsp; '
            f"{escape(text)}</p>"
            for head, ink, text in lines
        ]
        self._label.setText("".join(parts))
        self.setAccessibleDescription(" ".join(self.sentences))


def summary(facts: TakeFacts) -> str:
    """One short line: what a person should not overlook."""
    parts = []
    if facts.remarks:
        parts.append(f"▲ {words.count(len(facts.remarks), 'remark')} (D)")
    elif facts.checked:
        parts.append(t("✔ no remark"))
    parts += [f"#{tag}" for tag in facts.tags]
    if facts.sets:
        parts.append(t("in {names}", names=", ".join(facts.sets)))
    if facts.models:
        parts.append(t("learnt from by {models}", models=words.count(len(facts.models), "model")))
    if facts.driven_by:
        parts.append(t("driven by {model}", model=facts.driven_by[:8]))
    if facts.blurred:
        parts.append(t("faces blurred"))
    if facts.archived is not None:
        parts.append(t("archived"))
    return " · ".join(parts)


def _lines(facts: TakeFacts) -> list[tuple[str, str, str]]:
    """(heading, colour, sentence)."""
    lines = [_remark(flag, sentence) for flag, sentence in facts.remarks]
    if not lines:
        done = (t("✔ Quality"), "good", t("The check found nothing to remark."))
        lines.append(
            done if facts.checked else (t("? Quality"), "dim", t("Not checked yet; it happens in the background."))
        )
    lines.append((t("# Tags"), "dim", ", ".join(facts.tags) or t("none")))
    lines.append((t("Part of"), "dim", ", ".join(facts.sets) or t("no collection or snapshot")))
    learnt = ", ".join(f"{model_id} ({words.stage(stage)})" for model_id, stage in facts.models)
    lines.append((t("Models that learnt from it"), "dim", learnt or t("none yet")))
    if facts.driven_by:
        lines.append((t("Driven by"), "dim", t("the model {model}", model=facts.driven_by)))
    if facts.split_of:
        lines.append((t("Cut from"), "dim", t("the take {take}", take=facts.split_of)))
    if facts.blurred:
        pictures = words.count(facts.blurred, "picture")
        blurred = t("blurred in {pictures}; as it was: the take {take}", pictures=pictures, take=facts.blurred_of)
        lines.append((t("Faces"), "dim", blurred))
    lines.append((t("Stored"), "dim", _stored(facts)))
    return lines


def _remark(flag: str, sentence: str) -> tuple[str, str, str]:
    look = words.quality((flag,), checked=True)
    said = f"{sentence[:1].upper()}{sentence[1:]}." if sentence else t("An earlier check left no sentence.")
    return f"{look.symbol} {words.flag(flag).capitalize()}", look.colour, said


def _stored(facts: TakeFacts) -> str:
    archived = facts.archived
    if archived is None:
        return t("as recorded; the compact form would not be smaller") if facts.not_worth else t("as recorded")
    said = t("archived: {before} became {after}", before=words.size(archived.before), after=words.size(archived.after))
    if archived.psnr_db is None:
        return said
    return said + t(", pictures alike to {db} dB or better", db=f"{archived.psnr_db:.1f}")
