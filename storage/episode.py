"""One take on disk: ``EpisodeWriter`` records it, ``Episode`` reads it."""

from __future__ import annotations

from storage.manifest import Manifest, StoreSettings
from storage.reader import Episode
from storage.writer import EpisodeWriter

__all__ = ["Episode", "EpisodeWriter", "Manifest", "StoreSettings"]
