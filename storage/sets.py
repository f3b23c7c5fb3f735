"""Named sets of takes on disk: collections, which change, and snapshots, which never do. One JSON file each.

``collections/<id>.json`` holds ``{"name", "created_at", "takes": [id, ...]}``; ``snapshots/<id>.json`` holds
``{"name", "created_at", "takes": [[id, content hash, trim marks or null], ...], "digest"}``, where the digest is the
SHA-256 of the rest, so that a file changed by hand is noticed.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.archive_swap import original_hash
from storage.layout import Home, is_episode_id
from storage.marks import Trim, trim_of
from storage.reader import Episode, read_manifest
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.files import hash_bytes, read_json

COLLECTIONS, SNAPSHOTS = "collections", "snapshots"
LONGEST_NAME = 128
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A take in a set. A snapshot also keeps what it held, and which part of it was to be used, when it was frozen."""

    id: str
    content_hash: str = ""
    trim: Trim | None = None


@dataclass(frozen=True, slots=True)
class TakeSet:
    """A collection or, ``frozen``, a snapshot; ``created_at`` is ISO 8601 UTC."""

    id: str
    name: str
    created_at: str
    members: tuple[Member, ...]
    frozen: bool = False

    @property
    def file(self) -> str:
        """Where it lies, relative to the data root."""
        return f"{SNAPSHOTS if self.frozen else COLLECTIONS}/{self.id}.json"

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        about: dict[str, Any] = {"name": self.name, "created_at": self.created_at}
        if not self.frozen:
            return {**about, "takes": [member.id for member in self.members]}
        takes = [[m.id, m.content_hash, m.trim and m.trim.to_json()] for m in self.members]
        return {**about, "takes": takes, "digest": _digest({**about, "takes": takes})}


def parse_set(file: str, value: Any) -> TakeSet:
    """The set in a file of the data root. WorkbenchError if it is none."""
    folder, _, name = file.partition("/")
    set_id = name.removesuffix(".json")
    try:
        if folder not in (COLLECTIONS, SNAPSHOTS) or not is_episode_id(set_id):
            raise ValueError("it has an unknown name")
        frozen = folder == SNAPSHOTS
        members = tuple(_member(item) for item in value["takes"])
        if datetime.datetime.fromisoformat(value["created_at"]).tzinfo is None:
            raise ValueError("its time has no zone")
        if len({member.id for member in members}) != len(members):
            raise ValueError("it names a take twice")
        return TakeSet(set_id, check_name(value["name"]), value["created_at"], members, frozen)
    except (TypeError, ValueError, KeyError, AttributeError, WorkbenchError) as error:
        raise WorkbenchError(f"the set of takes in {file} is not readable ({error})", "Make it anew") from error


def read_sets(home: Home) -> Iterator[TakeSet]:
    """Every readable set on disk, oldest first; of two with one name only the older one."""
    names: set[str] = set()
    for folder in (COLLECTIONS, SNAPSHOTS):
        for path in sorted((home.path / folder).glob("*.json")):
            try:
                found = parse_set(f"{folder}/{path.name}", read_json(path))
            except WorkbenchError as error:
                _log.warning("%s", error)
                continue
            if found.name in names:
                _log.warning("%s is left out: another set is named %r too", found.file, found.name)
                continue
            names.add(found.name)
            yield found


def check_name(name: Any) -> str:
    """The name without blanks around it; WorkbenchError if it cannot be one."""
    clean = name.strip() if isinstance(name, str) else ""
    if not clean or len(clean) > LONGEST_NAME or not clean.isprintable():
        raise WorkbenchError(
            f"{name!r} cannot be the name of a set of takes", f"Use 1 to {LONGEST_NAME} printable characters"
        )
    return clean


def frozen_members(home: Home, episode_ids: Sequence[str]) -> tuple[Member, ...]:
    """The takes as they are now, read from disk. CorruptTakeError or NotFoundError for one that is not in use."""
    members = []
    for episode_id in dict.fromkeys(episode_ids):
        with Episode.open(home, episode_id) as take:
            members.append(Member(episode_id, take.manifest.content_hash, trim_of(take.manifest.extra)))
    return tuple(members)


def compare(home: Home, member: Member, *, deep: bool) -> str:
    """What is no longer as it was frozen, in words; "" if nothing. ``deep`` reads the whole take."""
    folder, trashed = home.sealed(member.id), home.trashed(member.id)
    if not folder.is_dir():
        return "it is in the trash" if trashed.is_dir() else "it is gone"
    try:
        manifest = read_manifest(folder)
        problems = Episode(folder, manifest).verify() if deep else []
    except CorruptTakeError as error:
        return f"it cannot be read: {error}"
    if manifest.content_hash != member.content_hash:
        archived = original_hash(manifest) == member.content_hash
        problems.append("it was archived, in a smaller form" if archived else "its contents were replaced")
    if trim_of(manifest.extra) != member.trim:
        problems.append("its trim marks were moved")
    return "; ".join(problems)


def file_is_true(path: Path) -> bool:
    """False if a snapshot's file was changed after it was written."""
    try:
        value = read_json(path)
        return bool(value.pop("digest") == _digest(value))
    except (WorkbenchError, KeyError, AttributeError):
        return False


def _member(item: Any) -> Member:
    if isinstance(item, str):
        item = [item, "", None]
    episode_id, content_hash, trim = item
    if not is_episode_id(episode_id) or not isinstance(content_hash, str) or len(content_hash) > 64:
        raise ValueError("it names something that is no take")
    return Member(episode_id, content_hash, trim_of({"trim": trim}))


def _digest(value: dict[str, Any]) -> str:
    return hash_bytes(json.dumps(value, sort_keys=True).encode())
