"""Verbs about other programs and other stations: import, export."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_selection import add_filters, filter_of, found
from workbench.cli_verbs import Verb, positive, seconds
from workbench.core.errors import WorkbenchError
from workbench.services.exchange import ImportPlan, ImportSettings, Preview, export_formats, free_at, import_formats
from workbench.services.library import Library


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", type=Path, help="folder or file of the recordings")
    add("--format", default="", choices=["", *import_formats()], help="default: found out from what is there")
    add("--dry-run", action="store_true", help="only say what would come and how much disk it needs")
    add("--max-side", type=positive, metavar="PX", help="reduce larger pictures to this longer side")
    add("--camera", default="front", metavar="NAME", help="what the camera of plain videos is called (front)")
    add("--rate", type=seconds, metavar="HZ", help="steps a second of a source that does not tell")


def _import(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    settings = ImportSettings(options.max_side, options.camera, options.rate)
    with Library(_home(options)) as library:
        if options.dry_run:
            with output.progress(f"looking at {options.path.name}") as step:
                plan = library.plan_import(options.path, options.format, step, settings=settings)
            return _tell_plan(plan, output)
        with output.progress(f"importing {options.path.name}") as step:
            report = library.import_from(options.path, options.format, step, settings=settings)
    for name, reason in report.skipped:
        output.say(f"{name} was left out: {reason}")
    output.say(f"{len(report.ids)} takes imported, {len(report.known)} were here already")
    return {"episodes": report.ids, "known": report.known, "skipped": [list(pair) for pair in report.skipped]}


def _tell_plan(plan: ImportPlan, output: Output) -> Mapping[str, Any]:
    rows = [(take.name, _state(take), take.kind, take.task, f"{take.seconds:.1f}") for take in plan.takes]
    output.table(plan.title, ("source", "", "kind", "task", "s"), rows)
    needed, free = plan.bytes_needed / 1e9, plan.free_bytes / 1e9
    output.say(f"{len(plan.new)} takes would come, {len(plan.known)} are here already, {len(plan.broken)} cannot")
    output.say(f"about {needed:.2f} GB of {free:.2f} GB free" + ("" if plan.fits else ": the disk is too full"))
    return {
        "dry_run": True,
        "format": plan.format,
        "takes": [_described(take) for take in plan.takes],
        "new": len(plan.new),
        "known": len(plan.known),
        "broken": len(plan.broken),
        "bytes_needed": plan.bytes_needed,
        "free_bytes": plan.free_bytes,
        "fits": plan.fits,
    }


def _state(take: Preview) -> str:
    return take.problem or ("is here already" if take.known else "new")


def _described(take: Preview) -> dict[str, Any]:
    words = {"name": take.name, "kind": str(take.kind), "task": take.task, "instruction": take.instruction}
    streams = [spec.name for spec in take.streams]
    return {**words, "seconds": take.seconds, "streams": streams, "known": take.known, "problem": take.problem}


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dest", type=Path, help="a new folder")
    parser.add_argument("--format", required=True, choices=list(export_formats()))
    parser.add_argument("--episodes", dest="ids", nargs="+", default=[], metavar="ID", help="these takes")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written")
    add_filters(parser, trash=False)


def _export(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    target = options.dest.expanduser()
    with Library(_home(options)) as library:
        ids = found(library, options.ids) if options.ids else list(library.ids(filter_of(options), "oldest"))
        if not ids:
            raise WorkbenchError("no take fits these conditions", "Look with `python main.py episodes list`")
        if options.dry_run:
            return _tell_export(library, ids, target, options.format, output)
        with output.progress(f"exporting to {target.name}") as step:
            report = library.export_to(ids, target, options.format, step)
    for name, reason in report.skipped:
        output.say(f"{name} was left out: {reason}")
    if report.left_out:
        output.say(f"the format has no place for {', '.join(report.left_out)}")
    output.say(f"{report.episodes} takes, {report.bytes / 1e6:.1f} MB in {report.path}")
    return {
        "path": report.path,
        "format": options.format,
        "episodes": report.episodes,
        "frames": report.frames,
        "bytes": report.bytes,
        "left_out": report.left_out,
        "skipped": [list(pair) for pair in report.skipped],
    }


def _tell_export(library: Library, ids: list[str], target: Path, kind: str, output: Output) -> Mapping[str, Any]:
    plan, free = library.plan_export(ids, target, kind), free_at(target)
    if plan.problem:
        raise WorkbenchError(plan.problem)
    length_s = sum(manifest.duration_s for manifest in plan.manifests)
    if plan.left_out:
        output.say(f"the format has no place for {', '.join(plan.left_out)}")
    output.say(f"{len(ids)} takes, {length_s / 60:.1f} minutes")
    output.say(f"at most about {plan.bytes_needed / 1e9:.2f} GB of {free / 1e9:.2f} GB free")
    return {
        "dry_run": True,
        "format": kind,
        "episodes": len(ids),
        "ids": ids,
        "seconds": length_s,
        "bytes_needed": plan.bytes_needed,
        "free_bytes": free,
        "left_out": plan.left_out,
    }


def _home(options: argparse.Namespace) -> Path:
    return Home.open(options.home).path


IMPORT = Verb(_import_arguments, _import)
EXPORT = Verb(_export_arguments, _export)
