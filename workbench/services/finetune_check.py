"""What speaks against learning from a take: damage, cameras and arm that do not fit the model, missing words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from models.registry import ModelRecord
from storage.quality_thresholds import Flag
from storage.records import EpisodeRecord
from workbench.core.types import EpisodeKind

FEW_TAKES = 10
_BROKEN = {Flag.UNREADABLE: "cannot be read", Flag.EMPTY: "has an empty stream", Flag.NOT_FINITE: "holds wrong numbers"}
_DOUBTFUL = {Flag.FROZEN: "has a frozen picture", Flag.NO_MOTION: "shows no motion"}
_VECTORS = ("observation.state", "action")


def trouble(record: EpisodeRecord, parent: ModelRecord) -> tuple[str, bool]:
    """Why a take should not be learned from, "" if nothing speaks against it; and whether it could be all the same."""
    flags = set(record.flags)
    for known, usable in ((_BROKEN, False), (_DOUBTFUL, True)):
        for flag, words in known.items():
            if flag in flags:
                return words, usable
    if record.kind != EpisodeKind.HUMAN and not any(record.counts.get(name, 0) > 1 for name in _VECTORS):
        return "holds no arm", False
    wanted = cameras_of(parent)
    if wanted and not set(wanted) & set(record.cameras):
        return f"has no picture of {' or '.join(wanted)}", False
    return "", True


def cameras_of(model: ModelRecord) -> tuple[str, ...]:
    """Names of the cameras a model looks through; () if its record does not tell."""
    found = model.recipe.get("cameras", ())
    return tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()


def warnings(chosen: Sequence[EpisodeRecord], replay: Sequence[str], parent: ModelRecord) -> tuple[str, ...]:
    """Sentences a person should read before fine-tuning starts."""
    counts = Counter(record.task for record in chosen)
    words: defaultdict[str, set[str]] = defaultdict(set)
    for record in chosen:
        words[record.task].add(record.instruction.strip())
    found = [f"{task}: only {n} takes; {FEW_TAKES} or more are advised" for task, n in counts.items() if n < FEW_TAKES]
    found += [f"{task}: the takes carry no instruction" for task, said in words.items() if "" in said]
    found += _one_wording_for_two(words)
    found += _missing_cameras(chosen, cameras_of(parent))
    found += _remarked(chosen)
    if not replay:
        found.append("no take the parent knew is on disk any more, so nothing can be replayed")
    return tuple(found)


def _one_wording_for_two(words: Mapping[str, set[str]]) -> list[str]:
    of: defaultdict[str, list[str]] = defaultdict(list)
    for task, said in words.items():
        for wording in said - {""}:
            of[wording].append(task)
    return [f"'{said}' is the instruction of {' and '.join(tasks)}" for said, tasks in of.items() if len(tasks) > 1]


def _missing_cameras(chosen: Sequence[EpisodeRecord], wanted: Sequence[str]) -> list[str]:
    lacking = Counter(name for record in chosen for name in wanted if name not in record.cameras)
    return [f"{n} of {len(chosen)} takes have no picture of {name}" for name, n in lacking.items()]


def _remarked(chosen: Sequence[EpisodeRecord]) -> list[str]:
    flagged = [record for record in chosen if record.flags]
    if not flagged:
        return []
    common = Counter(flag for record in flagged for flag in record.flags).most_common(2)
    said = ", ".join(f"{flag.replace('_', ' ')} {n}" for flag, n in common)
    return [f"the quality check remarks on {len(flagged)} of {len(chosen)} takes ({said})"]
