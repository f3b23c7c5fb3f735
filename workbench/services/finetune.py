"""One click: from new takes to a model that can the new task and still the old ones, with the receipt that says so.

The run starts from a trained CLAP-RF model, keeps a frozen copy of it as reference and pulls the new model towards
the copy's answers under old instructions (Knowledge Matching), with a small replay of old takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.registry import ModelRecord, newest, read_record
from storage.layout import Home
from storage.records import EpisodeRecord
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.evaluation import Rate
from workbench.services.jobs import Jobs
from workbench.services.library import Library

KNOWLEDGE_MATCHING: Mapping[str, Any] = MappingProxyType(
    {
        "km_token_weight": 1.0,
        "km_velocity_weight": 1.0,
        "km_regression_weight": 1.0,
        "km_old_instructions": True,
        "replay_share": 0.25,
        "human_share": 0.0,
    }
)
FEW_TAKES = 10


@dataclass(frozen=True, slots=True)
class Material:
    """What a fine-tuning would learn from.

    Attributes:
        parent: the model it starts from.
        episodes: ids of the new takes.
        replay: ids of takes the parent knew, still on disk.
        takes_per_task, old_tasks: number of new takes by task; tasks the parent was shown by robot.
        warnings: sentences a person should read before starting.
    """

    parent: ModelRecord
    episodes: tuple[str, ...]
    replay: tuple[str, ...]
    takes_per_task: Mapping[str, int]
    old_tasks: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A take that the parent has not seen and that it could learn from.

    Attributes:
        why: ``demonstration``, ``correction`` (somebody took over from a policy) or ``success`` (of a policy, alone).
        corrected_s: for how long a person moved the arm in the middle of a policy's attempt.
        chosen: taken unless a person says otherwise; a policy's own successes teach it little that it does not know.
    """

    episode_id: str
    task: str
    why: str
    corrected_s: float
    chosen: bool


def candidates(home: Path, base: str | None = None) -> tuple[Candidate, ...]:
    """Everything new since a model was trained, oldest first: demonstrations, corrected attempts, successes."""
    root = Home.open(home)
    parent = read_record(root, base) if base else newest(root, "rf")
    seen = {episode_id for episode_id, _ in parent.data}
    with Library(home) as library:
        records = sorted(library.episodes(), key=lambda record: record.id)
    found = (_candidate(record) for record in records if record.id not in seen)
    return tuple(candidate for candidate in found if candidate is not None)


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
        verdict: ``better``, ``worse`` (the intervals do not overlap) or ``no clear change``.
    """

    task: str
    new: bool
    before: Rate
    after: Rate

    @property
    def verdict(self) -> str:
        if self.after.interval[0] > self.before.interval[1]:
            return "better"
        return "worse" if self.after.interval[1] < self.before.interval[0] else "no clear change"

    def to_json(self) -> dict[str, Any]:
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "new": self.new,
            "verdict": self.verdict,
        }


def gather(home: Path, base: str | None = None, episodes: Sequence[str] | None = None) -> Material:
    """Choose and check what to learn from: the given takes, else all chosen ``candidates``.

    Raises WorkbenchError if there is no CLAP-RF model, an unknown take, or nothing new.
    """
    root = Home.open(home)
    parent = read_record(root, base) if base else newest(root, "rf")
    if parent.stage != "rf":
        raise WorkbenchError(f"the model {parent.id} is of stage {parent.stage}", "Fine-tuning starts from an rf model")
    seen = {episode_id for episode_id, _ in parent.data}
    with Library(home) as library:
        records = {record.id: record for record in library.episodes()}
        named = tuple(library.find(episode_id).id for episode_id in episodes or ())
    chosen = named or tuple(found.episode_id for found in candidates(home, parent.id) if found.chosen)
    if not chosen:
        raise WorkbenchError(
            f"there is no new demonstration since the model {parent.id}", "Record some, or name takes with --episodes"
        )
    replay = tuple(i for i in sorted(seen) if i in records and records[i].kind == EpisodeKind.TELEOP)
    counts = Counter(records[i].task if i in records else "" for i in chosen)
    instructions = {r.task: r.instruction for r in records.values() if r.id in set(chosen)}
    shown = tuple(dict.fromkeys(records[i].task for i in replay))  # a task only seen in human clips is still new
    warnings = _warnings(counts, instructions, replay)
    return Material(parent, chosen, replay, MappingProxyType(dict(counts)), shown or parent.tasks, warnings)


def start(jobs: Jobs, material: Material, preset: str = "station", **changes: Any) -> str:
    """Start the fine-tuning run; returns its id at once. Recipe fields may be changed by name."""
    recipe = {**KNOWLEDGE_MATCHING, **changes}
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


def _warnings(counts: Mapping[str, int], instructions: Mapping[str, str], replay: Sequence[str]) -> tuple[str, ...]:
    found = [f"{task}: only {n} takes; {FEW_TAKES} or more are advised" for task, n in counts.items() if n < FEW_TAKES]
    found += [f"{task}: the takes carry no instruction" for task in counts if not instructions.get(task, "").strip()]
    if not replay:
        found.append("no take the parent knew is on disk any more, so nothing can be replayed")
    return tuple(found)
