"""The verb `episodes`: find, look at, label, mark, cut, throw away and bring back takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from storage.layout import Home
from storage.records import EpisodeRecord
from workbench import cli_archive, cli_faces, cli_sets, cli_upkeep
from workbench.cli_output import Output
from workbench.cli_selection import OUTCOMES, add_filters, add_takes, chosen, filter_of, found
from workbench.cli_verbs import Verb, add_actions, positive
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome
from workbench.services.library import ORDERS, Library, TakeFilter

_WORDS = {
    "list": "takes, newest first",
    "show": "one take in full",
    "label": "say how a take ended",
    "note": "replace the note of a take",
    "tag": "put tags on takes",
    "untag": "take tags off takes",
    "trim": "mark the part of a take that is to be used; nothing is cut off",
    "split": "make two takes of one",
    "delete": "move takes to the trash",
    "restore": "bring takes back from the trash",
    "purge": "remove takes in the trash for good",
    "undo": "take back the last change",
    "redo": "do again what was undone last",
    "verify": "compare takes with their content hash",
    "stats": "counts by kind, task, outcome and quality",
    "assess": cli_upkeep.HELP,
    "archive": cli_archive.HELP,
    "blur": cli_faces.HELP,
    **cli_sets.WORDS,
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser, **_WORDS)
    _listing_arguments(actions["list"])
    for name in ("show", "label", "note", "trim", "split"):
        actions[name].add_argument("id")
    actions["label"].add_argument("outcome", choices=OUTCOMES)
    actions["note"].add_argument("text")
    for name in ("tag", "untag"):
        actions[name].add_argument("tags", help="one tag, or several with commas between")
        add_takes(actions[name])
    actions["trim"].add_argument("--start", type=float, metavar="S", help="seconds from the first row")
    actions["trim"].add_argument("--end", type=float, metavar="S", help="seconds from the first row")
    actions["trim"].add_argument("--reset", action="store_true", help="use all of it again")
    actions["split"].add_argument("--at", type=float, metavar="S", required=True, help="seconds from the first row")
    for name in ("delete", "restore"):
        actions[name].add_argument("ids", nargs="+", metavar="id")
    actions["purge"].add_argument("ids", nargs="*", metavar="id", help="default: the whole trash")
    actions["purge"].add_argument("--confirm", action="store_true", help="yes, for good")
    actions["purge"].add_argument("--force", action="store_true", help="also what snapshots and models need")
    actions["verify"].add_argument("ids", nargs="*", metavar="id", help="default: all")
    cli_upkeep.add_assess_arguments(actions["assess"])
    cli_archive.add_archive_arguments(actions["archive"])
    cli_faces.add_blur_arguments(actions["blur"])
    cli_sets.add_arguments(actions)


def _listing_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser)
    parser.add_argument("--order", choices=ORDERS, default="newest")
    parser.add_argument("--limit", type=positive, metavar="N", help="default: all")
    parser.add_argument("--offset", type=int, default=0, metavar="N", help="pass over so many")


def _episodes(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    with Library(Home.open(options.home).path) as library:
        for words in library.notices:
            output.note(words)
        return _ACTIONS[options.action](library, options, output)


def _list(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    page = library.page(filter_of(options), options.offset, options.limit or 1_000_000_000, options.order)
    rows = [
        (r.id, r.kind, r.task, r.outcome, f"{r.used_s:.1f} s", " ".join(r.tags), " ".join(r.flags), r.notes)
        for r in page.records
    ]
    output.table("", ("id", "kind", "task", "outcome", "length", "tags", "flags", "note"), rows)
    output.say(f"{len(page.records)} of {page.total} takes" if len(rows) < page.total else f"{page.total} takes")
    return {"episodes": [describe(record) for record in page.records], "total": page.total}


def _show(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    with library.open(options.id) as view:
        about = describe(view.record)
        counts, gaps = view.manifest.counts, view.manifest.gaps
        streams = {
            name: {**spec.to_json(), "items": counts.get(name, 0), "gaps": gaps.get(name, 0)}
            for name, spec in view.streams.items()
        }
        trim = view.record.trim
        used = [round(view.seconds(at), 3) for at in (trim.start_ns, trim.end_ns)] if trim else None
        whole = {"rows": view.rows, "devices": view.manifest.devices, "extra": view.manifest.extra}
    sets = library.sets_of(view.record.id)
    output.table("", ("", ""), list({**about, "trimmed to": used or "", "sets": ", ".join(sets)}.items()))
    rows = [
        (n, s["items"], s["gaps"], "x".join(map(str, s["shape"])), s["dtype"], s["rate_hz"]) for n, s in streams.items()
    ]
    output.table("", ("stream", "items", "gaps", "shape", "type", "Hz"), rows)
    return {**about, **whole, "streams": streams, "trim_s": used, "sets": sets}


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


def _tag(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids, tags = chosen(library, options), options.tags.split(",")
    change = library.tag if options.action == "tag" else library.untag
    change(ids, tags)
    output.say(f"{len(ids)} takes are {options.action}ged; `episodes undo` takes that back")
    return {"ids": ids, "tags": tags}


def _trim(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = library.find(options.id)
    if options.reset:
        library.untrim(record.id)
    elif options.start is None and options.end is None:
        raise WorkbenchError("no part is named", "Give --start, --end or both, or --reset")
    else:
        library.trim(record.id, options.start, options.end)
    changed = library.find(record.id)
    output.say(f"{changed.used_s:.2f} s of {changed.duration_s:.2f} s are used")
    return {"id": record.id, "used_s": changed.used_s, "trim": changed.trim and changed.trim.to_json()}


def _split(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = library.find(options.id)
    halves = library.split(record.id, options.at)
    output.say(f"{record.id} is in the trash; its halves are {halves[0]} and {halves[1]}")
    return {"id": record.id, "halves": halves}


def _delete(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = found(library, options.ids)
    pinned = library.trash(ids)
    for episode_id, names in pinned.items():
        output.say(f"{episode_id} belongs to {', '.join(names)}")
    output.say(f"{len(ids)} takes are in the trash; `episodes undo` brings them back")
    return {"trashed": ids, "pinned": pinned}


def _restore(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = found(library, options.ids)
    library.restore(ids)
    output.say(f"{len(ids)} takes are back")
    return {"restored": ids}


def _purge(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = found(library, options.ids) if options.ids else None
    report = library.purge(ids, confirm=options.confirm, force=options.force)
    for episode_id, names in report.refused.items():
        output.say(f"{episode_id} stays: it belongs to {', '.join(names)}")
    output.say(f"{len(report.ids)} takes are gone for good, {report.freed_bytes / 1e6:.1f} MB are free")
    return {"purged": report.ids, "freed_bytes": report.freed_bytes, "refused": report.refused}


def _undo(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    undone = library.undo()
    output.say(undone or "there is nothing to undo")
    return {"undone": undone}


def _redo(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    redone = library.redo()
    output.say(redone or "nothing was undone since the last change")
    return {"redone": redone}


def _verify(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = found(library, options.ids) or list(library.ids(TakeFilter()))
    problems: dict[str, tuple[str, ...]] = {}
    with output.progress("verifying") as step:
        for done, episode_id in enumerate(ids, 1):
            with library.open(episode_id) as view:
                wrong = view.verify()
            if wrong:
                problems[episode_id] = wrong
            step(done, len(ids))
    for episode_id, wrong in problems.items():
        output.say(f"{episode_id}: {'; '.join(wrong)}")
    output.say(f"{len(ids) - len(problems)} of {len(ids)} takes are as they were sealed")
    return {"verified": len(ids), "problems": problems}


def _stats(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    records = library.episodes()
    counts = {f"{name}s": library.counts_by(name) for name in ("task", "outcome", "operator", "scene", "tag")}
    hours, trashed = library.total_s() / 3600, sum(library.counts_by("kind", trashed=True).values())
    output.table("", ("kind", "takes"), list(library.counts().items()))
    for name in ("task", "operator", "tag"):
        output.table("", (name, "takes"), [(key or "-", takes) for key, takes in counts[f"{name}s"].items()])
    output.say(f"{hours:.2f} hours in {len(records)} takes; {trashed} more in the trash")
    quality = cli_upkeep.describe_quality(records)
    output.table("", ("flag", "takes"), list(quality["flags"].items()))
    output.say(f"{quality['assessed']} of them assessed, {quality['without_flags']} without a flag")
    return {"kinds": library.counts(), **counts, "hours": round(hours, 4), "trashed": trashed, "quality": quality}


_ACTIONS = {
    "list": _list,
    "show": _show,
    "label": _label,
    "note": _note,
    "tag": _tag,
    "untag": _tag,
    "trim": _trim,
    "split": _split,
    "delete": _delete,
    "restore": _restore,
    "purge": _purge,
    "undo": _undo,
    "redo": _redo,
    "verify": _verify,
    "stats": _stats,
    "assess": cli_upkeep.assess,
    "archive": cli_archive.archive,
    "blur": cli_faces.blur,
    **cli_sets.ACTIONS,
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
        "used_s": round(record.used_s, 3),
        "started_at": str(record.started_at),
        "tags": record.tags,
        "flags": record.flags,
        "rate_ok": record.rate_ok,
        "trashed": record.trashed,
    }


EPISODES = Verb(_arguments, _episodes)
