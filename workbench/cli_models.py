"""The verb ``models``: what there is, two side by side, in use or not, out of the house, away and back."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models import registry
from models.encoders import ENCODERS
from models.registry import ModelRecord
from models.stages import STAGES
from storage.layout import Home
from workbench.cli_output import Output
from workbench.cli_verbs import Verb, add_actions
from workbench.services import model_shelf
from workbench.services.model_compare import MetricLine, ModelComparison, compare
from workbench.services.model_export import ModelExport, default_folder
from workbench.services.model_figures import Figure
from workbench.services.model_import import import_checkpoint
from workbench.services.track_record import track_record


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(
        parser,
        list="every model, oldest first",
        show="one model in full",
        compare="two models side by side",
        promote="put a model into use for its stage",
        rollback="bring back the model promoted before",
        export="write a model into a folder of its own, for other computers and programs",
        delete="move a model to the trash",
        restore="bring a model back from the trash",
        encoders="what pictures can be looked through, and what is missing",
        **{"import": "make a model of a checkpoint that OpenCLAP published"},
    )
    actions["list"].add_argument("--stage", choices=STAGES, default="")
    actions["list"].add_argument("--trash", action="store_true", help="those in the trash")
    for name in ("show", "promote", "export", "delete", "restore"):
        actions[name].add_argument("id")
    for name in ("first", "second"):
        actions["compare"].add_argument(name, metavar="MODEL")
    actions["promote"].add_argument(
        "--force", default="", metavar="REASON", help="although it did not pass the check for forgetting; is kept"
    )
    actions["rollback"].add_argument("--stage", choices=STAGES, default="rf")
    actions["export"].add_argument("dest", type=Path, nargs="?", help="a new folder (default: one below exports/)")
    actions["export"].add_argument("--onnx", action="store_true", help="also as ONNX, compared with the original")
    actions["import"].add_argument("file", type=Path)
    actions["import"].add_argument("--stage", choices=("act_vae", "vd_vae"), required=True)
    actions["import"].add_argument(
        "--encoder", default="", metavar="FOLDER", help="the picture network a vd_vae looks through; hub:ID fetches it"
    )
    actions["import"].add_argument("--camera", default="", help="whose pictures a vd_vae reads (default: front)")
    actions["import"].add_argument(
        "--statistics", type=Path, metavar="JSON", help="scales of robots that the file does not know"
    )
    actions["delete"].add_argument("--force", action="store_true", help="also if it is in use or others stand on it")


def _run(options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    return _ACTIONS[options.action](Home.open(options.home), options, output)


def _list(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    if options.trash:
        ids = registry.trashed_models(home)
        output.table("", ("id",), [(model_id,) for model_id in ids])
        return {"trash": list(ids)}
    records = registry.list_models(home, options.stage)
    rows = [(r.id, r.stage, _remark(r), r.preset, len(r.data), r.created_at) for r in records]
    output.table("", ("id", "stage", "", "preset", "takes", "made"), rows)
    broken = registry.broken_models(home)
    for model_id, why in broken.items():
        output.say(f"{model_id} is left out: {why}")
    return {"models": [_described(record) for record in records], "broken": broken}


def _show(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = model_shelf.find(home.path, options.id)
    done, reasons = track_record(home.path, record.id), registry.overrides(home, record.id)
    output.table("", ("", ""), [*_described(record).items(), ("takes it drove", len(done.rollouts))])
    output.table("trials", ("task", "success"), [*done.trials.items(), ("all", done.all)])
    for line in done.series:
        output.say(f"series {line.id[:12]}: {line.verdict or ', '.join(line.rates)}")
    return {**_described(record), **done.to_json(), "overrides": list(reasons)}


def _compare(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    ids = [model_shelf.find(home.path, text).id for text in (options.first, options.second)]
    found = compare(home.path, *ids)
    _show_comparison(found, output)
    return found.to_json()


def _show_comparison(found: ModelComparison, output: Output) -> None:
    output.say(f"A {found.a.id} ({found.a.stage})\nB {found.b.id} ({found.b.stage})")
    output.table("recipe", ("setting", "A", "B"), [(name, a, b) for name, (a, b) in found.recipe.items()])
    groups = [(task or "unknown", kind, *counts) for (task, kind), counts in found.data.groups.items()]
    output.table("takes they saw", ("task", "kind", "only A", "only B", "both"), groups)
    if found.data.changed:
        output.say(f"{len(found.data.changed)} takes have other contents in B than in A")
    output.table("held-out figures", ("figure", "A", "B", ""), [_figures_row(line) for line in found.metrics])
    output.table("trials", ("task", "A", "B", ""), [(t.task, t.a, t.b, t.verdict) for t in found.trials])
    for line in found.series:
        output.say(f"series {line.id[:12]}, same scenes for both: {line.verdict}")


def _figures_row(line: MetricLine) -> tuple[str, str, str, str]:
    return line.name, _figure(line.a), _figure(line.b), line.verdict


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if figure.interval is None:
        return f"{figure.value:.4g}"
    low, high = figure.interval
    return f"{figure.value:.3f} ({low:.3f} to {high:.3f})"


def _promote(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = model_shelf.promote(home.path, model_shelf.find(home.path, options.id).id, options.force)
    return _in_use(record, output)


def _rollback(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    return _in_use(model_shelf.rollback(home.path, options.stage), output)


def _in_use(record: ModelRecord, output: Output) -> Mapping[str, Any]:
    output.say(f"the {record.stage} model in use is {record.id}")
    return {"promoted": record.id, "stage": record.stage}


def _export(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = model_shelf.find(home.path, options.id)
    dest = options.dest or default_folder(home.path, record.id)
    work = ModelExport(home.path, record.id, dest, onnx=options.onnx, threads=options.threads)
    with output.progress("exporting") as step:
        found = work.run(lambda _what, done, total: step(done, total))
    for graph in found["onnx"]:
        worst = max(graph["max_difference"].values())
        output.say(f"{graph['file']}: at most {worst:.1e} off on {graph['rows']} rows ({graph['rows_from']})")
    output.say(f"{record.id} is in {found['dest']}, read again and found the same")
    return found


def _delete(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = model_shelf.find(home.path, options.id)
    model_shelf.delete(home.path, record.id, force=options.force)
    output.say(f"{record.id} is in the trash; back with: models restore {record.id[:12]}")
    return {"deleted": record.id}


def _restore(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    record = model_shelf.restore(home.path, model_shelf.find_trashed(home.path, options.id))
    output.say(f"{record.id} is back")
    return {"restored": record.id}


def _import(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    given = {"encoder": options.encoder, "camera": options.camera, "statistics": options.statistics}
    with output.progress("importing") as step:
        found = import_checkpoint(
            home.path,
            options.file,
            options.stage,
            **given,
            threads=options.threads,
            progress=lambda _what, done, total: step(done, total),
        )
    output.say(f"{options.file.name} is the {found['stage']} model {found['model']}")
    if found["codec"] != found["model"]:
        output.say(f"it stands on the act_vae model {found['codec']} out of the same file")
    for word in ("uses", "limits"):
        output.say("\n".join([f"{word}:", *(f"  {line}" for line in found["imported"][word])]))
    return found


def _encoders(home: Home, options: argparse.Namespace, output: Output) -> Mapping[str, Any]:
    found = []
    for kind, plugin in ENCODERS.all().items():
        reason = plugin.missing_reason()
        status = "missing" if reason else "possible"
        found.append({"kind": kind, "title": plugin.title, "status": status, "reason": reason})
    output.table("", ("kind", "", "status", ""), [tuple(line.values()) for line in found])
    return {"encoders": found}


def _remark(record: ModelRecord) -> str:
    return ", ".join(word for word, so in (("in use", record.promoted), ("forgot", record.refused)) if so)


def _described(record: ModelRecord) -> dict[str, Any]:
    return {**record.to_json(), "promoted": record.promoted}


_ACTIONS = {
    "list": _list,
    "show": _show,
    "compare": _compare,
    "promote": _promote,
    "rollback": _rollback,
    "export": _export,
    "delete": _delete,
    "restore": _restore,
    "encoders": _encoders,
    "import": _import,
}
MODELS = Verb(_arguments, _run)
