"""`episodes blur`: copies of takes in which faces are blurred."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from workbench.cli_output import Output
from workbench.cli_selection import add_takes, chosen
from workbench.core.errors import WorkbenchError
from workbench.services.faces import BlurReport, FaceLook, FacePlan
from workbench.services.library import Library

HELP = "blur faces in the pictures of takes; the takes as they were go to the trash"


def add_blur_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `episodes blur`."""
    add_takes(parser)
    parser.add_argument("--preview", action="store_true", help="only say where faces are; nothing is written")


def blur(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    """Look for faces and blur them. Interrupted, it keeps the takes that are done and leaves the others as they are."""
    ids = chosen(library, options)
    with output.progress("looking for faces, pictures") as step:
        plan = library.plan_blur(ids, step)
    _tell_plan(plan, output)
    if plan.problems and len(plan.problems) == len(plan.takes):
        raise WorkbenchError("no take could be looked at: " + plan.problems[0].problem)
    told = {"takes": [_take(look) for look in plan.takes]}
    if options.preview:
        return {**told, "preview": True}
    with output.progress("blurring, pictures") as step:
        report = library.blur(plan, step)
    _tell_report(report, output)
    if report.failed and not report.copies:
        raise WorkbenchError("no take could be blurred: " + next(iter(report.failed.values())))
    return {**told, "blurred": report.copies, "pictures": report.pictures, "failed": report.failed}


def _tell_plan(plan: FacePlan, output: Output) -> None:
    rows = [
        (look.episode_id, sight.stream, f"{sight.first_s:.1f} to {sight.last_s:.1f} s", sight.pictures)
        for look in plan.with_faces
        for sight in look.sights
    ]
    if rows:
        output.table("", ("id", "stream", "faces from", "pictures"), rows)
    for look in plan.problems:
        output.say(f"{look.episode_id}: {look.problem}")
    looked = sum(look.looked for look in plan.takes)
    output.say(f"{len(plan.with_faces)} of {len(plan.takes)} takes show a face ({looked} pictures were looked at)")


def _tell_report(report: BlurReport, output: Output) -> None:
    for old, new in report.copies.items():
        output.say(f"{old} is in the trash; its blurred copy is {new}")
    for episode_id, reason in report.failed.items():
        output.say(f"{episode_id} stays as it is: {reason}")
    if report.copies:
        output.say(
            f"{report.pictures} pictures are blurred; `episodes undo` takes that back, one take at a time. Look the "
            "takes through: no detector finds every face. `episodes purge` removes the pictures with faces for good"
        )


def _take(look: FaceLook) -> dict[str, Any]:
    return {
        "id": look.episode_id,
        "looked": look.looked,
        "pictures": look.pictures,
        "streams": {
            sight.stream: {
                "first_s": round(sight.first_s, 3),
                "last_s": round(sight.last_s, 3),
                "pictures": sight.pictures,
            }
            for sight in look.sights
        },
        "problem": look.problem,
    }
