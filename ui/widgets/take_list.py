"""The table of takes: as many as there are, read page by page in the background while the table is scrolled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtWidgets import QAbstractItemView

from ui.bridge import Bridge
from ui.records import ShelvedTake
from ui.theme import Theme
from ui.translate import t
from ui.widgets.paged import PAGE_ROWS, Listing, PagedModel
from ui.widgets.rows import RowsTable
from ui.widgets.takes import take_columns, take_tip
from workbench.core.errors import WorkbenchError
from workbench.services.library import Library, TakeFilter

_LANE = "shelf"
_MOST_KEPT = 500


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search in the background brought."""

    listing: Listing
    same: bool
    records: tuple[ShelvedTake, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Takes that were chosen at one moment. A hundred thousand of them are written out where there is time for it."""

    listed: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def ids(self, most: int | None = None) -> list[str]:
        """In the order of the list; the first ``most`` if given."""
        parts = (self.listed[first : last + 1] for first, last in self.ranges)
        return list(itertools.islice(itertools.chain.from_iterable(parts), most))


class TakeList(RowsTable):
    """Asks on its own for the records it shows; keeps the chosen takes chosen when the list changes.

    Args:
        library: the open library, None before it is open.
        failed: told what a search could not do.

    Attributes:
        changed: called after another list has come, before ``on_chosen`` hears of it.
    """

    def __init__(
        self,
        bridge: Bridge,
        theme: Theme,
        library: Callable[[], Library | None],
        failed: Callable[[WorkbenchError], None],
    ) -> None:
        self.model_: PagedModel[ShelvedTake] = PagedModel(
            theme, take_columns(), lambda take: take.id, take_tip, self._need
        )
        super().__init__(self.model_, theme, t("Takes"), many=True)
        self._bridge = bridge
        self._library = library
        self._failed = failed
        self._wanted, self._order = TakeFilter(), "newest"
        self._searching = self._again = self._reading = False
        self._lost: set[int] = set()  # pages whose takes have gone since the list was made; the next search knows more
        self._open_next = ""
        self.changed: Callable[[], None] = lambda: None

    # what is on show ------------------------------------------------------------------------------------------------

    def search(self, wanted: TakeFilter, order: str) -> None:
        """Show the takes that fit. Searches asked for meanwhile become one."""
        self._wanted, self._order = wanted, order
        library = self._library()
        if library is None:
            return
        if self._searching:
            self._again = True
            return
        self._searching = True
        shown, top, chosen = self.model_.listing, self._top(), self._chosen_row()
        anchors = tuple(shown.ids[row] for row in (top, chosen, 0) if 0 <= row < len(shown.ids))

        def work() -> _Found:
            listing = Listing.of(library.ids(wanted, order))
            pages = {max(0, listing.row(anchor)) // PAGE_ROWS for anchor in anchors} | {0}
            records = [record for page in sorted(pages) for record in _page(library, wanted, order, page)]
            return _Found(listing, listing.ids == shown.ids, tuple(records))

        self._bridge.run_in_background(work, self._found, self._not_found, lane=_LANE)

    def open_take(self, episode_id: str) -> bool:
        """Choose this take now if it is listed, else after the next search. Returns whether it is listed."""
        row = self.model_.row_of(episode_id)
        self._open_next = "" if row >= 0 else episode_id
        if row >= 0:
            self.selectRow(row)
            self.scrollTo(self.model_.index(row, 0), QAbstractItemView.ScrollHint.EnsureVisible)
        return row >= 0

    def choice(self) -> Choice:
        """The chosen takes, as they stand on screen now."""
        return Choice(self.model_.listing.ids, tuple(sorted(self._ranges())))

    def first_chosen(self) -> str:
        """The id of the first chosen take, "" if there is none."""
        row = self._chosen_row()
        return self.model_.listing.ids[row] if row >= 0 else ""

    def record(self, episode_id: str) -> ShelvedTake | None:
        """The record of a listed take, None while it is on its way."""
        return self.model_.record(self.model_.row_of(episode_id))

    # in the background ----------------------------------------------------------------------------------------------

    def _found(self, found: _Found) -> None:
        self._searching = False
        self._lost.clear()
        kept, row = self.choice().ids(_MOST_KEPT), self._chosen_row()
        self.model_.show(found.listing, found.same, found.records)
        self.changed()
        if not found.same:
            self._choose_again(kept, row)
        if self._open_next:
            self.open_take(self._open_next)
        self._search_again()

    def _choose_again(self, kept: list[str], row: int) -> None:
        """The same takes (the first few hundred); where they are gone, the one that has moved into their place."""
        rows = sorted(found for found in map(self.model_.row_of, kept) if found >= 0)
        count = self.model_.rowCount()
        self.choose(rows or ([min(max(row, 0), count - 1)] if count else []))
        if rows[:1] or row > 0:
            self.scrollTo(self.currentIndex(), QAbstractItemView.ScrollHint.EnsureVisible)

    def _not_found(self, error: WorkbenchError) -> None:
        self._searching = False
        self._failed(error)
        self._search_again()

    def _search_again(self) -> None:
        if self._again:
            self._again = False
            self.search(self._wanted, self._order)

    def _need(self) -> None:
        """A row on screen has no record yet: ask, unless an answer is on its way, which looks again."""
        library = self._library()
        if self._reading or library is None:
            return
        self._reading = True
        wanted, order = self._wanted, self._order
        self._bridge.post(lambda: self._read(library, wanted, order))

    def _read(self, library: Library, wanted: TakeFilter, order: str) -> None:
        """After the burst of paint calls: the pages that are on screen now, not those that flew by."""
        listing, unknown = self.model_.listing, self._unknown_pages()

        def work() -> tuple[ShelvedTake, ...]:
            return tuple(record for page in sorted(unknown) for record in _page(library, wanted, order, page))

        def come(records: tuple[ShelvedTake, ...]) -> None:
            self._reading = False
            if self.model_.listing is listing:
                self.model_.learn(records)
                self._lost |= unknown & self._unknown_pages()
            if self._unknown_pages():
                self._need()  # scrolled on meanwhile

        def failed(error: WorkbenchError) -> None:
            self._reading = False
            self._failed(error)

        if unknown:
            self._bridge.run_in_background(work, come, failed, lane=_LANE)
        else:
            self._reading = False

    def _unknown_pages(self) -> set[int]:
        """The pages on screen that lack records."""
        first = max(0, self._top())
        last = min(self.model_.rowCount() - 1, first + self._rows_on_screen())
        rows = (row for row in range(first, last + 1) if self.model_.record(row) is None)
        return {row // PAGE_ROWS for row in rows} - self._lost

    def _top(self) -> int:
        return int(self.rowAt(0))

    def _chosen_row(self) -> int:
        return min((first for first, _ in self._ranges()), default=-1)

    def _rows_on_screen(self) -> int:
        view, rows = self.viewport(), self.verticalHeader()
        if view is None or rows is None:
            return PAGE_ROWS
        return int(view.height()) // max(1, rows.defaultSectionSize()) + 1


def _page(library: Library, wanted: TakeFilter, order: str, page: int) -> tuple[ShelvedTake, ...]:
    return tuple(library.page(wanted, page * PAGE_ROWS, PAGE_ROWS, order).records)
