"""The style sheet, made from a palette."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ui.theme import Colours

_SHEET = """
QWidget {{ color: {text}; }}
QMainWindow, QWidget#page {{ background: {window}; }}
QMenuBar, QMenu {{ background: {surface}; }}
QMenuBar::item {{ padding: 5px 11px; background: transparent; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {accent}; color: {on_accent}; }}
QMenu {{ border: 1px solid {line}; padding: 4px; }}
QMenu::item {{ padding: 6px 26px 6px 18px; }}
QMenu::item:disabled {{ color: {dim}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: 4px 8px; }}
QToolTip {{ background: {raised}; color: {text}; border: 1px solid {line}; padding: 5px; }}

QToolBar#rail {{ background: {surface}; border: none; border-right: 1px solid {line}; padding: 8px 6px; spacing: 4px; }}
QToolBar#rail QToolButton {{ border: 2px solid transparent; border-radius: 9px; padding: 8px 4px; color: {dim};
    min-width: 74px; }}
QToolBar#rail QToolButton:hover {{ background: {raised}; color: {text}; }}
QToolBar#rail QToolButton:checked {{ background: {raised}; color: {accent}; font-weight: bold; }}
QToolBar#rail QToolButton:focus {{ border-color: {accent}; }}

QFrame[card="true"] {{ background: {surface}; border: 1px solid {line}; border-radius: 10px; }}
QLabel[dim="true"] {{ color: {dim}; }}
QLabel[heading="true"] {{ font-weight: bold; color: {dim}; }}
QLabel[title="true"] {{ font-size: 15pt; font-weight: bold; }}

QToolButton {{ border: 2px solid transparent; border-radius: 7px; padding: 3px 8px; }}
QToolButton:hover {{ background: {raised}; }}
QToolButton:focus {{ border-color: {accent}; }}
QPushButton {{ background: {raised}; border: 1px solid {edge}; border-radius: 7px; padding: 6px 11px;
    min-height: 20px; }}
QPushButton:hover:enabled {{ border-color: {accent}; }}
QPushButton:pressed:enabled {{ background: {line}; }}
QPushButton:focus {{ border: 2px solid {accent}; padding: 5px 10px; }}
QPushButton:disabled {{ color: {faint}; background: {surface}; border-color: {line}; }}
QPushButton:checked {{ background: {accent}; color: {on_accent}; border-color: {accent}; font-weight: bold; }}
QPushButton:checked:disabled {{ background: {chosen}; color: {dim}; border-color: {chosen}; }}
QPushButton[tall="true"] {{ min-height: 30px; }}
QPushButton[tall="huge"] {{ min-height: 50px; font-size: 17pt; }}
QPushButton[role="primary"]:enabled {{ background: {accent}; color: {on_accent}; border-color: {accent};
    font-weight: bold; }}
QPushButton[role="good"]:enabled {{ background: {good}; color: {on_state}; border-color: {good}; font-weight: bold; }}
QPushButton[role="bad"]:enabled {{ background: {bad}; color: {on_state}; border-color: {bad}; font-weight: bold; }}
QPushButton[role="warn"]:enabled {{ background: {warn}; color: {on_state}; border-color: {warn}; font-weight: bold; }}
QPushButton[role]:focus:enabled {{ border: 2px solid {text}; }}

QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox {{ background: {surface}; border: 1px solid {edge}; border-radius: 7px;
    padding: 5px 8px; min-height: 22px; selection-background-color: {accent}; selection-color: {on_accent}; }}
QComboBox:focus, QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus {{ border: 2px solid {accent};
    padding: 4px 7px; }}
QComboBox:disabled, QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled {{ color: {faint};
    background: {raised}; border-color: {line}; }}
QComboBox::drop-down {{ border: none; width: 22px; }}
QComboBox QAbstractItemView {{ background: {surface}; border: 1px solid {line}; outline: none;
    selection-background-color: {accent}; selection-color: {on_accent}; }}

QTableView, QListView, QScrollArea, QTableWidget {{ background: {surface}; border: 1px solid {line};
    border-radius: 10px;
    gridline-color: {raised}; selection-background-color: {chosen}; selection-color: {text}; outline: none; }}
QPlainTextEdit, QTextEdit {{ background: {surface}; border: 1px solid {line}; border-radius: 10px; padding: 6px;
    selection-background-color: {accent}; selection-color: {on_accent}; }}
QTableView:focus, QListView:focus, QScrollArea:focus, QPlainTextEdit:focus, QTextEdit:focus {{
    border: 2px solid {accent}; }}
QTableView::item, QListView::item {{ padding: 3px 6px; }}
QTableView::item:selected, QListView::item:selected {{ background: {chosen}; color: {text}; }}
QHeaderView {{ background: transparent; }}
QHeaderView::section {{ background: transparent; color: {dim}; border: none; border-bottom: 1px solid {line};
    padding: 6px 9px; font-weight: bold; }}
QTableCornerButton::section {{ background: {surface}; border: none; }}
QScrollArea[plain="true"], QWidget[plain="true"] {{ background: transparent; border: none; }}
QTableView[plain="true"] {{ border: 2px solid transparent; }}
QTableView[plain="true"]:focus {{ border-color: {accent}; }}

QProgressBar {{ background: {raised}; border: 1px solid {line}; border-radius: 6px; text-align: center;
    min-height: 16px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 5px; }}
QScrollBar:vertical {{ background: transparent; width: 11px; margin: 2px; }}
QScrollBar:horizontal {{ background: transparent; height: 11px; margin: 2px; }}
QScrollBar::handle {{ background: {line}; border-radius: 3px; min-height: 26px; min-width: 26px; }}
QScrollBar::handle:hover {{ background: {dim}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QTabWidget::pane {{ border: none; }}
QTabBar {{ background: transparent; }}
QTabBar::tab {{ background: transparent; color: {dim}; border: none; border-bottom: 3px solid transparent;
    padding: 5px 12px; margin-right: 4px; }}
QTabBar::tab:hover {{ color: {text}; }}
QTabBar::tab:selected {{ color: {accent}; border-bottom-color: {accent}; }}
QTabBar::tab:selected:focus {{ background: {raised}; color: {text}; border-bottom-color: {text}; }}
QSlider::groove:horizontal {{ height: 6px; background: {line}; border-radius: 3px; }}
QSlider::handle:horizontal {{ width: 16px; margin: -6px 0; border-radius: 8px; background: {edge};
    border: 2px solid {surface}; }}
QSlider:focus::handle:horizontal, QSlider::handle:horizontal:focus {{ background: {accent}; border-color: {text}; }}
QCheckBox {{ spacing: 9px; padding: 2px; }}
QCheckBox::indicator {{ width: 16px; height: 16px; border: 1px solid {dim}; border-radius: 4px;
    background: {surface}; }}
QCheckBox::indicator:checked {{ background: {accent}; border-color: {accent}; }}
QCheckBox::indicator:disabled {{ border-color: {line}; background: {raised}; }}
QCheckBox:focus {{ color: {accent}; }}
QCheckBox:disabled {{ color: {faint}; }}
QSplitter::handle {{ background: transparent; }}
QStatusBar {{ background: {surface}; border-top: 1px solid {line}; }}
QStatusBar::item {{ border: none; }}
QStatusBar QLabel {{ padding: 3px 12px; }}
"""


def sheet(colours: Colours) -> str:
    """The whole application's style sheet in these colours."""
    values = {name: getattr(colours, name) for name in colours.__slots__ if name not in ("name", "series")}
    values["faint"] = mix(colours.dim, colours.surface, 0.33)
    values["chosen"] = chosen_colour(colours)
    return _SHEET.format(**values)


def chosen_colour(colours: Colours) -> str:
    """The ground of chosen rows."""
    return mix(colours.accent, colours.surface, 0.86)


def mix(first: str, second: str, share: float) -> str:
    """``#rrggbb`` that is ``share`` of the way from ``first`` to ``second``."""
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
