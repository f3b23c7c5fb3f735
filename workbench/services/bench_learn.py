"""The table of claims: every claim of the method with its controls, on the same takes, seed by seed, with intervals.

Recording is done once; every arm is the same code with other recipe fields. What is finished stands in
``exports/bench_learn.json`` at any time, and a killed comparison goes on from its notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import new_id, write_json
from workbench.services import bench_learn_numbers as numbers
from workbench.services import finetune
from workbench.services.bench_learn_corrections import Corrections
from workbench.services.bench_learn_notes import Notes
from workbench.services.bench_learn_plan import (
    ALIGNMENT,
    FLOW_STEPS,
    FORGETTING,
    GALLERY,
    HEADS,
    HUMAN_ONLY,
    JOINT,
    ORACLE,
    TRANSFER,
    Changes,
    LearnPlan,
    learn_plan,
)
from workbench.services.bench_learn_runs import Material, Runner, Training, notes_folder
from workbench.services.demo import Teller
from workbench.services.machine import command_line, machine, versions

FILE_NAME = "bench_learn.json"


def bench_learn(
    home: Path,
    teller: Teller,
    *,
    only: Sequence[str],
    size: str,
    seeds: int | None = None,
    seed: int = 0,
    recorded: bool = False,
    arms: Sequence[str] = (),
    base: str = "",
) -> dict[str, Any]:
    """Fill the table's sections and return it. Blocks for minutes (tiny) to many hours (full).

    Args:
        seeds: trainings per arm; None = the plan's.
        arms: only these arms of the sections, for a part of the table; () = all.
        base: corrections start from this model, and latency is that of it, instead of one trained for the table.

    Raises WorkbenchError when a step cannot be done; what is finished is kept and the next call goes on from it.
    """
    plan = learn_plan(size)
    about = {"size": size, "seed": seed, "recorded": recorded} | ({"base": base} if base else {})
    folder = notes_folder(home, f"{size}-{seed}{'-recorded' if recorded else ''}{f'-{base[:12]}' if base else ''}")
    runner = Runner(home, plan, Notes.open(folder, about), teller, seed=seed, recorded=recorded)
    table = Table(runner, seeds or plan.seeds, arms, base)
    table.fill(only)
    return table.result


def learn_home(given: Path | None, *, recorded: bool) -> Path:
    """The data folder of a comparison: the given one, else a folder of its own beside the usual one.

    Thousands of takes and models for a table do not belong among a lab's own, unless those are what is compared.
    """
    usual = Home.open(given).path
    return usual if given or recorded else usual.with_name(f"{usual.name}-bench-learn")


class Table:
    """Fills the sections one after the other; see ``bench_learn``."""

    def __init__(self, runner: Runner, seeds: int, arms: Sequence[str] = (), base: str = "") -> None:
        self._runner = runner
        self._base = base
        self._plan: LearnPlan = runner.plan
        self._seeds = seeds
        self._arms = tuple(arms)
        self._material = Material((), (), ())
        self.result: dict[str, Any] = {
            "plan": self._plan.story.name,
            "takes": {},
            "seeds": seeds,
            "home": str(runner.home),
            "file": str(Home.open(runner.home).exports / FILE_NAME),
            "machine": machine(),
            "versions": versions(),
            "seed": runner.seed,
            "command": command_line(),
        }

    def fill(self, sections: Sequence[str]) -> None:
        """Do what these sections need; ``result`` and the file grow arm by arm."""
        self._material = self._runner.material()
        chapters = ("demonstrations", "human", "new")
        self.result["takes"] = {name: len(getattr(self._material, name)) for name in chapters}
        makers: Mapping[str, Callable[[], None]] = {
            "alignment": self._alignment,
            "policy": self._policy,
            "transfer": self._transfer,
            "forgetting": self._forgetting,
            "corrections": self._corrections,
            "latency": self._latency,
        }
        for section in sections:
            makers[section]()
            self._runner.teller.note(f"{section}: done")

    # sections -------------------------------------------------------------------------------------------------------

    def _alignment(self) -> None:
        runner = self._runner
        measured: dict[str, list[Any]] = {}
        for k in range(self._seeds):
            arms = self._chosen(self._plan.alignment)
            self._train_codec(k)
            runner.train([self._aligning(k, arm) for arm in arms])
            for arm in arms:
                name = f"{k}/alignment/{arm}"
                model, clips = runner.model(f"{k}/vd_vae/{arm}"), list(self._material.human)
                found = runner.measure(name, "alignment", model_id=model, clips=clips, gallery=GALLERY)
                measured.setdefault(arm, []).append(found)
                seconds = runner.seconds([f"{s}/vd_vae/{arm}" for s in range(k + 1)])
                reference = measured.get("clap", ()) if arm != "clap" else ()
                self._enter("alignment", arm, numbers.alignment_entry(measured[arm], seconds, reference))

    def _policy(self) -> None:
        story = self._plan.story
        for k in range(self._seeds):
            model = self._policies(k, ["clap"])["clap"]
            for head in HEADS:
                self._runner.drive(f"{k}/policy/{head}", model, head, dict.fromkeys(story.tasks, story.trials), k)
                entry = numbers.rate_entry(self._trials("policy", head))
                self._enter("policy", head, {**entry, "seconds": self._policy_seconds("clap", k)})

    def _transfer(self) -> None:
        self._demand("human", "clip of a person")
        trials = dict.fromkeys(HUMAN_ONLY, self._plan.story.new_trials)
        for k in range(self._seeds):
            for arm, model in self._policies(k, self._chosen(self._plan.transfer)).items():
                for head in HEADS:
                    self._runner.drive(f"{k}/transfer/{arm}/{head}", model, head, trials, k)
                flow, tokens = (numbers.rate_entry(self._trials("transfer", f"{arm}/{head}")) for head in HEADS)
                self._enter("transfer", arm, {**flow, "ntp": tokens, "seconds": self._policy_seconds(arm, k)})

    def _forgetting(self) -> None:
        self._demand("new", f"demonstration of {self._plan.story.new_task}")
        story, runner = self._plan.story, self._runner
        trials = {**dict.fromkeys(story.tasks, story.trials), story.new_task: story.new_trials}
        for k in range(self._seeds):
            arms = self._chosen(self._plan.forgetting)
            models = self._policies(k, ["clap", JOINT] if JOINT in arms else ["clap"])
            runner.drive(f"{k}/forgetting/before", models["clap"], "rf", trials, k)
            runner.train([self._tuning(k, arm, models["clap"]) for arm in arms if arm != JOINT])
            for arm in arms:
                model = models[JOINT] if arm == JOINT else runner.model(f"{k}/forgetting/{arm}")
                runner.drive(f"{k}/forgetting/{arm}", model, "rf", trials, k)
                self._enter("forgetting", arm, self._receipt(arm, k))

    def _corrections(self) -> None:
        part = Corrections(self._runner, self._enter)
        for k in range(self._seeds):
            base = self._base or self._policies(k, ["clap"])["clap"]
            part.fill(k, base, self._chosen(self._plan.corrections))

    def _latency(self) -> None:
        model = self._base or self._policies(0, ["clap"])["clap"]
        values = {"model_id": model, "steps": list(FLOW_STEPS)}
        spent = self._runner.measure("latency/pace", "pace", calls=self._plan.calls, **values)
        errors = self._runner.measure("latency/errors", "chunk_errors", **values)
        for head, entry in numbers.pace_entries(spent, errors).items():
            self._enter("latency", head, entry)

    # parts of sections ----------------------------------------------------------------------------------------------

    def _receipt(self, arm: str, k: int) -> dict[str, Any]:
        """Old and new tasks before and after, over the seeds so far."""
        story = self._plan.story
        before, after = self._trials("forgetting", "before")[: k + 1], self._trials("forgetting", arm)
        runs = [f"{s}/{'rf' if arm == JOINT else 'forgetting'}/{arm}" for s in range(k + 1)]
        old = numbers.rate_entry(after, story.tasks)
        return {
            "old_before": numbers.rate_entry(before, story.tasks),
            "old_after": old,
            "new_before": numbers.rate_entry(before, [story.new_task]),
            "new_after": numbers.rate_entry(after, [story.new_task]),
            "seconds": round(self._runner.seconds(runs), 1),
            **{key: old[key] for key in ("seeds", "n", "interval")},
        }

    def _trials(self, section: str, name: str) -> list[dict[str, bool]]:
        """Outcomes of every seed that was driven, in order."""
        notes = self._runner.notes.trials
        names = [f"{k}/{section}/{name}" for k in range(self._seeds)]
        return [notes[each] for each in names if notes.get(each)]

    def _chosen(self, arms: Sequence[str]) -> tuple[str, ...]:
        """The wanted arms of a section, the plan's order."""
        chosen = tuple(arm for arm in arms if not self._arms or arm in self._arms)
        if not chosen:
            raise WorkbenchError(
                f"none of the arms {', '.join(self._arms)} belongs to this section", f"Choose from {', '.join(arms)}"
            )
        return chosen

    def _demand(self, chapter: str, noun: str) -> None:
        if not getattr(self._material, chapter):
            raise WorkbenchError(
                f"this comparison needs a {noun}; there is none in {self._runner.home}", "Leave out --recorded"
            )

    def _enter(self, section: str, arm: str, entry: Mapping[str, Any]) -> None:
        self.result.setdefault(section, {})[arm] = dict(entry)
        write_json(Path(self.result["file"]), self.result)

    # trainings ------------------------------------------------------------------------------------------------------

    def _train_codec(self, k: int) -> None:
        self._runner.train([self._training(f"{k}/act_vae", "act_vae", k, self._material.demonstrations, {}, {})])

    def _aligning(self, k: int, arm: str) -> Training:
        base = {"act_vae": f"{k}/act_vae"}
        return self._training(f"{k}/vd_vae/{arm}", "vd_vae", k, self._everything(), base, ALIGNMENT[arm])

    def _policies(self, k: int, arms: Sequence[str]) -> dict[str, str]:
        """The CLAP-RF models of transfer arms (or of everything together), trained with all they stand on."""
        labels = {arm: "clap" if arm == JOINT else TRANSFER[arm][0] for arm in arms}
        self._train_codec(k)
        needed = dict.fromkeys("clap" if name == ORACLE else name for name in labels.values())
        self._runner.train([self._aligning(k, name) for name in needed])
        if ORACLE in labels.values():
            self._make_oracle(k)
        for stage in ("ntp", "rf"):
            self._runner.train([self._acting(k, stage, arm, labels[arm]) for arm in arms])
        return {arm: self._runner.model(f"{k}/rf/{arm}") for arm in arms}

    def _acting(self, k: int, stage: str, arm: str, labels: str) -> Training:
        """One policy stage of an arm; ``labels`` names the alignment whose labels the human rows carry."""
        base = {"act_vae": f"{k}/act_vae", "vd_vae": f"{k}/vd_vae/{labels}"}
        base |= {"ntp": f"{k}/ntp/{arm}"} if stage == "rf" else {}
        takes = self._everything(self._material.new if arm == JOINT else ())
        changes = {} if arm == JOINT else TRANSFER[arm][1]
        return self._training(f"{k}/{stage}/{arm}", stage, k, takes, base, changes)

    def _policy_seconds(self, arm: str, last: int) -> float:
        names = [f"{k}/{stage}/{arm}" for k in range(last + 1) for stage in ("ntp", "rf")]
        return round(self._runner.seconds(names), 1)

    def _make_oracle(self, k: int) -> None:
        """A copy of the alignment with perfect labels; its id is kept first, so that a kill leaves no stray copy."""
        notes = self._runner.notes
        entry = notes.runs.setdefault(f"{k}/vd_vae/{ORACLE}", {"run": "", "model": new_id(), "seconds": 0.0})
        notes.save()
        values = {"model_id": self._runner.model(f"{k}/vd_vae/clap"), "oracle_id": entry["model"]}
        self._runner.measure(f"{k}/oracle", "oracle", clips=list(self._material.human), **values)

    def _tuning(self, k: int, arm: str, base: str) -> Training:
        def start() -> str:
            found = finetune.gather(self._runner.home, base, self._material.new)
            changes = {**self._plan.story.changes.get("finetune", {}), **FORGETTING[arm]}
            preset = self._plan.story.preset
            return finetune.start(self._runner.jobs, found, preset, seed=self._seed(k), **changes)

        return Training(f"{k}/forgetting/{arm}", start)

    def _training(
        self, name: str, stage: str, k: int, takes: Sequence[str], base: Mapping[str, str], changes: Changes
    ) -> Training:
        """A run of a stage; ``base`` names trainings by role."""

        def start() -> str:
            models = {role: self._runner.model(other) for role, other in base.items()}
            story = self._plan.story
            more = {**story.changes.get(stage, {}), **changes}
            return self._runner.jobs.start(
                stage, story.preset, episodes=tuple(takes), base=models, seed=self._seed(k), **more
            )

        return Training(name, start)

    def _everything(self, more: Sequence[str] = ()) -> tuple[str, ...]:
        return (*self._material.demonstrations, *self._material.human, *more)

    def _seed(self, k: int) -> int:
        return self._runner.seed + k
