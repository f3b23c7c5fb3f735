"""What a fine-tuning learns from: new takes, old ones to rehearse, and what speaks against them.

The run starts from a trained CLAP-RF model, keeps a frozen copy of it as reference and pulls the new model towards
the copy's answers under old instructions (Knowledge Matching), with a replay of old takes. What reads the instruction
learns fast, but only where no old instruction is; all else learns slowly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.registry import ModelRecord, newest, read_record
from storage.layout import Home
from storage.records import EpisodeRecord
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.evaluation import Rate, change_interval
from workbench.services.finetune_check import trouble, warnings
from workbench.services.jobs import Jobs
from workbench.services.library import Library

# More takes of tasks the model knows, corrections for instance: measured with these.
KNOWN_TASKS: Mapping[str, Any] = MappingProxyType(
    {
        "km_token_weight": 1.0,
        "km_velocity_weight": 1.0,
        "km_regression_weight": 1.0,
        "km_old_instructions": True,
        "replay_share": 0.25,
        "human_share": 0.0,
    }
)
# A task the model does not know.
KNOWLEDGE_MATCHING: Mapping[str, Any] = MappingProxyType(
    {
        **KNOWN_TASKS,
        "km_relative": True,
        "km_replayed": True,
        "protect_old": True,
        "selector_lr_factor": 10.0,
        "tune_lr_factor": 0.33,
        "weight_ema": 0.99,
        "replay_share": 0.5,
    }
)
MOST_REPLAYED = 600  # takes; spread evenly over the tasks


@dataclass(frozen=True, slots=True)
class Material:
    """What a fine-tuning would learn from.

    Attributes:
        parent: the model it starts from.
        episodes: ids of the new takes.
        replay: ids of takes the parent knew, still on disk.
        takes_per_task, old_tasks: number of new takes by task; tasks the parent was shown by robot.
        warnings: sentences a person should read before starting.
        tasks: task by id of every take in ``episodes`` and ``replay``.
    """

    parent: ModelRecord
    episodes: tuple[str, ...]
    replay: tuple[str, ...]
    takes_per_task: Mapping[str, int]
    old_tasks: tuple[str, ...]
    warnings: tuple[str, ...]
    tasks: Mapping[str, str]

    @property
    def new_tasks(self) -> tuple[str, ...]:
        """Tasks that the parent was not shown by robot."""
        return tuple(task for task in self.takes_per_task if task not in self.old_tasks)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A take that the parent has not seen and that it could learn from.

    Attributes:
        why: ``demonstration``, ``correction`` (somebody took over from a policy) or ``success`` (of a policy, alone).
        corrected_s: for how long a person moved the arm in the middle of a policy's attempt.
        chosen: taken unless a person says otherwise; a policy's own successes teach it little that it does not know.
        trouble: why it should not be learned from, "" if nothing speaks against it. usable: it could be all the same.
    """

    episode_id: str
    task: str
    why: str
    corrected_s: float
    chosen: bool
    trouble: str = ""
    usable: bool = True


def candidates(home: Path, base: str | None = None) -> tuple[Candidate, ...]:
    """Everything new since a model was trained, oldest first: demonstrations, corrected attempts, successes."""
    root = Home.open(home)
    parent = read_record(root, base) if base else newest(root, "rf")
    with Library(home) as library:
        return _candidates(library.episodes(), seen_by(root, parent), parent)


def seen_by(home: Home, model: ModelRecord) -> frozenset[str]:
    """Ids of every take that a model or one it came from has learned from; a fine-tuning rehearses only some."""
    found: set[str] = set()
    names: set[str] = set()
    while model.id not in names:
        names.add(model.id)
        found |= {episode_id for episode_id, _ in model.data}
        try:
            model = read_record(home, model.parent)
        except WorkbenchError:
            break  # it was trained from nothing, or what it came from was deleted
    return frozenset(found)


def _candidates(records: Sequence[EpisodeRecord], seen: frozenset[str], parent: ModelRecord) -> tuple[Candidate, ...]:
    found = []
    for record in sorted(records, key=lambda record: record.id):
        candidate = _candidate(record) if record.id not in seen else None
        if candidate is not None:
            words, usable = trouble(record, parent)
            found.append(replace(candidate, trouble=words, usable=usable, chosen=candidate.chosen and not words))
    return tuple(found)


def _candidate(record: EpisodeRecord) -> Candidate | None:
    if record.kind == EpisodeKind.TELEOP and record.outcome != Outcome.FAILURE:
        return Candidate(record.id, record.task, "demonstration", 0.0, chosen=True)
    if record.kind != EpisodeKind.ROLLOUT or "replay_of" in record.extra:
        return None
    corrected_s = record.extra.get("corrected_s")
    if isinstance(corrected_s, int | float) and corrected_s > 0:
        return Candidate(record.id, record.task, "correction", float(corrected_s), chosen=True)
    if record.outcome == Outcome.SUCCESS:
        return Candidate(record.id, record.task, "success", 0.0, chosen=False)
    return None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What fine-tuning did to one task: success before and after.

    Attributes:
        verdict: ``better``, ``worse`` (the interval of the change does not reach zero) or ``no clear change``.
    """

    task: str
    new: bool
    before: Rate
    after: Rate

    @property
    def verdict(self) -> str:
        low, high = change_interval(self.before, self.after)
        return "better" if low > 0 else "worse" if high < 0 else "no clear change"

    def to_json(self) -> dict[str, Any]:
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "new": self.new,
            "verdict": self.verdict,
        }


def gather(home: Path, base: str | None = None, episodes: Sequence[str] | None = None) -> Material:
    """Choose and check what to learn from: the given takes, else all chosen ``candidates``.

    Raises WorkbenchError if there is no CLAP-RF model, an unknown take, nothing new, or a named take that nothing can
    be learned from.
    """
    root = Home.open(home)
    parent = read_record(root, base) if base else newest(root, "rf")
    if parent.stage != "rf":
        raise WorkbenchError(f"the model {parent.id} is of stage {parent.stage}", "Fine-tuning starts from an rf model")
    seen = seen_by(root, parent)
    with Library(home) as library:
        records = {record.id: record for record in library.episodes()}
        named = tuple(library.find(episode_id).id for episode_id in episodes or ())
    new = _candidates(tuple(records.values()), seen, parent)
    chosen = named or tuple(found.episode_id for found in new if found.chosen)
    if not chosen:
        raise _nothing_new(parent, new)
    _refuse_unusable([records[i] for i in named if i in records], parent)
    known = [records[i] for i in sorted(seen) if i in records and records[i].kind == EpisodeKind.TELEOP]
    replay = _spread(known, MOST_REPLAYED)
    counts = Counter(records[i].task if i in records else "" for i in chosen)
    shown = tuple(dict.fromkeys(records[i].task for i in replay))  # a task only seen in human clips is still new
    told = warnings([records[i] for i in chosen if i in records], replay, parent)
    tasks = {i: records[i].task for i in (*chosen, *replay) if i in records}
    per_task = MappingProxyType(dict(counts))
    return Material(parent, chosen, replay, per_task, shown or parent.tasks, told, MappingProxyType(tasks))


def usual_recipe(material: Material) -> Mapping[str, Any]:
    """How the old is held on to while this is learned: recipe fields that differ from a preset's."""
    return KNOWLEDGE_MATCHING if material.new_tasks else KNOWN_TASKS


def start(jobs: Jobs, material: Material, preset: str = "station", **changes: Any) -> str:
    """Start the training alone, without the check for forgetting; returns its id at once."""
    recipe = {**usual_recipe(material), **changes}
    if not material.replay:
        recipe["replay_share"] = 0.0
    return jobs.start(
        "rf",
        preset,
        episodes=material.episodes,
        replay=material.replay,
        base={**material.parent.bases, "rf": material.parent.id},
        **recipe,
    )


def receipts(before: Mapping[str, Rate], after: Mapping[str, Rate], new_tasks: Sequence[str]) -> tuple[Receipt, ...]:
    """The forgetting receipt: one line per task that was driven before and after."""
    return tuple(Receipt(task, task in new_tasks, before[task], after[task]) for task in before if task in after)


def _nothing_new(parent: ModelRecord, new: Sequence[Candidate]) -> WorkbenchError:
    troubled = [candidate for candidate in new if candidate.trouble]
    if troubled:
        first = troubled[0]
        said = f"{len(troubled)} new takes are left out; the first, {first.episode_id[:12]}, {first.trouble}"
        return WorkbenchError(f"there is no new demonstration to learn from ({said})", "Record others")
    return WorkbenchError(
        f"there is no new demonstration since the model {parent.id}", "Record some, or name takes with --episodes"
    )


def _refuse_unusable(named: Sequence[EpisodeRecord], parent: ModelRecord) -> None:
    for record in named:
        words, usable = trouble(record, parent)
        if words and not usable:
            raise WorkbenchError(f"nothing can be learned from the take {record.id[:12]}: it {words}", "Leave it out")


def _spread(known: Sequence[EpisodeRecord], most: int) -> tuple[str, ...]:
    """All of them, or ``most`` with as many of every task as of any other, spread over time; in order of their ids."""
    if len(known) <= most:
        return tuple(record.id for record in known)
    by_task: dict[str, list[str]] = {}
    for record in known:
        by_task.setdefault(record.task, []).append(record.id)
    share = max(1, most // len(by_task))
    kept = []
    for ids in by_task.values():
        step = max(1.0, len(ids) / share)
        kept += [ids[int(k * step)] for k in range(min(share, len(ids)))]
    return tuple(sorted(kept))
