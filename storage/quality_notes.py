"""Writing what was found out about a take into its manifest, and from there into the catalogue."""

from __future__ import annotations

from typing import Any

from storage.catalog import Catalog
from storage.database import locked
from storage.edits import change_manifest
from storage.layout import Home
from storage.manifest import Manifest
from storage.reader import read_manifest
from workbench.core.errors import NotFoundError

LOCK_NAME = ".catalog.lock"


def note_down(home: Home, catalog: Catalog, episode_id: str, extra: dict[str, Any]) -> Manifest:
    """Merge ``extra`` into a take's manifest, under the lock that labels and notes take too, and enter the take anew.

    With nothing to merge only the catalogue is brought in line. NotFoundError if the take is not (or no longer) among
    those in use. Killed in between, the manifest is whole and the catalogue one note behind.
    """
    with locked(home.path / LOCK_NAME):
        folder = home.sealed(episode_id)
        if not folder.is_dir():
            raise NotFoundError(f"the take {episode_id} is not among those in use", "It may lie in the trash")
        manifest = change_manifest(folder, extra=extra) if extra else read_manifest(folder)
    catalog.add(manifest)
    return manifest
