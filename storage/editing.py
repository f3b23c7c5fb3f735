"""Writing to the catalogue: one transaction at a time over all processes, and edits that can be undone and redone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.database import locked
from storage.entering import now
from storage.layout import Home
from storage.steps import Step, carry_out, takes_in
from storage.tables import EditRow
from workbench.core.errors import WorkbenchError

_MOST_EDITS = 1000


class Editor:
    """Writes to one catalogue and its data root. Thread-safe; other processes wait their turn."""

    def __init__(self, home: Home, engine: Engine) -> None:
        self.home = home
        self.engine = engine
        self._lock_path = home.path / ".catalog.lock"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end, or takes everything back on an error."""
        with locked(self._lock_path):
            try:
                with Session(self.engine) as session, session.begin():
                    yield session
            except DBAPIError as error:
                raise WorkbenchError(
                    f"the catalogue could not be changed ({error.orig})", "Run `python main.py doctor --fix`"
                ) from error

    def perform(self, session: Session, description: str, steps: Sequence[Step]) -> None:
        """Do an edit and remember how to take it back; whatever was undone before is forgotten."""
        inverse = carry_out(self.home, session, steps)
        session.execute(delete(EditRow).where(EditRow.undone))
        edit = EditRow(at=now(), description=description, inverse={"steps": inverse}, undone=False)
        session.add(edit)
        session.flush()
        session.execute(delete(EditRow).where(EditRow.id <= edit.id - _MOST_EDITS))

    def write(self, session: Session, steps: Sequence[Step]) -> None:
        """Do what cannot be taken back."""
        carry_out(self.home, session, steps)

    def undo(self) -> tuple[str, tuple[str, ...]] | None:
        """Take back the newest edit: its description and the takes it touched, or None if there is nothing left.

        WorkbenchError if that is no longer possible; the edit is then forgotten, so that earlier ones can be undone.
        """
        return self._turn(func.max(EditRow.id), undone=False)

    def redo(self) -> tuple[str, tuple[str, ...]] | None:
        """Do again what was undone last; the same otherwise as ``undo``."""
        return self._turn(func.min(EditRow.id), undone=True)

    def forget_edits_of(self, session: Session, episode_ids: set[str]) -> None:
        """Forget edits of takes that are no more."""
        for edit in session.scalars(select(EditRow)):
            if takes_in(edit.inverse.get("steps", ())) & episode_ids:
                session.delete(edit)

    def _turn(self, which: Any, *, undone: bool) -> tuple[str, tuple[str, ...]] | None:
        failed: WorkbenchError | None = None
        with self.transaction() as session:
            edit = session.get(EditRow, session.scalar(select(which).where(EditRow.undone == undone)) or 0)
            if edit is None:
                return None
            description, steps = edit.description, edit.inverse["steps"]
            try:
                inverse = carry_out(self.home, session, steps)
                edit.inverse, edit.undone = {"steps": inverse}, not undone
            except WorkbenchError as error:
                session.delete(edit)
                failed = error
        if failed is not None:
            raise failed
        return description, tuple(sorted(takes_in(steps)))
