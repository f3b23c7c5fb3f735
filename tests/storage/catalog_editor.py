"""What a process of its own does to a catalogue in tests; imports little, so that it starts quickly."""

from __future__ import annotations

from storage.catalog import Catalog
from storage.layout import Home


def edit_many(home: Home, url: str, episode_id: str, word: str, times: int) -> None:
    with Catalog(home, url) as catalog:
        for number in range(times):
            catalog.tag([episode_id], [f"{word}{number}"])
            catalog.note(episode_id, f"{word}{number}")
