"""Verbs about what is on disk and attached: episodes, import, devices, doctor."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.layout import Home
from storage.records import EpisodeRecord
from workbench import cli_upkeep
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, add_actions, no_arguments, positive
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.devices import examine_all, list_devices
from workbench.services.library import Library
from workbench.services.settings import load_settings

KINDS, OUTCOMES = [str(kind) for kind in EpisodeKind], [str(outcome) for outcome in Outcome]


def _episodes_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(
        parser,
        list="takes, newest first",
        show="one take in full",
        label="say how a take ended",
        note="replace the note of a take",
        delete="move takes to the trash",
        restore="bring takes back from the trash",
        undo="take back the last change",
        verify="compare takes with their content hash",
        stats="counts by kind, task, outcome and quality",
        assess=cli_upkeep.HELP,
    )
    listing = actions["list"]
    listing.add_argument("--kind", choices=KINDS)
    listing.add_argument("--task")
    listing.add_argument("--outcome", choices=OUTCOMES)
    listing.add_argument("--text", default="", help="words of an instruction, a note or an id")
    listing.add_argument("--trashed", action="store_true", help="what lies in the trash")
    for name in ("show", "label", "note"):
        actions[name].add_argument("id")
    actions["label"].add_argument("outcome", choices=OUTCOMES)
    actions["note"].add_argument("text")
    for name in ("delete", "restore"):
        actions[name].add_argument("ids", nargs="+", metavar="id")
    actions["verify"].add_argument("ids", nargs="*", metavar="id", help="default: all")
    cli_upkeep.add_assess_arguments(actions["assess"])


def _episodes(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    with Library(_home(options)) as library:
        return _ACTIONS[options.action](library, options, output)


def _list(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    kind = EpisodeKind(options.kind) if options.kind else None
    outcome = Outcome(options.outcome) if options.outcome else None
    records = library.episodes(kind, options.task, outcome, options.text, options.trashed)
    rows = [(r.id, r.kind, r.task, r.outcome, f"{r.duration_s:.1f} s", r.notes) for r in records]
    output.table("", ("id", "kind", "task", "outcome", "length", "note"), rows)
    output.say(f"{len(records)} takes")
    return {"episodes": [describe(record) for record in records]}


def _show(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    view = library.open(options.id)
    about = describe(view.record)
    streams = {
        name: {**spec.to_json(), "items": view.manifest.counts.get(name, 0), "gaps": view.manifest.gaps.get(name, 0)}
        for name, spec in view.streams.items()
    }
    output.table("", ("", ""), list(about.items()))
    rows = [
        (n, s["items"], s["gaps"], "x".join(map(str, s["shape"])), s["dtype"], s["rate_hz"]) for n, s in streams.items()
    ]
    output.table("", ("stream", "items", "gaps", "shape", "type", "Hz"), rows)
    return {
        **about,
        "rows": view.rows,
        "streams": streams,
        "devices": view.manifest.devices,
        "extra": view.manifest.extra,
    }


def _label(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = library.find(options.id)
    library.label(record.id, Outcome(options.outcome))
    output.say(f"{record.id} is labelled {options.outcome}")
    return {"id": record.id, "outcome": options.outcome}


def _note(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = library.find(options.id)
    library.note(record.id, options.text)
    output.say(f"{record.id} is noted")
    return {"id": record.id, "notes": options.text}


def _delete(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = [library.find(text).id for text in options.ids]
    library.trash(ids)
    output.say(f"{len(ids)} takes are in the trash; `episodes undo` brings them back")
    return {"trashed": ids}


def _restore(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = [library.find(text).id for text in options.ids]
    library.restore(ids)
    output.say(f"{len(ids)} takes are back")
    return {"restored": ids}


def _undo(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    undone = library.undo()
    output.say(undone or "there is nothing to undo")
    return {"undone": undone}


def _verify(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = [library.find(text).id for text in options.ids] or [record.id for record in library.episodes()]
    problems: dict[str, tuple[str, ...]] = {}
    with output.progress("verifying") as step:
        for done, episode_id in enumerate(ids, 1):
            found = library.open(episode_id).verify()
            if found:
                problems[episode_id] = found
            step(done, len(ids))
    for episode_id, found in problems.items():
        output.say(f"{episode_id}: {'; '.join(found)}")
    output.say(f"{len(ids) - len(problems)} of {len(ids)} takes are as they were sealed")
    return {"verified": len(ids), "problems": problems}


def _stats(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    records = library.episodes()
    tasks = Counter(record.task for record in records)
    outcomes = Counter(str(record.outcome) for record in records)
    hours = sum(record.duration_s for record in records) / 3600
    output.table("", ("kind", "takes"), list(library.counts().items()))
    output.table("", ("task", "takes"), sorted(tasks.items()))
    output.say(f"{hours:.2f} hours in {len(records)} takes")
    quality = cli_upkeep.describe_quality(records)
    output.table("", ("flag", "takes"), list(quality["flags"].items()))
    output.say(f"{quality['assessed']} of them assessed, {quality['without_flags']} without a flag")
    return {
        "kinds": library.counts(),
        "tasks": dict(tasks),
        "outcomes": dict(outcomes),
        "hours": round(hours, 4),
        "quality": quality,
    }


_ACTIONS = {
    "list": _list,
    "show": _show,
    "label": _label,
    "note": _note,
    "delete": _delete,
    "restore": _restore,
    "undo": _undo,
    "verify": _verify,
    "stats": _stats,
    "assess": cli_upkeep.assess,
}


def describe(record: EpisodeRecord) -> dict[str, Any]:
    """One take as plain values."""
    return {
        "id": record.id,
        "kind": str(record.kind),
        "task": record.task,
        "instruction": record.instruction,
        "outcome": str(record.outcome),
        "notes": record.notes,
        "duration_s": round(record.duration_s, 3),
        "started_at": str(record.started_at),
    }


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="folder or file of the recordings")
    parser.add_argument("--format", default="", help="default: found out from what is there")
    parser.add_argument("--max-side", type=positive, metavar="PX", help="reduce larger pictures to this longer side")


def _import(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    with output.progress(f"importing {options.path.name}") as step, Library(_home(options)) as library:
        report = library.import_from(options.path, options.format, step, max_side_px=options.max_side)
    for name, reason in report.skipped:
        output.say(f"{name} was left out: {reason}")
    output.say(f"{len(report.ids)} takes imported, {len(report.known)} were here already")
    return {"episodes": report.ids, "known": report.known, "skipped": [list(pair) for pair in report.skipped]}


def _devices(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    found = list_devices(load_settings(_home(options))).to_json()
    rows = [(noun, d["kind"], d["id"], d["status"], d["reason"]) for noun, group in found.items() for d in group]
    output.table("", ("sort", "kind", "id", "status", "why"), rows)
    return found


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fix", action="store_true", help="finish interrupted takes, put damaged ones aside")


def _doctor(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    found = examine_all(options.home, fix=options.fix)
    rows = [("ok" if c["ok"] else "!!", c["name"], c["found"], c["advice"]) for c in found["checks"]]
    output.table("", ("", "check", "found", "advice"), rows)
    found["preflight"] = cli_upkeep.report_readiness(Home(Path(found["home"])), found["checks"], output)
    for message in found["takes"]["messages"]:
        output.say(message)
    output.say("all is well" if found["ok"] else "something needs attention, see above")
    return found


def _home(options: argparse.Namespace) -> Path:
    return Home.open(options.home).path


EPISODES = Verb(_episodes_arguments, _episodes)
IMPORT = Verb(_import_arguments, _import)
DEVICES = Verb(no_arguments, _devices)
DOCTOR = Verb(_doctor_arguments, _doctor)
