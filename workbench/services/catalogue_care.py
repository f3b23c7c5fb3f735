"""Looks after the catalogue's file for the doctor: checks it, reads everything on disk again, replaces a broken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.database import BrokenDatabaseError, set_aside
from workbench.services.library import Library


def examine_catalogue(home: Path, *, fix: bool) -> dict[str, Any]:
    """Check the whole file; with ``fix`` rebuild the catalogue from disk, in a new file if the old one is damaged.

    Returns ``ok``, ``takes``, ``models``, ``messages`` (sentences). Takes seconds for very many takes.
    """
    try:
        with Library(home) as library:
            library.check()
            if fix:
                library.rebuild()
            return _found(library, list(library.notices))
    except BrokenDatabaseError as error:
        if not fix:
            return {"ok": False, "takes": 0, "models": 0, "messages": [str(error)]}
        aside = set_aside(error.path)
    with Library(home) as library:
        words = f"The damaged catalogue was set aside as {aside.name}, and rebuilt from the takes on disk"
        library.note_event("catalogue", words, "warning")
        return _found(library, [words])


def _found(library: Library, messages: list[str]) -> dict[str, Any]:
    takes = sum(library.counts_by("kind", trashed=None).values())
    return {"ok": True, "takes": takes, "models": len(library.models()), "messages": messages}
