"""Practising: takes that are recorded like any other, so that everything is as it will be, and then not kept.

A practice take says so in its manifest from its first moment, so even one that a crash left behind is recognised.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.errors import NotFoundError
from workbench.services.library import Library, TakeFilter

EXTRA = {"practice": True}
_NEWEST = 50  # what an interrupted session left is among the newest


def is_practice(extra: dict[str, object]) -> bool:
    """Whether a take with these remarks was only practice."""
    return extra.get("practice") is True


def forget(library: Library, episode_ids: Sequence[str]) -> tuple[str, ...]:
    """Remove practice takes for good, from the shelf or the trash; returns which. A take that is none stays.

    Takes without items have left nothing and are passed over. Blocks while folders are removed.
    """
    library.sync()
    found = []
    for episode_id in episode_ids:
        try:
            record = library.find(episode_id)
        except NotFoundError:
            continue
        if is_practice(record.extra):
            found.append(record)
    in_use = [record.id for record in found if not record.trashed]
    if in_use:
        library.trash(in_use)
    ids = tuple(record.id for record in found)
    if ids:
        library.purge(ids, confirm=True)
    return ids


def sweep(library: Library) -> tuple[str, ...]:
    """Remove what an interrupted practice left among the newest takes; returns which."""
    newest = library.page(TakeFilter(trashed=None), 0, _NEWEST).records
    left = [record.id for record in newest if is_practice(record.extra)]
    return forget(library, left) if left else ()
