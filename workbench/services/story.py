"""What happened in one unattended demonstration, kept on disk step by step, and its summary for scripts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import NotFoundError
from workbench.core.files import new_id, read_json, write_json
from workbench.core.types import EpisodeKind
from workbench.services.demo_plan import DemoPlan, demo_plan
from workbench.services.evaluation import Rate
from workbench.services.finetune import receipts
from workbench.services.machine import command_line, machine, versions

FILE_NAME = "story.json"
RATES = ("before", "after", "ntp")


@dataclass(slots=True)
class Story:
    """What has happened so far; kept in ``story.json`` after every step.

    Attributes:
        episodes: ids by chapter: ``demonstrations``, ``human``, ``imported``, ``new``.
        made: id of every take recorded for the story, by kind, task and seed; kept while a batch is being made.
        runs, models: run and model ids by stage (and ``finetune``).
        metrics: held-out figures by stage.
        before, after, ntp: rate by task.
        trials: ids of rollout takes by chapter: ``before``, ``after``, ``ntp``.
        latency_ms: median inference time by head.
        seconds: time by step, in the order of the steps.
    """

    plan: DemoPlan
    seed: int
    home: str
    run_id: str = field(default_factory=lambda: f"{new_id()[:12]}-demo")
    episodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: dict[str, Rate] = field(default_factory=dict)
    after: dict[str, Rate] = field(default_factory=dict)
    ntp: dict[str, Rate] = field(default_factory=dict)
    trials: dict[str, tuple[str, ...]] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """``runs/<run id>`` below the data folder."""
        return Path(self.home) / "runs" / self.run_id

    def save(self) -> None:
        """Keep the present state, so that the story can be gone on with."""
        write_json(self.folder / FILE_NAME, self.to_json())

    @classmethod
    def load(cls, home: Home, run_id: str) -> Story:
        """A story as it was last saved; NotFoundError with the nearest id."""
        path = home.runs / run_id / FILE_NAME
        if not run_id or not path.exists():
            raise NotFoundError.of("demonstration", run_id, (p.parent.name for p in home.runs.glob(f"*/{FILE_NAME}")))
        value = dict(read_json(path))
        value["plan"] = demo_plan(value["plan"]["name"])
        for chapter in RATES:
            value[chapter] = {task: Rate.from_json(rate) for task, rate in value[chapter].items()}
        for chapter in ("episodes", "trials"):
            value[chapter] = {name: tuple(ids) for name, ids in value[chapter].items()}
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plan = {entry.name: getattr(self.plan, entry.name) for entry in fields(self.plan)}
        value["plan"] = {**plan, "changes": {stage: dict(change) for stage, change in self.plan.changes.items()}}
        for chapter in RATES:
            value[chapter] = {task: rate.to_json() for task, rate in getattr(self, chapter).items()}
        return value


def summary(story: Story) -> dict[str, Any]:
    """The JSON object that `demo --json` prints."""
    codec, aligned = story.metrics.get("act_vae", {}), story.metrics.get("vd_vae", {})
    chapters = {
        EpisodeKind.HUMAN: ("human",),
        EpisodeKind.TELEOP: ("demonstrations", "new"),
        EpisodeKind.IMPORTED: ("imported",),
    }
    counts = {str(kind): sum(len(story.episodes.get(c, ())) for c in names) for kind, names in chapters.items()}
    counts[str(EpisodeKind.ROLLOUT)] = sum(len(ids) for ids in story.trials.values())
    success = {
        receipt.task: receipt.to_json() for receipt in receipts(story.before, story.after, (story.plan.new_task,))
    }
    return {
        "episodes": counts,
        "act_vae": {name: codec.get(name) for name in ("rmse_mm", "perplexity", "used")},
        "alignment": {name: aligned.get(name) for name in ("retrieval_top1", "retrieval_top5", "chance", "n")},
        "success": success,
        "success_ntp": {task: rate.to_json() for task, rate in story.ntp.items()},
        "latency_ms": story.latency_ms,
        "seconds": {**story.seconds, "total": round(sum(story.seconds.values()), 1)},
        "home": story.home,
        "models": story.models,
        "runs": story.runs,
        "notes": story.notes,
        "plan": story.plan.name,
        "seed": story.seed,
        "machine": machine(),
        "versions": versions(),
        "command": command_line(),
    }
