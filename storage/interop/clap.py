"""Takes of this program on their way to another station: folders as they are, compared bit by bit after each copy.

An export is a folder with ``episodes/<id>.zarr`` and ``clap-takes.json``, a list for people. Anything that has such an
``episodes`` folder can be imported, another station's data folder too. Takes keep their ids, kinds, labels and marks;
collections, models and the history of changes stay where they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from storage.bringing import copy_take
from storage.exchange import Watch
from storage.importing import ImportSettings, SealedSource, Source
from storage.interop import EXPORTS, FORMATS, FormatConfig
from storage.layout import GROUP_NAME, SEALED_SUFFIX, is_episode_id
from storage.manifest import Manifest
from storage.reader import Episode
from workbench.core.files import write_json
from workbench.core.registry import Plugin

_LIST = "clap-takes.json"
_EPISODES = "episodes"


class ClapFormat:
    """The format; see the module."""

    title = "takes of CLAP Workbench (episodes/*.zarr), bit for bit"
    keeps_bytes = True

    def detect(self, path: Path) -> bool:
        """True if the folder holds takes, or has an ``episodes`` folder that does."""
        return bool(_folders(path))

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """Every sealed take. Pictures are never reduced: the takes stay what they are."""
        return [_source(folder) for folder in _folders(path)]

    def check(self, manifests: Sequence[Manifest]) -> tuple[str, ...]:
        """Nothing is left out, and any takes fit together."""
        return ()

    def begin(self, root: Path, manifests: Sequence[Manifest]) -> _Writer:
        """Begin an empty folder."""
        return _Writer(root)


FORMATS.register(Plugin("clap", ClapFormat.title, FormatConfig, lambda config: ClapFormat()))
EXPORTS.register(Plugin("clap", ClapFormat.title, FormatConfig, lambda config: ClapFormat()))


def _folders(path: Path) -> list[Path]:
    places = [place for place in (path / _EPISODES, path) if place.is_dir()]
    for place in places:
        found = sorted(
            folder
            for folder in place.glob(f"*{SEALED_SUFFIX}")
            if is_episode_id(folder.name.removesuffix(SEALED_SUFFIX)) and (folder / GROUP_NAME).is_file()
        )
        if found:
            return found
    return []


def _source(folder: Path) -> Source:
    episode_id = folder.name.removesuffix(SEALED_SUFFIX)

    def load() -> SealedSource:
        with Episode.at(folder) as take:
            return SealedSource(folder, take.manifest)

    return Source(episode_id, (), load, id=episode_id)


class _Writer:
    """Builds the folder."""

    left_out: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.episodes = self.frames = 0
        self._lines: list[dict[str, object]] = []
        self._last = root
        (root / _EPISODES).mkdir(parents=True)

    def add(self, take: Episode, watch: Watch) -> None:
        """Copy one take; CorruptTakeError if the copy is not what its fingerprint promises."""
        about = take.manifest
        self._last = self.root / _EPISODES / take.folder.name
        copy_take(take.folder, self._last, watch)
        self.episodes += 1
        self.frames += about.rows
        words = {"kind": str(about.kind), "task": about.task, "outcome": str(about.outcome)}
        facts = {"seconds": round(about.duration_s, 3), "content_hash": about.content_hash}
        self._lines.append({"id": about.id, **words, **facts})

    def forget(self) -> None:
        """Remove what a failed ``add`` has written."""
        shutil.rmtree(self._last, ignore_errors=True)

    def finish(self) -> None:
        """Write the list."""
        write_json(self.root / _LIST, {"format": "clap-workbench-takes", "version": 1, "takes": self._lines})
