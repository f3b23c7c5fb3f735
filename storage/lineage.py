"""What came of what: takes, the runs and models that learnt from them, and the takes that models drove.

The folders of runs and models are the truth; whoever knows how to read them hands plain entries in.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine, Select, case, delete, select
from sqlalchemy.orm import Session

from storage.entering import in_batches, insert_rows
from storage.records import ModelEntry, RunEntry, TakeUse
from storage.tables import (
    CollectionRow,
    CollectionTakeRow,
    EpisodeRow,
    ModelLinkRow,
    ModelRow,
    ModelTakeRow,
    RolloutRow,
    RunRow,
    RunTakeRow,
)
from workbench.core.errors import NotFoundError

_UNENDED = ("queued", "running")
Edit = Callable[[], AbstractContextManager[Session]]


class Lineage:
    """The catalogue's memory of training. Thread-safe. Made by ``Catalog``, which hands in how to write."""

    def __init__(self, engine: Engine, edit: Edit) -> None:
        self._engine = engine
        self._edit = edit

    def enter_model(self, entry: ModelEntry, takes: Iterable[tuple[str, str]] = ()) -> None:
        """Write a model and the (id, content hash) of the takes it saw, instead of what is known of it."""
        self.enter_models([(entry, takes)])

    def enter_models(self, models: Iterable[tuple[ModelEntry, Iterable[tuple[str, str]]]]) -> None:
        """``enter_model`` for many."""
        with self._edit() as session:
            for entry, takes in models:
                session.execute(delete(ModelRow).where(ModelRow.id == entry.id))
                insert_rows(session, ModelRow, [_model_values(entry)])
                links = {role: base for role, base in entry.bases if base}
                insert_rows(
                    session,
                    ModelLinkRow,
                    [{"model_id": entry.id, "role": role, "base_id": base} for role, base in links.items()],
                )
                seen = dict(takes)
                insert_rows(
                    session,
                    ModelTakeRow,
                    [{"model_id": entry.id, "episode_id": take, "content_hash": seen[take]} for take in seen],
                )

    def enter_run(self, entry: RunEntry, takes: Mapping[str, str]) -> None:
        """Write a run and the role (``learn`` or ``replay``) of each take by id, instead of what is known of it."""
        with self._edit() as session:
            hashes = _hashes(session, list(takes))
            session.execute(delete(RunRow).where(RunRow.id == entry.id))
            values = {name: getattr(entry, name) for name in ("id", "stage", "preset", "state", "model_id")}
            insert_rows(session, RunRow, [{**values, "bases": dict(entry.bases)}])
            rows = [
                {"run_id": entry.id, "episode_id": take, "role": role, "content_hash": hashes.get(take, "")}
                for take, role in takes.items()
            ]
            insert_rows(session, RunTakeRow, rows)

    def forget(self, *, models: Iterable[str] = (), runs: Iterable[str] = ()) -> None:
        """Remove models and runs that are no longer on disk."""
        with self._edit() as session:
            for some in in_batches(models):
                session.execute(delete(ModelRow).where(ModelRow.id.in_(some)))
            for some in in_batches(runs):
                session.execute(delete(RunRow).where(RunRow.id.in_(some)))

    def models(self) -> tuple[ModelEntry, ...]:
        """Every model, oldest first."""
        with Session(self._engine) as session:
            return _entries(session, select(ModelRow))

    def model(self, model_id: str) -> ModelEntry:
        """One model. NotFoundError names the nearest."""
        with Session(self._engine) as session:
            found = _entries(session, select(ModelRow).where(ModelRow.id == model_id))
            if not found:
                raise NotFoundError.of("model", model_id, session.scalars(select(ModelRow.id)))
            return found[0]

    def runs(self) -> tuple[RunEntry, ...]:
        """Every run, by id."""
        with Session(self._engine) as session:
            rows = session.scalars(select(RunRow).order_by(RunRow.id))
            return tuple(RunEntry(row.id, row.stage, row.preset, row.state, row.model_id, row.bases) for row in rows)

    def takes_of(self, model_id: str) -> tuple[TakeUse, ...]:
        """The takes that a model was trained on and what has become of them; NotFoundError names the nearest model."""
        self.model(model_id)
        query = uses(ModelTakeRow.episode_id, ModelTakeRow.content_hash).where(ModelTakeRow.model_id == model_id)
        with Session(self._engine) as session:
            return take_uses(session, query.order_by(ModelTakeRow.episode_id))

    def takes_of_run(self, run_id: str) -> tuple[TakeUse, ...]:
        """The takes that a run was given, as they were when it was first seen."""
        query = uses(RunTakeRow.episode_id, RunTakeRow.content_hash).where(RunTakeRow.run_id == run_id)
        with Session(self._engine) as session:
            return take_uses(session, query.order_by(RunTakeRow.episode_id))

    def models_of(self, episode_id: str) -> tuple[ModelEntry, ...]:
        """The models that were trained on a take, oldest first."""
        trained = select(ModelTakeRow.model_id).where(ModelTakeRow.episode_id == episode_id)
        with Session(self._engine) as session:
            return _entries(session, select(ModelRow).where(ModelRow.id.in_(trained)))

    def rollouts_of(self, model_id: str) -> tuple[str, ...]:
        """Ids of the takes that a model drove, newest first."""
        query = select(RolloutRow.episode_id).where(RolloutRow.model_id == model_id)
        with Session(self._engine) as session:
            return tuple(session.scalars(query.order_by(RolloutRow.episode_id.desc())))

    def ancestors(self, model_id: str) -> tuple[ModelEntry, ...]:
        """Every model that this one was built on, directly or not, oldest first."""
        return self._related(model_id, ModelLinkRow.model_id, ModelLinkRow.base_id)

    def descendants(self, model_id: str) -> tuple[ModelEntry, ...]:
        """Every model that was built on this one, directly or not, oldest first."""
        return self._related(model_id, ModelLinkRow.base_id, ModelLinkRow.model_id)

    def _related(self, model_id: str, here: Any, there: Any) -> tuple[ModelEntry, ...]:
        self.model(model_id)
        reached = select(there.label("id")).where(here == model_id).cte("reached", recursive=True)
        reached = reached.union(select(there).join(reached, here == reached.c.id))  # union: a circle ends
        with Session(self._engine) as session:
            query = select(ModelRow).where(ModelRow.id.in_(select(reached.c.id)), ModelRow.id != model_id)
            return _entries(session, query)


def pins(session: Session, episode_ids: Sequence[str]) -> dict[str, list[str]]:
    """Why takes should stay, in words by take: snapshots, models, and runs that have not ended."""
    found: dict[str, list[str]] = {}
    sources: tuple[tuple[str, Any, Any], ...] = (
        (
            "the snapshot '{}'",
            CollectionTakeRow.episode_id,
            select(CollectionTakeRow.episode_id, CollectionRow.name).join(CollectionRow).where(CollectionRow.frozen),
        ),
        (
            "the model {}",
            ModelTakeRow.episode_id,
            select(ModelTakeRow.episode_id, ModelTakeRow.model_id),
        ),
        (
            "the training run {}",
            RunTakeRow.episode_id,
            select(RunTakeRow.episode_id, RunTakeRow.run_id).join(RunRow).where(RunRow.state.in_(_UNENDED)),
        ),
    )
    for words, column, query in sources:
        for some in in_batches(episode_ids):
            for episode_id, name in session.execute(query.where(column.in_(some))):
                found.setdefault(episode_id, []).append(words.format(name))
    return {episode_id: sorted(words) for episode_id, words in found.items()}


def take_uses(session: Session, query: Select[Any]) -> tuple[TakeUse, ...]:
    """The uses that ``uses`` finds."""
    return tuple(TakeUse(*row) for row in session.execute(query))


def uses(episode_id: Any, content_hash: Any) -> Select[Any]:
    """Takes that another table names, and what has become of them."""
    same = content_hash.in_(("", EpisodeRow.content_hash, EpisodeRow.recorded_hash))
    state = case(
        (EpisodeRow.id.is_(None), "gone"),
        (EpisodeRow.trashed, "trashed"),
        (~same, "changed"),
        else_="here",
    )
    return select(episode_id, content_hash, state).outerjoin(EpisodeRow, EpisodeRow.id == episode_id)


def _hashes(session: Session, episode_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in in_batches(episode_ids):
        query = select(EpisodeRow.id, EpisodeRow.content_hash).where(EpisodeRow.id.in_(some))
        found.update((episode_id, content_hash) for episode_id, content_hash in session.execute(query))
    return found


def _model_values(entry: ModelEntry) -> dict[str, Any]:
    same = {name: getattr(entry, name) for name in ("id", "stage", "run_id", "preset", "recipe_hash")}
    created = datetime.datetime.fromisoformat(entry.created_at)
    return {**same, "created_at": created, "tasks": list(entry.tasks), "metrics": dict(entry.metrics)}


def _entries(session: Session, query: Select[ModelRow]) -> tuple[ModelEntry, ...]:
    rows = session.scalars(query.order_by(ModelRow.created_at, ModelRow.id)).all()
    links: dict[str, list[tuple[str, str]]] = {}
    for some in in_batches([row.id for row in rows]):
        for link in session.scalars(select(ModelLinkRow).where(ModelLinkRow.model_id.in_(some))):
            links.setdefault(link.model_id, []).append((link.role, link.base_id))
    return tuple(
        ModelEntry(
            row.id,
            row.stage,
            row.run_id,
            row.preset,
            row.recipe_hash,
            row.created_at.isoformat(),
            tuple(row.tasks),
            row.metrics,
            tuple(sorted(links.get(row.id, []))),
        )
        for row in rows
    )
