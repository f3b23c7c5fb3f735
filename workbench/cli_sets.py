"""Actions of `episodes` about sets of takes and what came of them: collect, freeze, snapshots, lineage, events."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from storage.marks import model_of
from storage.records import CollectionRecord, EpisodeRecord, ModelEntry, TakeUse
from workbench.cli_output import Output
from workbench.cli_selection import add_takes, chosen, found
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.library import Library

WORDS = {
    "merge": "make one take of several that follow one another",
    "collect": "put takes into a collection, or take them out",
    "collections": "the collections, or the takes of one",
    "freeze": "write down which takes there are and what they hold",
    "snapshots": "the frozen snapshots; with a name: what is no longer as it was frozen",
    "lineage": "what a take or a model came from and what came of it",
    "events": "what happened to the station, newest first",
}


def add_arguments(actions: Mapping[str, argparse.ArgumentParser]) -> None:
    """Arguments of the actions in ``WORDS``."""
    actions["merge"].add_argument("ids", nargs="+", metavar="id")
    collect = actions["collect"]
    collect.add_argument("name")
    add_takes(collect)
    collect.add_argument("--from", dest="others", action="append", default=[], metavar="SET", help="all takes of a set")
    what = collect.add_mutually_exclusive_group()
    what.add_argument("--remove", action="store_true", help="take the takes out")
    what.add_argument("--drop", action="store_true", help="remove the collection or snapshot; its takes stay")
    what.add_argument("--rename", metavar="NEW", help="give the collection another name")
    actions["collections"].add_argument("name", nargs="?", default="")
    actions["freeze"].add_argument("name")
    add_takes(actions["freeze"])
    actions["snapshots"].add_argument("name", nargs="?", default="")
    actions["snapshots"].add_argument("--quick", action="store_true", help="compare hashes only, read no take in full")
    actions["lineage"].add_argument("id", help="a take or a model")
    actions["events"].add_argument("--since", metavar="TIME")
    actions["events"].add_argument("--severity", choices=("info", "warning", "error"))
    actions["events"].add_argument("--limit", type=int, default=50)


def _merge(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = found(library, options.ids)
    whole = library.merge(ids)
    output.say(f"{len(ids)} takes are in the trash; {whole} holds them all")
    return {"ids": ids, "merged": whole}


def _collect(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    name = options.name
    if options.drop:
        library.drop(name)
        output.say(f"the set '{name}' is no more; its takes stay")
        return {"dropped": name}
    if options.rename:
        library.rename_collection(name, options.rename)
        output.say(f"'{name}' is now called '{options.rename}'")
        return {"collection": options.rename}
    if options.remove:
        ids = chosen(library, options)
        library.uncollect(name, ids)
    else:
        ids = [] if options.others and not options.ids else chosen(library, options)
        library.collect(name, ids, options.others)
    takes = library.takes_in(name)
    output.say(f"'{name}' holds {len(takes)} takes")
    return {"collection": name, "takes": [take.id for take in takes]}


def _collections(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if not options.name:
        return {"collections": _told(library.collections(), output)}
    takes = library.takes_in(options.name)
    _tell_uses(takes, output)
    return {"collection": options.name, "takes": [asdict(take) for take in takes]}


def _freeze(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = library.freeze(options.name, chosen(library, options))
    output.say(f"'{record.name}' holds {record.takes} takes as they are now")
    return {"snapshot": asdict(record)}


def _snapshots(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if not options.name:
        return {"snapshots": _told(library.snapshots(), output)}
    problems = library.verify_snapshot(options.name, deep=not options.quick)
    takes = library.takes_in(options.name)
    output.table("", ("id", "what is different"), list(problems.items()))
    output.say(f"{len(takes) - len(problems.keys() - {''})} of {len(takes)} takes are as they were frozen")
    return {"snapshot": options.name, "takes": len(takes), "problems": problems}


def _lineage(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    models = [model for model in library.models() if options.id and model.id.startswith(options.id)]
    exact = [model for model in models if model.id == options.id] or models
    if len(exact) == 1:
        return _of_model(library, exact[0], output)
    if len(exact) > 1:
        raise WorkbenchError(f"'{options.id}' is the beginning of {len(exact)} models", "Give more of the id")
    try:
        record = library.find(options.id)
    except NotFoundError:
        names = [model.id for model in library.models()]
        names += [record.id for record in library.episodes()[:1000]]
        raise NotFoundError.of("take or model", options.id, names) from None
    return _of_take(library, record, output)


def _of_model(library: Library, model: ModelEntry, output: Output) -> Mapping[str, Any]:
    takes, rollouts = library.takes_of(model.id), library.rollouts_of(model.id)
    related = {"ancestors": library.ancestors(model.id), "descendants": library.descendants(model.id)}
    output.say(f"model {model.id}: {model.stage}, {model.created_at}")
    for title, entries in related.items():
        output.table(title, ("id", "stage", "made"), [(m.id, m.stage, m.created_at) for m in entries])
    _tell_uses(takes, output)
    output.say(f"trained on {len(takes)} takes, drove {len(rollouts)}")
    return {
        "model": asdict(model),
        "takes": [asdict(take) for take in takes],
        "rollouts": rollouts,
        **{title: [entry.id for entry in entries] for title, entries in related.items()},
    }


def _of_take(library: Library, record: EpisodeRecord, output: Output) -> Mapping[str, Any]:
    models, sets = library.models_of(record.id), library.sets_of(record.id)
    driven_by, split_of = model_of(record.extra), str(record.extra.get("split_of", ""))
    output.say(f"take {record.id}: {record.kind}, {record.task}")
    for words, value in (("driven by the model", driven_by), ("split from the take", split_of)):
        if value:
            output.say(f"{words} {value}")
    output.table("trained these models", ("id", "stage", "made"), [(m.id, m.stage, m.created_at) for m in models])
    output.say("in the sets: " + (", ".join(sets) or "none"))
    return {
        "episode": record.id,
        "models": [model.id for model in models],
        "sets": sets,
        "driven_by": driven_by,
        "split_of": split_of,
    }


def _events(library: Library, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    events = library.events(since=options.since, severity=options.severity, limit=options.limit)
    output.table("", ("when", "where", "", "what"), [(e.at, e.source, e.severity, e.words) for e in events])
    output.say(f"{len(events)} events")
    return {"events": [asdict(event) for event in events]}


def _told(records: Iterable[CollectionRecord], output: Output) -> list[dict[str, Any]]:
    sets = list(records)
    output.table("", ("name", "takes", "made"), [(s.name, s.takes, s.created_at) for s in sets])
    output.say(f"{len(sets)} sets")
    return [asdict(record) for record in sets]


def _tell_uses(takes: Iterable[TakeUse], output: Output) -> None:
    output.table("", ("id", "now"), [(take.id, take.state) for take in takes])


ACTIONS = {
    "merge": _merge,
    "collect": _collect,
    "collections": _collections,
    "freeze": _freeze,
    "snapshots": _snapshots,
    "lineage": _lineage,
    "events": _events,
}
