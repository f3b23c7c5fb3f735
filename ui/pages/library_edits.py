"""What the library page does to takes: label, note, tag, mark, split, sort, throw away, bring back, undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from ui import words
from ui.translate import t
from ui.widgets.take_list import Choice
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome
from workbench.services.library import Library, PurgeReport, TakeView

if TYPE_CHECKING:
    from ui.pages.library import LibraryPage

T = TypeVar("T")
_LANE = "edits"
_MANY = 30  # from here on it is said that something is being done


class LibraryEdits:
    """Answers the commands that change takes. Works on what is chosen on screen at that moment. Window's thread."""

    def __init__(self, page: LibraryPage) -> None:
        self._page = page
        self._bind()

    def _bind(self) -> None:
        bind, ask = self._page.desk.actions.bind, self._page.ask_line
        bind("library.success", lambda: self._label(Outcome.SUCCESS))
        bind("library.failure", lambda: self._label(Outcome.FAILURE))
        bind("library.unlabel", lambda: self._label(Outcome.UNLABELLED))
        bind("library.tag", self._tag)
        bind("library.untag", self._untag)
        bind("library.collect", self._collect)
        bind("library.uncollect", self._uncollect)
        bind("library.freeze", self._freeze)
        bind("library.mark_in", lambda: self._mark(start=True))
        bind("library.mark_out", lambda: self._mark(start=False))
        bind("library.unmark", self._unmark)
        bind("library.split", self._split)
        bind("library.merge", self._merge)
        bind("library.check", self._check)
        bind("library.trash", self._trash)
        bind("library.restore", lambda: self._change(lambda lib, ids: lib.restore(ids), t("{takes} brought back")))
        bind("library.purge", self._purge)
        bind("library.agree", ask.agree)
        bind("library.leave", ask.back)
        bind("library.undo", lambda: self._again(Library.undo, t("Nothing to undo")))
        bind("library.redo", lambda: self._again(Library.redo, t("Nothing to do again")))
        self._page.note.returnPressed.connect(self._save_note)

    # one change of all chosen takes ---------------------------------------------------------------------------------

    def _change(self, work: Callable[[Library, list[str]], object], said: str) -> None:
        """``said`` with the number of takes in place of ``{takes}``."""
        choice = self._page.table.choice()
        count = words.count(choice.count, "take")
        self._do(
            choice.count, lambda library: work(library, choice.ids()), lambda _none: said.replace("{takes}", count)
        )

    def _do(self, takes: int, work: Callable[[Library], T], said: Callable[[T], str]) -> None:
        """In the background; then say what happened, "" for nothing to say."""
        page, library = self._page, self._page.desk.library
        if library is None or not takes:
            return
        if takes >= _MANY:
            page.notice.busy(t("Changing {takes}", takes=words.count(takes, "take")))

        def done(result: T) -> None:
            page.notice.clear_busy()
            sentence = said(result)
            if sentence:
                page.notice.done(sentence)

        page.ask(_LANE, lambda: work(library), done)

    def _label(self, outcome: Outcome) -> None:
        look = words.outcome(outcome)
        word = look.word.lower() if look.symbol else t("no label")
        self._change(lambda library, ids: library.label(ids, outcome), _said(t("{takes} labelled: {name}"), word))

    def _tag(self) -> None:
        self._ask_name(
            t("Tag"),
            lambda library: library.counts_by("tag", trashed=None),
            lambda name: self._change(
                lambda library, ids: library.tag(ids, _parts(name)), _said(t("{takes} tagged {name}"), name)
            ),
        )

    def _untag(self) -> None:
        table = self._page.table
        records = map(table.record, table.choice().ids(_MANY))
        tags = sorted({tag for record in records if record is not None for tag in record.tags})
        self._ask_name(
            t("Take off the tag"),
            lambda library: tags or library.counts_by("tag", trashed=None),
            lambda name: self._change(
                lambda library, ids: library.untag(ids, _parts(name)), _said(t("The tag {name} is off {takes}"), name)
            ),
        )

    def _collect(self) -> None:
        self._ask_name(
            t("Into the collection"),
            lambda library: [item.name for item in library.collections()],
            lambda name: self._change(
                lambda library, ids: library.collect(name, ids), _said(t("{takes} put into “{name}”"), name)
            ),
        )

    def _uncollect(self) -> None:
        self._ask_name(
            t("Out of the collection"),
            lambda library: [item.name for item in library.collections()],
            lambda name: self._change(
                lambda library, ids: library.uncollect(name, ids), _said(t("{takes} out of “{name}”"), name)
            ),
        )

    def _freeze(self) -> None:
        self._ask_name(
            t("Freeze as the snapshot"),
            lambda library: (),
            lambda name: self._change(
                lambda library, ids: library.freeze(name, ids),
                _said(t("{takes} frozen as “{name}”; it never changes"), name),
            ),
        )

    def _ask_name(
        self, question: str, known: Callable[[Library], Iterable[str]], answer: Callable[[str], None]
    ) -> None:
        """Ask at once; the names that there are come when the library has told them."""
        page, library = self._page, self._page.desk.library
        if library is None:
            return
        count = words.count(page.table.chosen_count(), "take")
        asked = t("{question} ({takes}):", question=question, takes=count)
        page.ask_line.ask_name(asked, answer)
        page.ask("shelf", lambda: tuple(known(library)), lambda names: page.ask_line.offer(asked, names))

    # the open take --------------------------------------------------------------------------------------------------

    def _mark(self, *, start: bool) -> None:
        view = self._page.viewer.view
        if view is None:
            return
        at_s, record_id = self._page.viewer.time_s, view.record.id

        def work(library: Library) -> float:
            return library.trim(record_id, *_marks(library, view, at_s, start=start)).used_s

        said = t("Used from here on: {length}") if start else t("Used up to here: {length}")
        self._do(1, work, lambda used_s: said.format(length=words.duration(used_s)))

    def _unmark(self) -> None:
        self._change(lambda library, ids: library.untrim(ids[0]), t("All of the take is used"))

    def _split(self) -> None:
        view = self._page.viewer.view
        if view is None:
            return
        at_s, record_id = self._page.viewer.time_s, view.record.id
        self._page.notice.busy(t("Copying the take in two parts, cut at {time}", time=words.clock_time(at_s)))
        self._do(
            1,
            lambda library: library.split(record_id, at_s),
            lambda halves: t(
                "Two takes of one: {first} and {second}; Ctrl+Z makes them one again",
                first=halves[0][:8],
                second=halves[1][:8],
            ),
        )

    def _merge(self) -> None:
        choice = self._page.table.choice()
        self._page.notice.busy(t("Copying {takes} into one", takes=words.count(choice.count, "take")))
        self._do(
            choice.count,
            lambda library: library.merge(choice.ids()),
            lambda whole: t("One take of several: {id}; Ctrl+Z parts them again", id=whole[:8]),
        )

    def _check(self) -> None:
        view = self._page.viewer.view
        if view is not None:
            self._page.notice.busy(t("Comparing every picture with the take's fingerprint"))
            self._page.ask("pictures", view.verify, self._checked)

    def _checked(self, problems: tuple[str, ...]) -> None:
        if problems:
            self._page.notice.error(
                WorkbenchError("; ".join(problems[:3]), t("Restore it from a copy or run `python main.py doctor`"))
            )
        else:
            self._page.notice.done(t("The take is bit for bit what was recorded"))

    def _save_note(self) -> None:
        view, text = self._page.viewer.view, self._page.note.text()
        if view is not None:
            record_id = view.record.id
            self._page.table.setFocus()
            self._do(1, lambda library: library.note(record_id, text), lambda _none: t("Note saved"))

    # trash and undo -------------------------------------------------------------------------------------------------

    def _trash(self) -> None:
        page, choice = self._page, self._page.table.choice()
        count = words.count(choice.count, "take")

        def said(pinned: dict[str, list[str]]) -> str:
            if not pinned:
                return t("{takes} in the trash; Ctrl+Z undoes it", takes=count)
            needed = sorted({name for names in pinned.values() for name in names})
            page.notice.warn(
                t(
                    "{takes} in the trash; {n} of them needed by {names}",
                    takes=count,
                    n=len(pinned),
                    names=", ".join(needed[:3]),
                ),
                t("Ctrl+Z brings them back; what is needed is not removed for good"),
            )
            return ""

        self._do(choice.count, lambda library: library.trash(choice.ids()), said)

    def _purge(self) -> None:
        choice = self._page.table.choice()
        takes = words.count(choice.count, "take")
        question = t("Remove {takes} for good? This is the one thing that cannot be undone.", takes=takes)
        self._page.ask_line.ask_really(question, lambda: self._purge_now(choice))

    def _purge_now(self, choice: Choice) -> None:
        self._page.notice.busy(t("Removing from the disk"))
        self._do(choice.count, lambda library: library.purge(choice.ids(), confirm=True), self._purged)

    def _purged(self, report: PurgeReport) -> str:
        takes, size = words.count(len(report.ids), "take"), words.size(report.freed_bytes)
        gone = t("{takes} removed for good, {size} free again", takes=takes, size=size)
        if not report.refused:
            return gone
        needed = sorted({name for names in report.refused.values() for name in names})
        self._page.notice.warn(
            t(
                "{gone}; {takes} stay, needed by {names}",
                gone=gone,
                takes=words.count(len(report.refused), "take"),
                names=", ".join(needed[:3]),
            ),
            t("Remove what needs them first, or use `episodes purge --force`"),
        )
        return ""

    def _again(self, work: Callable[[Library], str | None], nothing: str) -> None:
        self._do(1, lambda library: work(library) or nothing, lambda said: said)


def _marks(library: Library, view: TakeView, at_s: float, *, start: bool) -> tuple[float | None, float | None]:
    """The marks as they are on disk now, with one of them moved; the other goes where it would leave nothing."""
    trim = library.find(view.record.id).trim
    first, last = (view.seconds(trim.start_ns), view.seconds(trim.end_ns)) if trim is not None else (None, None)
    if start:
        return at_s, last if last is not None and last > at_s else None
    return first if first is not None and first < at_s else None, at_s


def _said(sentence: str, name: str) -> str:
    """The name filled in; the number of takes comes later."""
    return sentence.replace("{name}", name)


def _parts(names: str) -> list[str]:
    """Several tags are written with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]
