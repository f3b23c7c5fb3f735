"""Quality and readiness on the command line: `episodes assess`, and what `stats`, `doctor` and `record` say of them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from storage.layout import Home
from storage.quality import KEY, Flag, Quality
from storage.records import EpisodeRecord
from workbench.cli_output import Output
from workbench.core.errors import WorkbenchError
from workbench.services.chores import Workshop
from workbench.services.library import Library
from workbench.services.preflight import (
    BAD,
    OK,
    WARN,
    Finding,
    live_cameras,
    machine_findings,
    preflight,
    refuse_bad,
    settled,
)
from workbench.services.settings import Settings, load_settings

if TYPE_CHECKING:
    from workbench.services.station import Station

HELP = "measure the quality of takes: rates, gaps, frozen pictures, jerks, lag"


def add_assess_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `episodes assess`."""
    parser.add_argument("ids", nargs="*", metavar="id", help="default: those not assessed yet")
    parser.add_argument("--all", action="store_true", help="all takes, also those assessed before")


def assess(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    """Assess takes here and now. A take that cannot be assessed is named and does not keep the others from it."""
    home = Home.open(options.home)
    found: dict[str, Quality] = {}
    failed: dict[str, str] = {}
    with Workshop(home, load_settings(home.path)) as workshop:
        ids = _chosen(library, workshop, options)
        with output.progress("assessing") as step:
            for done, episode_id in enumerate(ids, 1):
                try:
                    quality = workshop.assess(episode_id, again=bool(options.all or options.ids))
                except WorkbenchError as error:
                    failed[episode_id] = str(error)
                else:
                    found |= {episode_id: quality} if quality is not None else {}
                step(done, len(ids))
    _tell(found, failed, output)
    return {
        "assessed": len(found),
        "flags": _count(str(flag) for quality in found.values() for flag in quality.flags),
        "takes": [{"id": episode_id, **quality.to_json()} for episode_id, quality in found.items()],
        "failed": failed,
    }


def describe_quality(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    """For `episodes stats`: how many takes were assessed, how many of them have no flag, and how often each was set."""
    stored = [record.extra[KEY] for record in records if isinstance(record.extra.get(KEY), Mapping)]
    flags = [[str(flag) for flag in value.get("flags") or ()] for value in stored]
    return {
        "assessed": len(stored),
        "without_flags": sum(not one for one in flags),
        "flags": _count(flag for one in flags for flag in one),
    }


def report_readiness(home: Home, checks: Iterable[Mapping[str, Any]], output: Output) -> list[dict[str, str]]:
    """For `doctor`: what would spoil a recording made now; only what needs attention is said, all is returned."""
    try:
        findings = (*machine_findings(checks), *preflight(load_settings(home.path), home))
    except WorkbenchError as error:
        findings = (Finding("settings", WARN, error.what, error.next_step),)
    rows = [("!!" if one.level == BAD else "!", one.name, one.found, one.fix) for one in findings if one.level != OK]
    if rows:
        output.table("before recording", ("", "check", "found", "advice"), rows)
    return [one.to_json() for one in findings]


def check_before(home: Home, settings: Settings, output: Output) -> None:
    """For `record`, before the station starts: say what warns, refuse what would lose takes with a WorkbenchError."""
    findings = preflight(settings, home)
    _warn(findings, output)
    refuse_bad(findings)


def check_live(station: Station, output: Output) -> None:
    """For `record`, once the station runs: say which cameras are slow, silent or on clocks of their own."""
    _warn(live_cameras(station.settings, settled(station).cameras), output)


def _warn(findings: Iterable[Finding], output: Output) -> None:
    for one in findings:
        if one.level != OK:
            output.note(f"{one.name}: {one.found}. {one.fix}.")


def _chosen(library: Library, workshop: Workshop, options: argparse.Namespace) -> list[str]:
    if options.ids:
        return [library.find(text).id for text in options.ids]
    if options.all:
        return [record.id for record in library.episodes()]
    return workshop.unassessed()


def _tell(found: Mapping[str, Quality], failed: Mapping[str, str], output: Output) -> None:
    rows = [(take, remark.flag, remark.sentence) for take, quality in found.items() for remark in quality.remarks]
    if rows:
        output.table("", ("id", "flag", "why"), rows)
    for episode_id, reason in failed.items():
        output.say(f"{episode_id} was not assessed: {reason}")
    clean = sum(not quality.flags for quality in found.values())
    output.say(f"{len(found)} takes assessed, {clean} of them without a flag")


def _count(flags: Iterable[str]) -> dict[str, int]:
    """How often each flag was set, in the order of ``Flag``."""
    counted = Counter(flags)
    return {str(flag): counted[str(flag)] for flag in Flag if counted[str(flag)]}
