"""A person's clip beside the robot takes that the alignment reads most alike."""

from __future__ import annotations

from PyQt6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ui.theme import Theme
from ui.translate import t
from ui.widgets.picture import Picture
from workbench.services.alignment_pictures import Neighbours, Shot

ROBOTS = 3


class NeighboursView(QWidget):
    """Above the clip, now and at the end of the chunk; below the nearest robot windows."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.human = (Picture(t("The clip now"), theme), Picture(t("At the end of the motion"), theme))
        self.robots = tuple(Picture(t("Robot take {n}", n=n + 1), theme) for n in range(ROBOTS))
        self.words, self.note = QLabel(), QLabel()
        self.note.setProperty("dim", True)
        for words in (self.words, self.note):
            words.setWordWrap(True)
            words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.words)
        pictures = QGridLayout()
        pictures.setSpacing(6)
        for place, picture in enumerate(self.human):
            pictures.addWidget(picture, 0, 3 * place, 1, 3)
        for place, picture in enumerate(self.robots):
            pictures.addWidget(picture, 1, 2 * place, 1, 2)
        pictures.setRowStretch(0, 6)
        pictures.setRowStretch(1, 5)
        column.addLayout(pictures, 1)
        column.addWidget(self.note)
        self.show_nothing(t("No clip of a person was held out."))

    def show_nothing(self, why: str) -> None:
        """No pictures; ``why`` stands in their place."""
        self.words.setText(why)
        self.note.setText("")
        for picture in (*self.human, *self.robots):
            picture.show_pixels(None, "")
            picture.set_facts("")

    def show_neighbours(self, near: Neighbours, number: int, count: int) -> None:
        """Clip ``number`` of ``count``, counted from 0."""
        head = t("Clip {n} of {count}: “{words}”", n=number + 1, count=count, words=near.human.words)
        self.words.setText(f"{head}   ←  →")
        for picture, pixels, facts in zip(
            self.human,
            (near.human.now, near.human.then),
            (t("now, confidence {value}", value=f"{near.confidence:.2f}"), t("at the end of the motion")),
            strict=True,
        ):
            picture.show_pixels(pixels)
            picture.set_facts(facts)
        for place, picture in enumerate(self.robots):
            shot = near.robots[place] if place < len(near.robots) else None
            picture.show_pixels(shot.now if shot else None, t("No further take"))
            picture.set_facts(_similar(shot))
        self.note.setText(_explained(near))


def _similar(shot: Shot | None) -> str:
    return "" if shot is None or shot.cosine is None else t("similarity {value}", value=f"{shot.cosine:.2f}")


def _explained(near: Neighbours) -> str:
    if near.human.drawn:
        return t(
            "Orange: the motion read off the clip, begun where most moves. White: what the robot's tool really did."
        )
    if any(shot.drawn for shot in near.robots):
        return t("White: what the robot's tool really did.")
    return t("No motion is drawn: the camera's place is not known. Calibrate it to see motions in its pictures.")
