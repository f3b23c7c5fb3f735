"""Verbs about learning: align, train, finetune, rollout. For the models themselves see ``cli_models``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from hardware.sim.tasks import TASKS
from models import registry
from models.official.preset import PUBLISHED
from models.recipes import PRESETS
from models.registry import ModelRecord
from models.stages import STAGES, RunSpec
from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_trials import add_trial_arguments, run_series, wants_series
from workbench.cli_verbs import Verb, positive, seconds
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.services import finetune, model_shelf
from workbench.services.aligning import Aligning
from workbench.services.alignment_report import alignment_json, explain_run, has_report
from workbench.services.evaluation import Rate, evaluate, trial_jobs
from workbench.services.finetune_plan import LADDER, Options, Plan, one_click, retry
from workbench.services.finetune_time import RECEIPT, shown_time
from workbench.services.forgetting import DECIDES, Margins
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.live import LiveRequest, drive_live
from workbench.services.lockstep import LockstepSettings
from workbench.services.remote_policy import with_server
from workbench.services.report import write_run_report
from workbench.services.settings import Settings, load_settings


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", "--recipe", dest="preset", default="station", choices=[*sorted(PRESETS), *PUBLISHED]
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of the recipe"
    )


def _changes(options: argparse.Namespace) -> dict[str, str]:
    changes = {}
    for text in options.set:
        name, sign, value = text.partition("=")
        if not sign:
            raise WorkbenchError(f"'{text}' is not FIELD=VALUE", "For example: --set steps=500")
        changes[name.strip()] = value.strip()
    return changes


def _finish(jobs: Jobs, run_id: str, title: str, output: Output) -> JobStatus:
    """Follow a run to its end."""
    output.note(f"run {run_id}")
    with output.progress(title) as step:
        return jobs.follow(run_id, lambda now: step(now.step, now.steps) if now.steps else None)


def _result(home: Home, jobs: Jobs, status: JobStatus, output: Output) -> dict[str, Any]:
    if status.stage == "vd_vae" and not has_report(home.path, status.run_id):
        output.note("measuring on held-out takes")
        explain_run(home.path, status.run_id)
    page = write_run_report(home.path, status.run_id)
    output.say(f"model {status.model_id}; report {page}")
    metrics = jobs.metrics(status.run_id)
    return {"run": status.run_id, "model": status.model_id, "metrics": metrics, "report": str(page)}


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="?", choices=STAGES)
    _recipe_arguments(parser)
    parser.add_argument("--episodes", nargs="+", metavar="ID", help="default: all that suit the stage")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that was cancelled or killed")


def _train(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home = Home.open(options.home)
    jobs = Jobs(home.path)
    if options.resume:
        jobs.resume(options.resume)
        run_id = options.resume
    elif options.stage:
        run_id = jobs.start(options.stage, options.preset, episodes=options.episodes, **_changes(options))
    else:
        raise WorkbenchError("neither a stage nor a run to resume was named", "Stages: " + ", ".join(STAGES))
    status = _finish(jobs, run_id, f"training {jobs.status(run_id).stage}", output)
    return _result(home, jobs, status, output)


def _align_arguments(parser: argparse.ArgumentParser) -> None:
    _recipe_arguments(parser)
    parser.add_argument("--resume", metavar="ALIGNMENT", help="go on with one that was cancelled or killed")


def _align(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    """Act-VAE, then VD-VAE on its frozen codebook, then the report."""
    home = Home.open(options.home)
    jobs = Jobs(home.path)
    aligning = Aligning(home.path, jobs)
    if options.resume:
        align_id = options.resume
        aligning.resume(align_id)
    else:
        align_id = aligning.start(options.preset, changes={"vd_vae": _changes(options)})
    output.note(f"alignment {align_id}")
    with output.progress("aligning") as step:
        done = aligning.follow(align_id, lambda now: step(now.step, now.steps))
    codec, aligned = (jobs.status(done.runs[stage]) for stage in ("act_vae", "vd_vae"))
    return {
        "id": align_id,
        "act_vae": _result(home, jobs, codec, output),
        "alignment": {**_result(home, jobs, aligned, output), **alignment_json(home.path, aligned.run_id)},
    }


def _finetune_arguments(parser: argparse.ArgumentParser) -> None:
    _recipe_arguments(parser)
    parser.add_argument("--base", metavar="MODEL", help="default: the promoted or newest rf model")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--new-episodes", action="store_true", help="all the model has not seen (the default)")
    which.add_argument("--episodes", nargs="+", metavar="ID")
    parser.add_argument("--trials", type=int, default=0, help="drive every task so often before and after")
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument(
        "--margin", type=float, default=Margins().success, help="how far an earlier task may fall, 0..1"
    )
    parser.add_argument(
        "--rung", type=int, default=0, choices=range(len(LADDER)), help="how hard to hold on to the old"
    )
    parser.add_argument("--retry", metavar="RUN", help="do a fine-tuning that forgot again, one rung higher")


def _finetune(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home = Home.open(options.home)
    jobs = Jobs(home.path)
    run_id = retry(jobs, options.retry) if options.retry else _one_click(home, jobs, options, output)
    plan = Plan.read(home.runs / run_id)
    for warning in plan.warnings:
        output.note(warning)
    known = plan.estimate.seconds
    output.note(f"{'about ' + shown_time(known) if known is not None else 'time unknown'} ({plan.estimate.how})")
    status = _follow_phases(jobs, run_id, output)
    receipt = read_json(home.runs / run_id / RECEIPT)
    spec = RunSpec.read(home.runs / run_id)
    _show_receipt(receipt, output)
    output.say(f"model {status.model_id}; report {home.runs / run_id / 'report.html'}")
    return {
        "run": run_id,
        "model": status.model_id,
        "metrics": jobs.metrics(run_id),
        "report": str(home.runs / run_id / "report.html"),
        "parent": plan.parent,
        "episodes": list(spec.episodes),
        "receipt": receipt["tasks"],
        "gate": receipt["gate"],
        "estimate_s": plan.estimate.seconds,
        "estimate_how": plan.estimate.how,
        "seconds": receipt["seconds"],
        "retry_of": plan.retry_of,
    }


def _one_click(home: Home, jobs: Jobs, options: argparse.Namespace, output: Output) -> str:
    base = find_model(home, options.base, "rf").id if options.base else None
    material = finetune.gather(home.path, base, options.episodes)
    chosen = Options(
        preset=options.preset,
        trials=options.trials,
        workers=options.workers,
        rung=options.rung,
        changes=_changes(options),
        margins=Margins(success=options.margin),
    )
    return one_click(jobs, material, chosen)


def _follow_phases(jobs: Jobs, run_id: str, output: Output) -> JobStatus:
    output.note(f"run {run_id}")
    with output.progress("fine-tuning") as step:

        def told(now: JobStatus) -> None:
            if now.of:
                step(now.done, now.of)

        return jobs.follow(run_id, told)


def _show_receipt(receipt: Mapping[str, Any], output: Output) -> None:
    rows = []
    for task, line in receipt["tasks"].items():
        error = line["held_out"].get(DECIDES)
        driven = [str(Rate.from_json(line[k])) if line[k] else "not driven" for k in ("before", "after")]
        errors = [f"{error[k]['mean']:.1f} mm" if error else "" for k in ("before", "after")]
        rows.append((task, "new" if line["new"] else "", *driven, *errors, line["verdict"]))
    output.table("", ("task", "", "before", "after", "held out", "after", ""), rows)
    gate = receipt["gate"]
    output.say("it may be used" if gate["passed"] else "it is not put into use: " + "; ".join(gate["reasons"]))
    for remark in gate["remarks"]:
        output.note(remark)


def find_model(home: Home, text: str, stage: str = "") -> ModelRecord:
    """The model whose id is, or alone begins with, ``text``; NotFoundError with the nearest id."""
    return model_shelf.find(home.path, text, stage)


def _rollout_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="default: the promoted or newest rf model")
    which.add_argument("--policy", nargs="?", const="", metavar="URL", help="a policy server; without URL: [policy]")
    parser.add_argument("--token", default="", help="what the policy server wants to see")
    parser.add_argument("--task", default="", help="a task's name or its instruction")
    parser.add_argument("--trials", type=positive, default=1)
    parser.add_argument("--head", choices=("rf", "ntp"), default="rf")
    parser.add_argument("--workers", type=positive, default=2)
    add_trial_arguments(parser)
    parser.add_argument("--live", action="store_true", help="on this station, in real time; Ctrl-C holds and seals")
    parser.add_argument("--seconds", type=seconds, default=40.0, help="live: longest attempt")


def _rollout(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    home = Home.open(options.home)
    settings, model_id = load_settings(home.path), ""
    if not (options.task or options.series):
        raise WorkbenchError("no task was named", "For example: --task " + next(iter(TASKS)))
    if wants_series(options):
        models = [find_model(home, text, "rf").id for text in options.models or ()]
        return run_series(home, settings, models, _task_name(options.task), options, output)
    if options.policy is not None:
        settings = with_server(settings, options.policy, options.token)
        model_id = settings.policy.url
    else:
        model_id = (find_model(home, options.model, "rf") if options.model else registry.newest(home, "rf")).id
    task = _task_name(options.task)
    if options.live:
        return _rollout_live(home, settings, model_id, task, options, output)
    jobs, rates = trial_jobs(model_id, {task: options.trials}, options.head), LockstepSettings(policy=settings.policy)
    with output.progress(f"driving {task}") as step:
        found = evaluate(home.path, jobs, settings=rates, workers=options.workers, progress=step)[options.head]
    rate = found.per_task[task]
    output.say(f"{task}: {rate}")
    takes = [
        {"episode": t.episode_id, "seed": t.job.seed, "success": t.success, "message": t.message} for t in found.trials
    ]
    latency = {options.head: found.latency_ms}
    return {"model": model_id, "task": task, **rate.to_json(), "latency_ms": latency, "trials": takes}


def _task_name(text: str) -> str:
    """A task's name, given that or its instruction."""
    return next((task.name for task in TASKS.values() if task.instruction == text), text)


def _rollout_live(
    home: Home, settings: Settings, model_id: str, task: str, options: argparse.Namespace, output: Output
) -> Mapping[str, Any]:
    """On the running station; a run that was interrupted tells what it has."""
    asked = LiveRequest(model_id, options.head, task, options.trials, options.seconds)
    with output.progress(f"driving {task}") as step:
        found = drive_live(home.path, settings, asked, step, threads=options.threads)
    for attempt in found.attempts:
        output.say(f"{attempt.episode_id}: {attempt.ended_by} after {attempt.seconds:.1f} s")
    if found.rate.n:
        output.say(f"{task}: {found.rate}")
    return {
        "model": model_id,
        "task": task,
        "live": True,
        **found.rate.to_json(),
        "latency_ms": {options.head: found.latency_ms},
        "timing": found.timing,
        "interrupted": found.interrupted,
        "trials": [attempt.to_json() for attempt in found.attempts],
    }


ALIGN = Verb(_align_arguments, _align)
TRAIN = Verb(_train_arguments, _train)
FINETUNE = Verb(_finetune_arguments, _finetune)
ROLLOUT = Verb(_rollout_arguments, _rollout)
