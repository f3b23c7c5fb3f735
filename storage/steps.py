"""The steps that edits are made of. Each is done on disk first and then in the index, and answers how to take it back.

Steps are plain values, so that an edit can be taken back after a restart:

``{"do": "change", "takes": {id: {"outcome": ..., "notes": ..., "extra": {key: value or null}}}}``
``{"do": "move", "ids": [...], "to_trash": bool}``
``{"do": "file", "file": "collections/<id>.json", "content": {...} or null}``
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from storage.edits import change_manifest, move_take, stamp_of, take_folder
from storage.entering import Found, enter, in_batches, insert_rows
from storage.layout import Home
from storage.reader import read_manifest
from storage.sets import TakeSet, parse_set
from storage.tables import CollectionRow, CollectionTakeRow, EpisodeRow
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, sync_directory, write_json

Step = dict[str, Any]


def change(takes: Mapping[str, Mapping[str, Any]]) -> Step:
    """Set what takes say about themselves; an extra of None is removed."""
    return {"do": "change", "takes": {episode_id: dict(values) for episode_id, values in takes.items()}}


def move(episode_ids: Sequence[str], *, to_trash: bool) -> Step:
    """Move takes to the trash or back."""
    return {"do": "move", "ids": list(episode_ids), "to_trash": to_trash}


def put(what: TakeSet) -> Step:
    """Write a set of takes, new or instead of the one with its id."""
    return {"do": "file", "file": what.file, "content": what.to_json()}


def drop(what: TakeSet) -> Step:
    """Remove a set of takes, not the takes."""
    return {"do": "file", "file": what.file, "content": None}


def carry_out(home: Home, session: Session, steps: Sequence[Step]) -> list[Step]:
    """Do the steps in order; returns those that take them back. If one fails, nothing is changed on disk."""
    inverse: list[Step] = []
    index = _Index()
    try:
        for step in steps:
            for part in _parts(step):
                inverse.insert(0, _on_disk(home, part, index))
        index.write(session)
    except BaseException:
        for part in inverse:
            with contextlib.suppress(WorkbenchError, OSError):
                _on_disk(home, part, _Index())
        raise
    return _joined(inverse)


def enter_set(session: Session, what: TakeSet) -> None:
    """Write the rows of a set that has none yet."""
    created = datetime.datetime.fromisoformat(what.created_at)
    row = {"id": what.id, "name": what.name, "frozen": what.frozen, "created_at": created}
    insert_rows(session, CollectionRow, [row])
    members = [
        {"collection_id": what.id, "episode_id": member.id, "place": place, "content_hash": member.content_hash}
        for place, member in enumerate(what.members)
    ]
    insert_rows(session, CollectionTakeRow, members)


def takes_in(steps: Sequence[Step]) -> set[str]:
    """Ids of the takes that steps touch."""
    found: set[str] = set()
    for step in steps:
        found.update(step.get("takes", ()), step.get("ids", ()))
    return found


@dataclass(slots=True)
class _Index:
    """What the index has to learn once the disk is changed; written at the end, many takes at once."""

    changed: dict[str, Found] = field(default_factory=dict)
    moved: dict[str, bool] = field(default_factory=dict)
    sets: dict[str, TakeSet | None] = field(default_factory=dict)

    def write(self, session: Session) -> None:
        enter(session, self.changed.values())
        for to_trash in (False, True):
            for some in in_batches([take for take, trashed in self.moved.items() if trashed == to_trash]):
                session.execute(update(EpisodeRow).where(EpisodeRow.id.in_(some)).values(trashed=to_trash))
        for set_id in self.sets:
            session.execute(delete(CollectionRow).where(CollectionRow.id == set_id))
        for what in self.sets.values():
            if what is not None:
                enter_set(session, what)


def _parts(step: Step) -> Iterator[Step]:
    """The step in parts that each touch one file or folder."""
    if step["do"] == "change":
        yield from (change({episode_id: values}) for episode_id, values in step["takes"].items())
    elif step["do"] == "move":
        yield from (move([episode_id], to_trash=step["to_trash"]) for episode_id in step["ids"])
    else:
        yield step


def _joined(parts: Sequence[Step]) -> list[Step]:
    """The same with one step for many takes moved or changed one after another."""
    steps: list[Step] = []
    for part in parts:
        last: Step = steps[-1] if steps else {"do": ""}
        if part["do"] == last["do"] == "move" and part["to_trash"] == last["to_trash"]:
            last["ids"] += part["ids"]
        elif part["do"] == last["do"] == "change" and not part["takes"].keys() & last["takes"].keys():
            last["takes"] |= part["takes"]
        else:
            steps.append(part)
    return steps


def _on_disk(home: Home, part: Step, index: _Index) -> Step:
    """Do one part; returns what takes it back and tells the index."""
    if part["do"] == "change":
        ((episode_id, values),) = part["takes"].items()
        return _change(home, episode_id, values, index)
    if part["do"] == "move":
        (episode_id,) = part["ids"]
        move_take(home, episode_id, to_trash=part["to_trash"])
        index.moved[episode_id] = part["to_trash"]
        return move([episode_id], to_trash=not part["to_trash"])
    return _file(home, part["file"], part["content"], index)


def _change(home: Home, episode_id: str, values: Mapping[str, Any], index: _Index) -> Step:
    folder = take_folder(home, episode_id)
    before = read_manifest(folder)
    changed = change_manifest(folder, **values)
    index.changed[episode_id] = Found(changed, folder.parent == home.trash, stamp_of(folder))
    old: dict[str, Any] = {name: str(getattr(before, name)) for name in values if name != "extra"}
    if "extra" in values:
        old["extra"] = {key: before.extra.get(key) for key in values["extra"]}
    return change({episode_id: old})


def _file(home: Home, file: str, content: Any, index: _Index) -> Step:
    path = home.path / file
    before = read_json(path) if path.is_file() else None
    what = None if content is None else parse_set(file, content)
    if what is None:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)
    else:
        write_json(path, content)
    index.sets[path.stem] = what
    return {"do": "file", "file": file, "content": before}
