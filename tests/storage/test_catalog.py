from __future__ import annotations

import shutil
import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from storage.catalog import Catalog
from storage.doctor import examine
from storage.episode import Episode
from storage.layout import Home
from tests.storage.takes import write_take
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import EpisodeKind, Outcome


def test_takes_are_found_by_what_they_are(home: Home) -> None:
    with Catalog(home) as catalog:
        human = write_take(home, 0.3, kind=EpisodeKind.HUMAN, operator="Ada")
        robot = write_take(home, 0.3, task="100%_done")
        for manifest in (human, robot):
            catalog.add(manifest)
            catalog.add(manifest)
        assert [record.id for record in catalog.episodes()] == [robot.id, human.id]
        assert [record.id for record in catalog.episodes(kind=EpisodeKind.HUMAN)] == [human.id]
        assert [record.id for record in catalog.episodes(task="100%_done")] == [robot.id]
        assert [record.id for record in catalog.episodes(text="ada CUBE")] == [human.id]
        assert [record.id for record in catalog.episodes(text="%_")] == [robot.id]
        assert catalog.episodes(text="nobody") == () and catalog.episodes(ids=[]) == ()
        assert [record.id for record in catalog.episodes(ids=[human.id, "x"])] == [human.id]
        record = catalog.episode(human.id)
        assert record.started_at == human.started_at and record.counts == human.counts
        assert record.cameras == ("front",) and record.outcome is Outcome.SUCCESS


def test_edits_reach_the_take_and_can_be_undone_after_a_restart(home: Home) -> None:
    manifest = write_take(home, 0.3)
    with Catalog(home) as catalog:
        catalog.add(manifest)
        catalog.label(manifest.id, Outcome.FAILURE)
        catalog.note(manifest.id, "the cube slipped")
        catalog.trash([manifest.id])
        assert catalog.episodes() == () and len(catalog.episodes(trashed=True)) == 1
        assert not home.sealed(manifest.id).exists()
    with Catalog(home) as catalog:
        assert "deletion of 1 take" in str(catalog.undo())
        with Episode.open(home, manifest.id) as episode:
            assert episode.manifest.notes == "the cube slipped" and episode.manifest.outcome is Outcome.FAILURE
            assert episode.verify() == []
        assert "notes" in str(catalog.undo()) and "label" in str(catalog.undo())
        assert catalog.undo() is None
        with Episode.open(home, manifest.id) as episode:
            assert episode.manifest == manifest


def test_rebuild_finds_everything_again(home: Home) -> None:
    kept, trashed, lost = (write_take(home, 0.3) for _ in range(3))
    with Catalog(home) as catalog:
        for manifest in (kept, trashed, lost):
            catalog.add(manifest)
        catalog.label(kept.id, Outcome.FAILURE)
        catalog.trash([trashed.id])
        trial = catalog.add_trial("model-1", "cube_to_plate", True, episode_id=kept.id, seed=5, extra={"a": [1]})
        before = catalog.episode(kept.id), catalog.episode(trashed.id)
    shutil.rmtree(home.sealed(lost.id))
    for path in home.path.glob("catalog.db*"):
        path.unlink()
    with Catalog(home) as catalog:
        assert (catalog.episode(kept.id), catalog.episode(trashed.id)) == before
        assert catalog.trials("model-1") == (trial,)
        with pytest.raises(NotFoundError):
            catalog.episode(lost.id)
        assert catalog.rebuild() == 2 and len(catalog.trials()) == 1


def test_trials_by_model_and_task(home: Home) -> None:
    with Catalog(home) as catalog:
        made = [catalog.add_trial("m", task, ok) for task, ok in (("a", True), ("b", False))]
        assert catalog.trials("m") == tuple(made) and catalog.trials("m", "b") == (made[1],)
        assert catalog.trials("another") == ()


def test_an_edit_that_can_no_longer_be_undone_does_not_block_the_others(home: Home) -> None:
    first, second = write_take(home, 0.3), write_take(home, 0.3)
    with Catalog(home) as catalog:
        catalog.add(first)
        catalog.add(second)
        catalog.note(first.id, "one")
        catalog.note(second.id, "two")
        shutil.rmtree(home.sealed(second.id))
        with pytest.raises(WorkbenchError, match="no longer on disk"):
            catalog.undo()
        assert catalog.undo() is not None and catalog.episode(first.id).notes == ""
        with pytest.raises(WorkbenchError):
            catalog.trash([second.id])


def test_many_threads_edit_without_loss(home: Home) -> None:
    manifests = [write_take(home, 0.2) for _ in range(4)]
    with Catalog(home) as catalog:
        for manifest in manifests:
            catalog.add(manifest)

        def edit(episode_id: str) -> None:
            for number in range(5):
                catalog.note(episode_id, str(number))

        threads = [threading.Thread(target=edit, args=(manifest.id,)) for manifest in manifests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {record.notes for record in catalog.episodes()} == {"4"}
        undone = 0
        while catalog.undo():
            undone += 1
        assert undone == 20 and {record.notes for record in catalog.episodes()} == {""}


class _Library(RuleBasedStateMachine):
    """Any sequence of edits and undos agrees with a plain model, on disk and in the index."""

    home: Home

    @initialize()
    def begin(self) -> None:
        for folder in (*self.home.episodes.iterdir(), *self.home.trash.iterdir()):
            shutil.rmtree(folder)
        self.catalog = Catalog(self.home, "sqlite:///" + str(self.home.path / f"{id(self)}.db"))
        self.model: dict[str, tuple[Outcome, str, bool]] = {}
        self.past: list[dict[str, tuple[Outcome, str, bool]]] = []
        for _ in range(2):
            manifest = write_take(self.home, 0.1)
            self.catalog.add(manifest)
            self.model[manifest.id] = (manifest.outcome, "", False)

    def _edit(self, episode_id: str, **changes: object) -> None:
        self.past.append(dict(self.model))
        outcome, notes, trashed = self.model[episode_id]
        values = {"outcome": outcome, "notes": notes, "trashed": trashed} | changes
        self.model[episode_id] = (values["outcome"], values["notes"], values["trashed"])

    @rule(which=st.integers(0, 1), outcome=st.sampled_from(list(Outcome)))
    def label(self, which: int, outcome: Outcome) -> None:
        episode_id = sorted(self.model)[which]
        self.catalog.label(episode_id, outcome)
        self._edit(episode_id, outcome=outcome)

    @rule(which=st.integers(0, 1), notes=st.text(max_size=10).filter(lambda text: text.isprintable()))
    def note(self, which: int, notes: str) -> None:
        episode_id = sorted(self.model)[which]
        self.catalog.note(episode_id, notes)
        self._edit(episode_id, notes=notes)

    @rule(which=st.integers(0, 1), to_trash=st.booleans())
    def move(self, which: int, to_trash: bool) -> None:
        episode_id = sorted(self.model)[which]
        (self.catalog.trash if to_trash else self.catalog.restore)([episode_id])
        if self.model[episode_id][2] != to_trash:
            self._edit(episode_id, trashed=to_trash)

    @rule()
    def undo(self) -> None:
        assert (self.catalog.undo() is None) == (not self.past)
        if self.past:
            self.model = self.past.pop()

    @invariant()
    def agrees(self) -> None:
        for episode_id, (outcome, notes, trashed) in getattr(self, "model", {}).items():
            record = self.catalog.episode(episode_id)
            assert (record.outcome, record.notes, record.trashed) == (outcome, notes, trashed)
            with Episode.open(self.home, episode_id, trashed=trashed) as episode:
                assert (episode.manifest.outcome, episode.manifest.notes) == (outcome, notes)

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            self.catalog.close()


def test_any_sequence_of_edits_and_undos(home: Home) -> None:
    machine = type("Library", (_Library,), {"home": home})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert examine(home).clean
