"""Lines over time or steps, drawn by pyqtgraph in the theme's colours."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from ui.theme import Theme, base_font
from ui.translate import mark, t

_GROUPS = (
    (mark("Tool position (m)"), r"ee\.[xyz]$"),
    (mark("Joints (rad)"), r"joint_\d+$"),
    (mark("Gripper (0 closed, 1 open)"), r"gripper$"),
    (mark("Tool orientation (quaternion)"), r"ee\.q[wxyz]$"),
)
_NOTHING = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: (T,) times or steps, (T,) values; ``dashed`` for the other one of two."""

    name: str
    x: NDArray[Any]
    y: NDArray[Any]
    colour: int = 0
    dashed: bool = False


def axis_groups(axes: tuple[str, ...]) -> dict[str, list[int]]:
    """Which numbers of a vector belong into one plot, by title; empty groups are left out."""
    groups = {title: [i for i, axis in enumerate(axes) if re.search(rule, axis)] for title, rule in _GROUPS}
    known = {i for indexes in groups.values() for i in indexes}
    groups[mark("Other")] = [i for i in range(len(axes)) if i not in known]
    return {title: indexes for title, indexes in groups.items() if indexes}


class _Axis(pg.AxisItem):  # type: ignore[misc]
    """On a logarithmic scale: labels at 1, 2 and 5 of every decade, so that they do not lie on each other."""

    def logTickValues(  # noqa: N802
        self, low: float, high: float, _size: float, _ticks: Any
    ) -> list[tuple[float, list[float]]]:
        """Positions as powers of ten."""
        decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        places = [decade + float(np.log10(part)) for decade in decades for part in (1, 2, 5)]
        return [(1.0, [place for place in places if low <= place <= high])]

    def logTickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:  # noqa: N802
        """The numbers themselves."""
        return [f"{10**value:.3g}" for value in values]


class Plot(QWidget):
    """A plot with a legend, an optional cursor, and words when there is nothing to draw."""

    def __init__(self, theme: Theme, name: str, x_label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._x_label = x_label
        self._lines: tuple[Line, ...] = ()
        self._title = ""
        self._dashed = t("┅ dashed: sent to the arm")
        self._logarithmic = False
        self._sought: Callable[[float], None] | None = None
        self._plot = pg.PlotWidget(axisItems={"left": _Axis("left")})
        self._plot.setMenuEnabled(False)
        self._plot.setAccessibleName(name)
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._cursor = pg.InfiniteLine(movable=False)
        self._cursor.setVisible(False)
        self._words = pg.TextItem(anchor=(0.5, 0.5))
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        item = self._plot.getPlotItem()
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setDownsampling(auto=True, mode="peak")
        item.setClipToView(True)
        self._plot.scene().sigMouseClicked.connect(self._clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.legend)
        layout.addWidget(self._plot, 1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(96)
        self.setAccessibleName(name)
        theme.changed.connect(self._restyle)
        self._restyle()

    def on_seek(self, sought: Callable[[float], None]) -> None:
        """Call ``sought(x)`` when the plot is clicked."""
        self._sought = sought

    def show_lines(self, lines: tuple[Line, ...], title: str = "", *, logarithmic: bool = False) -> None:
        """Replace all curves; ``logarithmic`` where all values are positive and far apart."""
        self._logarithmic = logarithmic and _far_apart(lines)
        self._lines = lines
        self._title = title
        self._redraw()

    def set_dashed(self, words: str) -> None:
        """What the legend says of dashed lines."""
        self._dashed = words

    def set_cursor(self, x: float | None) -> None:
        """Move the vertical line; None hides it."""
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setValue(x)

    @property
    def cursor_x(self) -> float | None:
        """Where the vertical line is, None while hidden."""
        return float(self._cursor.value()) if self._cursor.isVisible() else None

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    def _redraw(self) -> None:
        item = self._plot.getPlotItem()
        item.clear()
        item.setLogMode(x=False, y=self._logarithmic)
        for line in self._lines:
            item.plot(line.x, line.y, pen=self._pen(line), connect="finite")
        item.addItem(self._cursor, ignoreBounds=True)
        item.enableAutoRange()
        self.legend.setText(self._legend_words())
        item.setVisible(bool(self._lines))  # empty axes would look like a measurement

    def _legend_words(self) -> str:
        """Names in the colours of their lines; dashed lines share the colour of the line they belong to."""
        series = self._theme.colours.series
        names = [
            f'<span style="color:{series[line.colour % len(series)]}">━ </span>{line.name}'
            for line in self._lines
            if not line.dashed
        ]
        if any(line.dashed for line in self._lines):
            names.append(self._dashed)
        return " &nbsp; ".join(names) or self._title

    def _pen(self, line: Line) -> Any:
        series = self._theme.colours.series
        style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
        return pg.mkPen(series[line.colour % len(series)], width=1.2 if line.dashed else 2, style=style)

    def _restyle(self) -> None:
        colours = self._theme.colours
        self._plot.setBackground(colours.surface)
        self._cursor.setPen(pg.mkPen(colours.text, width=1.5))
        item = self._plot.getPlotItem()
        item.showGrid(x=True, y=True, alpha=0.12)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(colours.line)
            axis.setTextPen(colours.dim)
            axis.setTickFont(base_font(0.8))
        item.setLabel("bottom", self._x_label, color=colours.dim)
        self._redraw()

    def _clicked(self, event: Any) -> None:
        if self._sought is not None and self._lines:
            self._sought(float(self._plot.getPlotItem().vb.mapSceneToView(event.scenePos()).x()))


def _far_apart(lines: tuple[Line, ...]) -> bool:
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines] or [_NOTHING])
    return bool(values.size and values.min() > 0 and values.max() > 20 * values.min())
