"""What went wrong or is going on, in words, inside the page. Never a dialog: a moving arm waits for no click."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QColor, QPainter, QPaintEvent
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ui.style import mix
from ui.theme import Theme
from ui.translate import t
from workbench.core.errors import WorkbenchError

_SYMBOLS = {"bad": "▲", "busy": "◔", "good": "✔", "warn": "▲"}
_SHORT_MS = 6000


class Notice(QWidget):
    """A bar that appears when there is something to say.

    Args:
        keep: told everything that is said (tone, what, next step), so that it can be read afterwards.
    """

    def __init__(
        self, theme: Theme, keep: Callable[[str, str, str], object] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._keep = keep
        self._tone = "busy"
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 9, 10, 9)
        words = QVBoxLayout()
        words.setSpacing(2)
        self.what = QLabel()
        self.what.setWordWrap(True)
        self.next_step = QLabel()
        self.next_step.setWordWrap(True)
        self.next_step.setTextFormat(Qt.TextFormat.PlainText)
        words.addWidget(self.what)
        words.addWidget(self.next_step)
        row.addLayout(words, 1)
        self._close = QPushButton(t("Understood"))
        self._close.setAccessibleName(t("Hide this message"))
        self._close.clicked.connect(self.clear)
        row.addWidget(self._close)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.clear)
        self.hide()

    def error(self, error: WorkbenchError) -> None:
        """What happened and what to do next; stays until it is dismissed or replaced."""
        self._say("bad", error.what, error.next_step, stays=True)

    def warn(self, what: str, next_step: str = "") -> None:
        """Something to know; stays."""
        self._say("warn", what, next_step, stays=True)

    def busy(self, what: str) -> None:
        """Something takes a while; stays until replaced or cleared."""
        self._say("busy", what, "", stays=True, dismiss=False)

    def done(self, what: str) -> None:
        """Something went well; disappears by itself."""
        self._say("good", what, "", stays=False)

    def clear(self) -> None:
        """Nothing to say."""
        self._timer.stop()
        self.hide()

    def clear_busy(self) -> None:
        """Take back a ``busy``; errors stay."""
        if self._tone == "busy":
            self.clear()

    @property
    def words(self) -> str:
        """What is on screen, "" when hidden."""
        return "" if self.isHidden() else f"{self.what.text()} {self.next_step.text()}".strip()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """A tinted box with a strong edge."""
        colours = self._theme.colours
        strong = getattr(colours, self._tone)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(strong))
        painter.setBrush(QColor(mix(strong, colours.surface, 0.86)))
        painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 8, 8)
        painter.fillRect(0, 8, 5, self.height() - 16, QColor(strong))

    def _say(self, tone: str, what: str, next_step: str, *, stays: bool, dismiss: bool = True) -> None:
        self._tone = tone
        if self._keep is not None:
            self._keep(tone, what, next_step)
        self.what.setText(f"<b>{_SYMBOLS[tone]}&nbsp; {html.escape(_sentence(what), quote=False)}</b>")
        self.next_step.setText(_sentence(next_step))
        self.next_step.setVisible(bool(next_step))
        self._close.setVisible(dismiss)
        self.setAccessibleName(f"{what} {next_step}".strip())
        self._timer.stop()
        if not stays:
            self._timer.start(_SHORT_MS)
        self.show()
        self.update()


def _sentence(words: str) -> str:
    words = words.strip()
    if not words:
        return ""
    words = words[0].upper() + words[1:]
    if words.endswith((".", "!", "?", "…", "。", "！", "？")):
        return words
    return words + ("。" if unicodedata.east_asian_width(words[-1]) in "WF" else ".")
