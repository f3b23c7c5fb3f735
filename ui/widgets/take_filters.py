"""Which takes are on show: what a person picks becomes a question to the library."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QComboBox, QGridLayout, QLineEdit, QVBoxLayout, QWidget

from ui import words
from ui.translate import mark, t
from ui.widgets.chooser import Chooser, fill_chooser
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library, TakeFilter
from workbench.services.take_facts import FLAGS

_TYPING_MS = 250
_DAYS = {"today": 0, "week": 6, "month": 29}
_TIMES = (
    (mark("Any time"), None),
    (mark("Today"), "today"),
    (mark("Last 7 days"), "week"),
    (mark("Last 30 days"), "month"),
    (mark("Older"), "older"),
)
_ORDERS = (
    (mark("Newest first"), "newest"),
    (mark("Oldest first"), "oldest"),
    (mark("Longest first"), "longest"),
    (mark("Shortest first"), "shortest"),
    (mark("By task"), "task"),
    (mark("By outcome"), "outcome"),
)
_ANY_FLAG, _NO_FLAG, _UNCHECKED = "any", "none", "unchecked"


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from: how many takes by task and by tag, the names of all sets, and takes in all."""

    tasks: Mapping[str, int]
    tags: Mapping[str, int]
    sets: tuple[str, ...]
    takes: int

    @classmethod
    def of(cls, library: Library, trashed: bool) -> Choices:
        """Asks the library; in the background."""
        sets = (*library.collections(), *library.snapshots())
        return cls(
            library.counts_by("task", trashed=trashed),
            library.counts_by("tag", trashed=trashed),
            tuple(item.name for item in sets),
            library.page(TakeFilter(trashed=trashed), limit=0).total,
        )


class TakeFilters(QWidget):
    """Search words and eight choosers.

    Args:
        changed: called when the question is another one; while somebody types, only after a pause.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self.search = QLineEdit()
        self.search.setPlaceholderText(t("Search tasks, notes, operators   (Ctrl+F)"))
        self.search.setAccessibleName(t("Search takes"))
        self.search.setClearButtonEnabled(True)
        self.kind = _chooser(t("Filter by who made the take"))
        self.task = _chooser(t("Filter by task"))
        self.outcome = _chooser(t("Filter by outcome"))
        self.time = _chooser(t("Filter by time of recording"))
        self.tag = _chooser(t("Filter by tag"))
        self.collection = _chooser(t("Filter by collection or snapshot"))
        self.flag = _chooser(t("Filter by quality"))
        self.order = _chooser(t("Order of the takes"))
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(changed)
        self._lay_out()
        self._fill()
        for combo in self._choosers:
            combo.currentIndexChanged.connect(lambda _index: changed())
        self.search.textChanged.connect(lambda _text: self._typing.start())

    @property
    def _choosers(self) -> tuple[QComboBox, ...]:
        upper = (self.kind, self.task, self.outcome, self.time)
        return (*upper, self.tag, self.collection, self.flag, self.order)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.search)
        grid = QGridLayout()
        grid.setSpacing(6)
        for place, combo in enumerate(self._choosers):
            grid.addWidget(combo, place // 4, place % 4)
        column.addLayout(grid)

    def _fill(self) -> None:
        _set(self.kind, [(t("Everyone"), None), *((words.kind(kind), kind) for kind in EpisodeKind)])
        outcomes = ((_outcome_words(outcome), outcome) for outcome in Outcome)
        _set(self.outcome, [(t("All outcomes"), None), *outcomes])
        _set(self.time, [(t(words_), value) for words_, value in _TIMES])
        flags = [(f"▲ {words.flag(name).capitalize()}", name) for name in FLAGS]
        general = [(t("Any quality"), None), (t("✔ No remark"), _NO_FLAG), (t("▲ Any remark"), _ANY_FLAG)]
        _set(self.flag, [*general, (t("? Not checked"), _UNCHECKED), *flags])
        _set(self.order, [(t(words_), value) for words_, value in _ORDERS])
        self.show_choices(Choices({}, {}, (), 0))

    def show_choices(self, choices: Choices) -> None:
        """Offer what there is; what is chosen stays chosen, even if no take is left of it."""
        _set(self.task, [(t("All tasks"), None), *_counted(choices.tasks, self.task, words.task)])
        _set(self.tag, [(t("All tags"), None), *_counted(choices.tags, self.tag, lambda tag: f"#{tag}")])
        gone = {self.collection.currentData()} - {None, *choices.sets}
        names = sorted({*choices.sets, *gone})
        _set(self.collection, [(t("All sets"), None), *((name, name) for name in names)])

    def wanted(self, trashed: bool) -> TakeFilter:
        """The question as it stands."""
        flag, since, until = self.flag.currentData(), *_between(self.time.currentData())
        tag = self.tag.currentData()
        return TakeFilter(
            kind=self.kind.currentData(),
            task=self.task.currentData(),
            outcome=self.outcome.currentData(),
            text=self.search.text().strip(),
            trashed=trashed,
            tags=(tag,) if tag else (),
            collection=self.collection.currentData(),
            flags=FLAGS if flag == _ANY_FLAG else (flag,) if flag in FLAGS else (),
            without_flags=FLAGS if flag == _NO_FLAG else (),
            checked=False if flag == _UNCHECKED else True if flag == _NO_FLAG else None,
            since=since,
            until=until,
        )

    def ordered(self) -> str:
        """One of the library's orders."""
        return str(self.order.currentData())

    def clear(self) -> None:
        """Ask for everything; the order stays."""
        for widget in (self.search, *self._choosers):
            widget.blockSignals(True)
        self.search.clear()
        for combo in self._choosers[:-1]:
            combo.setCurrentIndex(0)
        for widget in (self.search, *self._choosers):
            widget.blockSignals(False)
        self._typing.stop()
        self._changed()

    def stop(self) -> None:
        """Ask no more."""
        self._typing.stop()


def _outcome_words(outcome: Outcome) -> str:
    look = words.outcome(outcome)
    return look.word if look.symbol else t("No label")


def _between(time: str | None) -> tuple[str | None, str | None]:
    """Since and until, ISO 8601; days begin at midnight of this machine's time zone."""
    midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    if time in _DAYS:
        return (midnight - datetime.timedelta(days=_DAYS[time])).isoformat(), None
    if time == "older":
        return None, (midnight - datetime.timedelta(days=_DAYS["month"])).isoformat()
    return None, None


def _counted(counts: Mapping[str, int], combo: QComboBox, say: Callable[[str], str]) -> list[tuple[str, str]]:
    gone = {combo.currentData()} - {None, *counts}
    names = sorted({name for name in counts if name} | gone)
    return [(f"{say(name)}  ({counts.get(name, 0)})", name) for name in names]


def _set(combo: QComboBox, entries: list[tuple[str, str | None]]) -> None:
    """Without a word to anybody: the question stays the same."""
    present, before = combo.currentData(), combo.blockSignals(True)
    fill_chooser(combo, entries, present)
    combo.blockSignals(before)


def _chooser(name: str) -> Chooser:
    combo = Chooser()
    combo.setAccessibleName(name)
    combo.setToolTip(name)
    return combo
