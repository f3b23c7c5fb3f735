"""A table model whose records come page by page, in the background, for what is on screen.

It knows the ids of all rows (a snapshot, so that what is chosen on screen is exactly what is acted upon, whatever
happens to the library meanwhile) and holds a few thousand records. Rows whose record is on its way show dots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from PyQt6.QtCore import QModelIndex, Qt

from ui.theme import Theme
from ui.widgets.rows import Column, RowsModel

R = TypeVar("R")
PAGE_ROWS = 100
MOST_RECORDS = 4000
_NOWHERE = QModelIndex()
_ON_ITS_WAY = "…"


@dataclass(frozen=True, slots=True)
class Listing:
    """All rows of a list: their ids in order, and the row of each id."""

    ids: tuple[str, ...] = ()
    row_of: Mapping[str, int] | None = None

    @classmethod
    def of(cls, ids: Sequence[str]) -> Listing:
        """Made where it may take a few milliseconds: in the background."""
        return cls(tuple(ids), {key: row for row, key in enumerate(ids)})

    def row(self, key: str) -> int:
        """-1 if it is not in the list."""
        return self.row_of.get(key, -1) if self.row_of is not None else -1


class PagedModel(RowsModel[R]):
    """Used in the window's thread.

    Args:
        missing: told that the record of a row on screen is needed; asks for it in the background and hands it to
            ``learn``.
    """

    def __init__(
        self,
        theme: Theme,
        columns: Sequence[Column[R]],
        key: Callable[[R], str],
        tip: Callable[[R], str],
        missing: Callable[[], None],
    ) -> None:
        super().__init__(theme, columns, key, tip)
        self._listing = Listing()
        self._known: dict[str, R] = {}
        self._looks: dict[str, list[tuple[str, str, float | None]]] = {}
        self._missing = missing

    @property
    def listing(self) -> Listing:
        return self._listing

    @property
    def records(self) -> tuple[R, ...]:
        """The records that are known, in the order of their rows."""
        rows = sorted((self._listing.row(key), key) for key in self._known)
        return tuple(self._known[key] for row, key in rows if row >= 0)

    def show(self, listing: Listing, same: bool, records: Iterable[R]) -> None:
        """Show another list (or the ``same`` one with fresh records). Only records handed in here stay known."""
        fresh = {self._key(record): record for record in records}
        self._looks.clear()
        if same:
            self._listing, self._known = listing, fresh
            if listing.ids:
                self.dataChanged.emit(self.index(0, 0), self.index(len(listing.ids) - 1, len(self.columns) - 1))
            return
        self.beginResetModel()
        self._listing, self._known = listing, fresh
        self.endResetModel()

    def learn(self, records: Iterable[R]) -> None:
        """Records that were asked for have come; the oldest ones make room."""
        rows = []
        for record in records:
            key = self._key(record)
            self._forget(key)
            self._known[key] = record
            rows.append(self._listing.row(key))
        for key in list(self._known)[: max(0, len(self._known) - MOST_RECORDS)]:
            self._forget(key)
        shown = [row for row in rows if row >= 0]
        if shown:
            self.dataChanged.emit(self.index(min(shown), 0), self.index(max(shown), len(self.columns) - 1))

    def _forget(self, key: str) -> None:
        self._known.pop(key, None)
        self._looks.pop(key, None)

    def record(self, row: int) -> R | None:
        """The record of a row, None while it is on its way."""
        return self._known.get(self._listing.ids[row]) if 0 <= row < len(self._listing.ids) else None

    def row_of(self, key: str) -> int:
        """The row of a record by its key, -1 if it is not in the list."""
        return self._listing.row(key)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """One row per id."""
        return 0 if parent.isValid() else len(self._listing.ids)

    def look(self, row: int, place: int) -> tuple[str, str, float | None]:
        """As of the record, made once; or dots and a request for it."""
        key = self._listing.ids[row]
        looks = self._looks.get(key)
        if looks is None:
            record = self._known.get(key)
            if record is None:
                self._missing()
                return _ON_ITS_WAY if place == 0 else "", "", None
            looks = self._looks[key] = [self.look_of(record, column) for column in range(len(self.columns))]
        return looks[place]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As of the record, or dots and a request for it."""
        record = self.record(index.row())
        if record is not None:
            return self.cell(record, index.column(), role)
        if role == Qt.ItemDataRole.DisplayRole:
            self._missing()
            return _ON_ITS_WAY if index.column() == 0 else ""
        return None
